package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/nixpkgs-factory/factory/internal/page"
	"github.com/nixpkgs-factory/factory/internal/smallfile"
)

// pagesList is the file in a folder of pages that says which files the factory wrote.
const pagesList = ".factory-page.json"

const (
	maxPagesList = 4 << 20
	maxPageFile  = 64 << 20
)

// pagesWritten are the files that the factory wrote, with the sha256 of each that it
// may have: while it writes, the old one and the new one.
type pagesWritten struct {
	Files map[string][]string `json:"files"`
}

// writePages makes a folder have the pages. Every file is written whole or not at
// all, the pages after what they need. Nothing that somebody else wrote is
// overwritten or removed.
func writePages(dir string, files []page.File) (written, removed int, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, 0, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, 0, err
	}
	defer root.Close()
	had, err := readPagesList(root)
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", dir, err)
	}
	has := pagesWritten{Files: make(map[string][]string)}
	during := pagesWritten{Files: maps.Clone(had.Files)}
	for _, f := range files {
		if err := mayWrite(root, f.Name, had); err != nil {
			return 0, 0, fmt.Errorf("%s: %w", filepath.Join(dir, f.Name), err)
		}
		sum := checksum(f.Content)
		has.Files[f.Name] = []string{sum}
		during.Files[f.Name] = append(slices.Clone(had.Files[f.Name]), sum)
	}
	if err := during.write(root); err != nil {
		return 0, 0, err
	}
	for _, f := range needsFirst(files) {
		if err := writeWhole(root, f.Name, f.Content); err != nil {
			return written, 0, err
		}
		written++
	}
	for name := range had.Files {
		if _, stays := has.Files[name]; stays || !ours(root, name, had) {
			continue
		}
		if err := root.Remove(filepath.FromSlash(name)); err != nil {
			return written, removed, err
		}
		removed++
	}
	return written, removed, has.write(root)
}

// readPagesList reads what the factory wrote. A folder with other files in it and no
// list is not one of pages.
func readPagesList(root *os.Root) (pagesWritten, error) {
	list := pagesWritten{Files: make(map[string][]string)}
	data, err := smallfile.ReadIn(root, pagesList, maxPagesList)
	if errors.Is(err, fs.ErrNotExist) {
		entries, err := fs.ReadDir(root.FS(), ".")
		if err == nil && len(entries) > 0 {
			err = fmt.Errorf("this folder has files that factory page did not write, such as %q: name an empty one, or one that is not there", entries[0].Name())
		}
		if err != nil {
			return list, usageError{err}
		}
		return list, nil
	}
	if err != nil {
		return list, err
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return list, usageError{fmt.Errorf("%s: not a list of files that factory page wrote (%w): name another folder", pagesList, err)}
	}
	if list.Files == nil {
		list.Files = make(map[string][]string)
	}
	return list, nil
}

// mayWrite refuses a name under which there is what somebody else wrote.
func mayWrite(root *os.Root, name string, had pagesWritten) error {
	_, err := root.Lstat(filepath.FromSlash(name))
	if errors.Is(err, fs.ErrNotExist) || err == nil && ours(root, name, had) {
		return nil
	}
	if err != nil {
		return err
	}
	return usageError{errors.New("this is not what factory page wrote here, and it is left as it is: move it away, then it is written again")}
}

// ours tells whether a file is as the factory wrote it.
func ours(root *os.Root, name string, had pagesWritten) bool {
	info, err := root.Lstat(filepath.FromSlash(name))
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	data, err := smallfile.ReadIn(root, filepath.FromSlash(name), maxPageFile)
	return err == nil && slices.Contains(had.Files[name], checksum(data))
}

func checksum(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

// needsFirst puts pages behind what they need, and the overview last.
func needsFirst(files []page.File) []page.File {
	rank := func(f page.File) int {
		switch {
		case f.Name == "index.html":
			return 2
		case path.Ext(f.Name) == ".html":
			return 1
		}
		return 0
	}
	list := slices.Clone(files)
	slices.SortStableFunc(list, func(a, b page.File) int { return rank(a) - rank(b) })
	return list
}

func (p pagesWritten) write(root *os.Root) error {
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return writeWhole(root, pagesList, append(data, '\n'))
}

// writeWhole writes a file beside its name and gives it that when it is whole.
func writeWhole(root *os.Root, name string, content []byte) (err error) {
	name = filepath.FromSlash(name)
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	part := name + "." + rand.Text()
	f, err := root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			root.Remove(part)
		}
	}()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return root.Rename(part, name)
}
