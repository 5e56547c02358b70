package debian

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A collector puts packages together, following programs to their libraries.
type collector struct {
	db        *database
	packages  map[string]*Package // by attribute
	libraries map[string]Need     // real path of a library -> where it has been put
	done      map[string]bool     // "attribute output path" of files added
}

const multiarch = "/lib/x86_64-linux-gnu"

var libraryDirs = []string{multiarch, "/usr" + multiarch, "/lib", "/usr/lib"}

func (c *collector) collect() error {
	if err := c.addGlibc(); err != nil {
		return fmt.Errorf("glibc: %w", err)
	}
	for _, t := range tools {
		if err := c.addTool(t); err != nil {
			return fmt.Errorf("%s: %w", t.attr, err)
		}
	}
	for _, l := range extraLibraries {
		if _, err := c.addLibrary(filepath.Join(multiarch, l)); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) pkg(attr, name, deb string) *Package {
	if p := c.packages[attr]; p != nil {
		return p
	}
	p := &Package{Name: name, Version: c.db.version(deb)}
	c.packages[attr] = p
	return p
}

// addGlibc takes the loader and the shared objects of libc6 as they are:
// patchelf would break the loader, and none of them needs it.
func (c *collector) addGlibc() error {
	out := c.pkg("glibc", "glibc", "libc6").output("out")
	for _, p := range c.db.files["libc6"] {
		base := path.Base(p)
		if normalize(path.Dir(p)+"/") != multiarch+"/" || !strings.Contains(base, ".so") {
			continue
		}
		sum, err := hashFile(p)
		if err != nil {
			return err
		}
		out.Loaders = append(out.Loaders, File{From: p, To: "lib/" + base, SHA256: sum})
		real, err := filepath.EvalSymlinks(p)
		if err != nil {
			return err
		}
		c.libraries[real] = Need{Package: "glibc", Output: "out"}
	}
	if len(out.Loaders) == 0 {
		return errors.New("libc6 has no shared objects")
	}
	return nil
}

func (c *collector) addTool(t tool) error {
	p := c.pkg(t.attr, t.pname(), t.deb)
	out := p.output(t.outputName())
	if err := c.addBinaries(out, p, t); err != nil {
		return err
	}
	for _, e := range t.extra {
		if err := c.addExtra(out, p, e); err != nil {
			return err
		}
	}
	out.Links = append(out.Links, t.links...)
	return nil
}

// addBinaries adds what the Debian package has in its bin folders,
// or the ones of it that the tool names.
func (c *collector) addBinaries(out *Output, p *Package, t tool) error {
	for _, file := range c.db.files[t.deb] {
		dir, base := path.Split(file)
		if d := normalize(dir); d != "/bin/" && d != "/sbin/" {
			continue
		}
		if t.bins != nil && !slices.Contains(t.bins, base) {
			continue
		}
		info, err := os.Lstat(file)
		if err != nil {
			return err
		}
		if info.Mode().Type() == fs.ModeSymlink {
			err = out.addLink(file, "bin/"+base)
		} else {
			err = c.addFile(out, p, file, "bin/"+base)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addExtra adds the files that a pattern matches to a folder.
func (c *collector) addExtra(out *Output, p *Package, e extra) error {
	paths, err := filepath.Glob(e.from)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("%s: %w", e.from, fs.ErrNotExist)
	}
	for _, file := range paths {
		info, err := os.Lstat(file)
		if err != nil {
			return err
		}
		to := e.to + "/" + path.Base(file)
		switch {
		case info.IsDir():
		case info.Mode().Type() == fs.ModeSymlink && !e.follow:
			err = out.addLink(file, to)
		default:
			err = c.addFile(out, p, file, to)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addLink adds a link that stays within its folder; others lead out of the package.
func (o *Output) addLink(from, to string) error {
	target, err := os.Readlink(from)
	if err == nil && !strings.Contains(target, "/") {
		o.Links = append(o.Links, Link{To: to, Target: target})
	}
	return err
}

// addFile adds a file as what it is, and the libraries it is linked against to
// the needs of the output.
func (c *collector) addFile(out *Output, p *Package, from, to string) error {
	key := p.Name + " " + out.Name + " " + to
	if c.done[key] {
		return nil
	}
	c.done[key] = true
	sum, err := hashFile(from)
	if err != nil {
		return err
	}
	f := File{From: from, To: to, SHA256: sum}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	e, err := elf.Open(from)
	var format *elf.FormatError
	switch {
	case errors.As(err, &format):
		if info.Mode()&0o111 != 0 {
			out.Scripts = append(out.Scripts, f)
		} else {
			out.Data = append(out.Data, f)
		}
		return nil
	case err != nil:
		return err
	}
	defer e.Close()
	if hasInterpreter(e) {
		out.Programs = append(out.Programs, f)
	} else {
		out.Libraries = append(out.Libraries, f)
	}
	return c.addNeeds(out, e, from)
}

func (c *collector) addNeeds(out *Output, e *elf.File, from string) error {
	names, err := e.ImportedLibraries()
	if err != nil {
		return err
	}
	runpath, err := e.DynString(elf.DT_RUNPATH)
	if err != nil {
		return err
	}
	for _, name := range names {
		file, err := findLibrary(name, runpath)
		if err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		need, err := c.addLibrary(file)
		if err != nil {
			return err
		}
		out.need(need)
	}
	return nil
}

// findLibrary looks where Debian's loader does.
func findLibrary(name string, runpath []string) (string, error) {
	var dirs []string
	for _, r := range runpath {
		dirs = append(dirs, strings.Split(r, ":")...)
	}
	for _, dir := range append(dirs, libraryDirs...) {
		file := filepath.Join(dir, name)
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("library %s: %w", name, fs.ErrNotExist)
}

// addLibrary puts a library into the package it belongs to and says where that is.
func (c *collector) addLibrary(file string) (Need, error) {
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return Need{}, err
	}
	if n, ok := c.libraries[real]; ok {
		return n, nil
	}
	deb, err := c.db.owner(file)
	if err != nil {
		return Need{}, err
	}
	place := libraryPlace(deb)
	p := c.pkg(place.attr, place.name, deb)
	n := Need{Package: place.name, Output: place.output}
	c.libraries[real] = n
	return n, c.addFile(p.output(place.output), p, file, "lib/"+path.Base(file))
}

func hasInterpreter(e *elf.File) bool {
	return slices.ContainsFunc(e.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// libraryPlace says which package of nixpkgs has the libraries of a Debian package.
func libraryPlace(deb string) place {
	if p, ok := places[deb]; ok {
		return p
	}
	return place{strings.NewReplacer(".", "_", "+", "x").Replace(deb), deb, "out"}
}
