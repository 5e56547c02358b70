package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

// begin makes the layout's folder, and removes what killed processes left in it.
func (l *layoutRepository) begin() error {
	if err := os.MkdirAll(l.blobs(), 0o777); err != nil {
		return err
	}
	unlock, err := lock(l.lockFile())
	if err != nil {
		return err
	}
	defer unlock()
	for _, dir := range []string{l.dir, l.blobs()} {
		if err := removeAbandoned(dir); err != nil {
			return err
		}
	}
	mark := filepath.Join(l.dir, "oci-layout")
	if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return replace(mark, []byte(`{"imageLayoutVersion":"1.0.0"}`+"\n"))
}

func (l *layoutRepository) lockFile() string { return filepath.Join(l.dir, ".lock") }

// Unfinished files of a layout. Those of blobs are locked while they are
// written; others are written while the layout is.
const unfinished = ".unfinished-*"

// removeAbandoned removes the unfinished files that nobody writes to. The
// caller has locked the layout.
func removeAbandoned(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, unfinished))
	if err != nil {
		return err
	}
	for _, name := range left {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // finished meanwhile
		}
		if err != nil {
			return err
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			err = os.Remove(name)
		}
		f.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // finished between the two
			return err
		}
	}
	return nil
}

// create makes an unfinished file that removeAbandoned lets be.
func (l *layoutRepository) create() (*os.File, error) {
	unlock, err := lock(l.lockFile())
	if err != nil {
		return nil, err
	}
	defer unlock()
	f, err := os.CreateTemp(l.blobs(), unfinished)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	return f, nil
}

func (l *layoutRepository) blobs() string { return filepath.Join(l.dir, "blobs", "sha256") }

func (l *layoutRepository) putBytes(ctx context.Context, data []byte) (Outcome, error) {
	sum := sha256.Sum256(data)
	digest := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	return l.put(ctx, digest, int64(len(data)), func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	})
}

// sound tells whether a file has the bytes of a blob.
func sound(file string, digest v1.Hash, size int64) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	got, n, err := v1.SHA256(f)
	return err == nil && n == size && got == digest
}

// put writes a blob under its digest, unless it is there.
func (l *layoutRepository) put(ctx context.Context, digest v1.Hash, size int64, open func() (io.ReadCloser, error)) (Outcome, error) {
	at := filepath.Join(l.blobs(), digest.Hex)
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if sound(at, digest, size) {
		return Present, nil
	}
	from, err := open()
	if err != nil {
		return "", err
	}
	defer from.Close()
	return Sent, l.write(at, digest, from)
}

// write writes a blob that is not seen before it is whole.
func (l *layoutRepository) write(at string, digest v1.Hash, from io.Reader) (err error) {
	f, err := l.create()
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, sum), from); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != digest.Hex {
		return fmt.Errorf("blob %s has the digest sha256:%s", digest, got)
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync()); err != nil {
		return err
	}
	return os.Rename(f.Name(), at) // before the file is closed, and with it unlocked
}

// replace writes a file such that it has the old content or the new one. The
// caller has locked the layout.
func replace(file string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), unfinished)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		os.Remove(f.Name())
		return err
	}
	return os.Rename(f.Name(), file)
}

// lock waits for the lock that a file stands for. It is released when the
// process ends, however it ends.
func lock(file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	return func() { f.Close() }, nil
}
