package keep

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/closure"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
	"github.com/nixpkgs-factory/factory/internal/progress"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// parallel bounds how many store objects are unpacked at once. Most are small, and
// take a round trip.
const parallel = 8

// objects unpacks the objects of a closure into a folder.
func (f Folder) objects(ctx context.Context, closed []nix.PathInfo, store, label string) error {
	if err := os.Mkdir(store, 0o755); err != nil {
		return err
	}
	task := f.Progress.Start(label, closure.Size(closed))
	defer task.Done()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, object := range closed {
		group.Go(func() error { return f.object(ctx, object, filepath.Join(store, object.Path.Base()), task) })
	}
	return group.Wait()
}

// object unpacks one, which is new when it is made, and holds it against its hash.
func (f Folder) object(ctx context.Context, object nix.PathInfo, to string, task progress.Task) error {
	stream, err := f.Source.NAR(ctx, object)
	if err != nil {
		return err
	}
	defer stream.Close()
	sum := sha256.New()
	counted := progress.Count(stream, task)
	r := nar.NewReader(bufio.NewReaderSize(io.TeeReader(counted, sum), 128<<10), object.NarSize)
	for {
		entry, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = write(filepath.Join(to, entry.Path), entry, r)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", object.Path.Base(), said.Error(err))
		}
	}
	if got := nix.Hash(sum.Sum(nil)); got != object.NarHash {
		return fmt.Errorf("%s: its NAR has the hash %s, not %s", object.Path.Base(), got, object.NarHash)
	}
	return nil
}

// write makes one entry. The reader gives none whose path leads through a link.
func write(to string, entry nar.Entry, contents io.Reader) error {
	switch entry.Kind {
	case nar.Directory:
		return os.Mkdir(to, 0o755)
	case nar.Symlink:
		return os.Symlink(entry.Target, to)
	}
	return writeFile(to, entry.Executable, contents)
}

func writeFile(to string, executable bool, contents io.Reader) (err error) {
	mode := os.FileMode(0o444)
	if executable {
		mode = 0o555
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, contents)
	if err == nil {
		err = f.Chmod(mode) // whatever the umask
	}
	if end := f.Close(); err == nil {
		err = end
	}
	if err == nil {
		err = os.Chtimes(to, unpackedAt, unpackedAt)
	}
	return err
}
