package keep

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nixpkgs-factory/factory/internal/said"
)

// unpackedAt is when every file was last written to, as in a Nix store. Whoever
// writes to one later gives it another time.
var unpackedAt = time.Unix(1, 0)

// list describes a folder: names, kinds, modes, sizes and times of all files, and
// where links lead.
func list(dir string) ([]byte, error) {
	var out bytes.Buffer
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&out, "%q %s", name, info.Mode())
		switch info.Mode().Type() {
		case 0:
			fmt.Fprintf(&out, " %d %d", info.Size(), info.ModTime().UnixNano())
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, " %q", target)
		}
		out.WriteByte('\n')
		return nil
	})
	return out.Bytes(), err
}

// undamaged holds a closure against its listing. That reads no file: the contents
// were held against signed hashes when they were unpacked, nobody writes to them
// afterwards, and what does all the same (a full disk, a program that tidies up, a
// backup put back in parts) shows in names, sizes and times. Whoever means to
// deceive could also write to the factory itself.
func undamaged(kept string) error {
	want, err := os.ReadFile(filepath.Join(kept, listingName))
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("it has no listing")
	}
	if err != nil {
		return err
	}
	got, err := list(filepath.Join(kept, storeName))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it has no folder %s", storeName)
	}
	if err != nil {
		return err
	}
	return compare(want, got)
}

// compare says what differs first.
func compare(want, got []byte) error {
	for len(want) > 0 || len(got) > 0 {
		var is, was []byte
		was, want, _ = bytes.Cut(want, []byte("\n"))
		is, got, _ = bytes.Cut(got, []byte("\n"))
		if !bytes.Equal(was, is) {
			return fmt.Errorf("was unpacked as %s, is %s", or(was), or(is))
		}
	}
	return nil
}

func or(line []byte) string {
	if len(line) == 0 {
		return "nothing"
	}
	return said.Line(string(line))
}
