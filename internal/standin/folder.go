package standin

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nixpkgs-factory/factory/internal/standin/debian"
)

// sources are the code that decides what is in a fixture, which is therefore
// part of its key: whoever changes it gets a new fixture.
//
//go:embed build cache.go command.go fallback.go fixture.go git.go history.go nix.go standin.go tree.go
var sources embed.FS

const (
	unfinished = "unfinished-" // prefix of folders that are being made
	keepUnused = 48 * time.Hour
)

// key is the digest of all that decides what is in a fixture.
func key(trees map[string]tree) string {
	h := sha256.New()
	hashFS(h, sources)
	for _, name := range slices.Sorted(maps.Keys(trees)) {
		fmt.Fprintf(h, "tree %d %s\n", len(trees[name]), name)
		for _, path := range slices.Sorted(maps.Keys(trees[name])) {
			n := trees[name][path]
			fmt.Fprintf(h, "%s %d %d %s", n.mode, len(path), len(n.data), path)
			h.Write(n.data)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:10])
}

func hashFS(h io.Writer, files embed.FS) {
	// Neither walking nor reading embedded files can go wrong.
	fs.WalkDir(files, ".", func(path string, d fs.DirEntry, _ error) error {
		if !d.IsDir() {
			data, _ := files.ReadFile(path)
			fmt.Fprintf(h, "%s %d\n", path, len(data))
			h.Write(data)
		}
		return nil
	})
}

// readManifest returns the manifest of this machine. Making it means to hash many files,
// so it is kept for as long as dpkg's list of packages stays the same.
func readManifest(cache string) (debian.Manifest, error) {
	state, err := debian.State()
	if err != nil {
		return debian.Manifest{}, err
	}
	kept := filepath.Join(cache, "manifest-"+state+".json")
	var m debian.Manifest
	if data, err := os.ReadFile(kept); err == nil {
		if json.Unmarshal(data, &m) == nil {
			return m, nil
		}
	}
	m, err = debian.Read()
	if err != nil {
		return m, err
	}
	data, err := json.Marshal(m)
	if err != nil {
		return m, err
	}
	return m, writeFile(kept, data)
}

// writeFile writes a file that others see whole or not at all.
func writeFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "manifest-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// lock waits for the exclusive lock on a file. The lock ends with the process, however that ends.
func lock(ctx context.Context, name string, log io.Writer) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	wait := time.NewTicker(50 * time.Millisecond)
	defer wait.Stop()
	for told := false; ; told = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		if !told {
			fmt.Fprintf(log, "stand-in: another process is making it, waiting\n")
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-wait.C:
		}
	}
}

// sweep removes what killed processes left, and what nobody has used for long.
// It is called with the lock held. What cannot be removed is tried again next time.
func sweep(cache string) {
	entries, err := os.ReadDir(cache)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(cache, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), unfinished):
			removeAll(path)
		case strings.HasPrefix(e.Name(), "fixture-"):
			if info, err := os.Stat(filepath.Join(path, documentName)); err != nil || time.Since(info.ModTime()) > keepUnused {
				removeAll(path)
			}
		case strings.HasPrefix(e.Name(), "manifest-"):
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > keepUnused {
				os.Remove(path)
			}
		}
	}
}

// removeAll removes a folder in which, as in any Nix store, folders may be read-only.
func removeAll(dir string) {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(path, 0o755)
		}
		return nil
	})
	os.RemoveAll(dir)
}
