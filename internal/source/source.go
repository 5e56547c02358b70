// Package source turns the gzipped tar archive of a repository into its store object:
// the NAR hash and store path that Nix's fetchTarball gives it,
// the id of the tree that git would store for it, and its contents in NAR order.
//
// The archive is read once, as a stream, and never unpacked for that.
// What [Read] returns has passed every check; an archive that means different things to different readers
// (names with "..", members below links, data after its end, and so on) is an error, not a guess.
package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/progress"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// Limits bound what an archive may cost. A zero field stands for its default.
type Limits struct {
	Archive  int64 // compressed bytes; 1 GiB
	Unpacked int64 // bytes of the tar stream, of all contents together, and of the NAR; 4 GiB
	Files    int   // members, and entries of the tree with implied directories; 1,000,000
}

func (l Limits) withDefaults() Limits {
	if l.Archive == 0 {
		l.Archive = 1 << 30
	}
	if l.Unpacked == 0 {
		l.Unpacked = 4 << 30
	}
	if l.Files == 0 {
		l.Files = 1_000_000
	}
	return l
}

// Options say where an archive comes from and what it may cost.
type Options struct {
	Name   string // URL or file that errors begin with
	Dir    string // folder for the temporary file; the system's if empty
	Limits Limits
	Early  Early

	// Progress shows the download of Fetch under a label; nil: nothing does.
	Progress progress.Progress
	Label    string
}

// Early is a file to have as soon as it has come, before the rest of the archive
// has, and before anything was proved of that. It is not handed on if it has more
// than Most bytes, or is not there.
type Early struct {
	Path string
	Most int64
	Take func(text []byte)
}

// Tree is the single top-level entry of an archive, usually a directory.
// Its methods may be called concurrently until Close.
type Tree struct {
	NarHash nix.Hash
	NarSize int64      // bytes
	TreeID  git.TreeID // zero if the top-level entry is no directory
	Files   int        // entries below the top-level one
	Comment string     // comment of the pax global header, where git archive writes the commit id; not verified

	root  *node
	spool *spool
}

// Read reads a gzipped tar archive to its end.
// Contents go to a temporary file of their total size, which has no name from the start.
// Errors begin with opts.Name and name the member at fault.
// Read does not return while a call of r.Read is pending, not even when ctx ends.
func Read(ctx context.Context, r io.Reader, opts Options) (*Tree, error) {
	opts.Limits = opts.Limits.withDefaults()
	t, err := readGzip(ctx, r, opts)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("%s: %w", opts.Name, said.Error(err))
	}
	return t, nil
}

// readGzip decompresses on one goroutine and reads the tar stream on another.
func readGzip(ctx context.Context, r io.Reader, opts Options) (*Tree, error) {
	p := newPipe()
	var g errgroup.Group
	g.Go(func() error {
		w := pipeWriter{pipe: p}
		w.end(gunzip(&w, r, opts.Limits.Archive))
		return nil // the reading side sees the error where it happened in the stream
	})
	pr := pipeReader{pipe: p, ctx: ctx}
	t, err := readTar(ctx, &pr, opts)
	pr.close()
	g.Wait()
	return t, err
}

// gunzip decompresses r, which may consist of several gzip streams but of nothing else.
func gunzip(w io.Writer, r io.Reader, limit int64) error {
	in := bufio.NewReaderSize(&bounded{r: r, left: limit, err: fmt.Errorf("archive is larger than %d bytes", limit)}, blockSize)
	zr, err := gzip.NewReader(in)
	for err == nil {
		zr.Multistream(false)
		if _, err = io.Copy(w, zr); err != nil {
			break
		}
		var magic []byte
		if magic, err = in.Peek(2); err == io.EOF && len(magic) == 0 {
			return nil
		}
		if string(magic) != "\x1f\x8b" {
			return errors.New("gzip: data after the end of the archive")
		}
		err = zr.Reset(in)
	}
	switch {
	case err == io.EOF, err == io.ErrUnexpectedEOF: // not one that wraps these: it says what went wrong under r
		return fmt.Errorf("gzip: archive is truncated: %w", io.ErrUnexpectedEOF)
	case errors.Is(err, gzip.ErrHeader):
		return errors.New("gzip: wrong header")
	case errors.Is(err, gzip.ErrChecksum):
		return errors.New("gzip: wrong checksum")
	}
	return err
}

// readTar reads a plain tar stream; opts.Limits are complete.
func readTar(ctx context.Context, r io.Reader, opts Options) (_ *Tree, err error) {
	s, err := newSpool(opts.Dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()

	b := newBuilder(ctx, s, opts.Limits, opts.Early)
	defer b.ahead.stop()
	stream := &tarStream{r: &bounded{
		r: r, left: opts.Limits.Unpacked, err: fmt.Errorf("unpacked archive is larger than %d bytes", opts.Limits.Unpacked),
	}}
	if err := b.readMembers(stream); err != nil {
		return nil, err
	}
	root, err := b.finish()
	if err != nil {
		return nil, err
	}
	t := &Tree{root: root, spool: s, TreeID: treeID(root), Files: root.count() - 1, Comment: b.comment}
	var known bool
	if t.NarHash, t.NarSize, known, err = b.ahead.result(root); !known {
		t.NarHash, t.NarSize, err = hashNAR(ctx, root.steps, s.window(), opts.Limits.Unpacked)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// StorePath is the path of the tree in a store as an object without references: what fetchTarball makes of it.
func (t *Tree) StorePath(name string) (nix.StorePath, error) {
	return nix.SourcePath(name, t.NarHash, nil)
}

// Close frees the temporary file. The tree cannot be used afterwards.
func (t *Tree) Close() error {
	return t.spool.Close()
}

// bounded reads at most left bytes of r and then returns err unless r ends there.
type bounded struct {
	r    io.Reader
	left int64
	err  error
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, b.err
	}
	return n, err
}

// tarStream is the decompressed archive. It remembers whether it was read to its end.
type tarStream struct {
	r     io.Reader
	ended bool
}

func (s *tarStream) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.ended = s.ended || err == io.EOF
	return n, err
}
