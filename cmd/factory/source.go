package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/archive"
	"github.com/nixpkgs-factory/factory/internal/push"
)

// sources opens what is to be pushed. The caller closes it.
func (a *app) sources(ctx context.Context, args []string, o pushOptions) (opened []push.Source, err error) {
	defer func() {
		if err != nil {
			closeAll(opened)
		}
	}()
	for _, arg := range args {
		source, err := a.source(ctx, arg, o)
		if err != nil {
			return opened, err
		}
		opened = append(opened, push.Source{Name: arg, Source: source})
	}
	return opened, nil
}

func closeAll(sources []push.Source) {
	for _, s := range sources {
		s.Close() // only read
	}
}

// source opens one source, by its prefix or by what it is.
func (a *app) source(_ context.Context, arg string, o pushOptions) (archive.Source, error) {
	options := archive.Options{Select: o.selected, Said: &narrator{log: a.logger()}}
	prefix, name, named := strings.Cut(arg, ":")
	if named && prefix == "docker-archive" {
		options.Form = archive.Docker
	}
	switch {
	case arg == "-", name == "-" && options.Form == archive.Docker:
		return archive.Stream("standard input", io.NopCloser(o.stdin), options), nil
	case named && prefix == "oci":
		return openOCI(name, options)
	case named && slices.Contains(prefixes, prefix+":"):
		return openAs(prefix, name, options)
	}
	return openByKind(arg, options)
}

// openAs opens a file as what its prefix says it is.
func openAs(prefix, name string, o archive.Options) (archive.Source, error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, absent(name)
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a folder: %s: is for a file", name, prefix)
	case prefix == "nix2container":
		return archive.Document(name)
	case prefix == "docker-archive":
		return archive.File(name, o)
	case info.Mode()&0o111 == 0:
		return nil, fmt.Errorf("%s is not executable: stream: is for a program that writes an archive", name)
	}
	return archive.Script(name, o), nil
}

// prefixes say what a source is.
var prefixes = []string{"flake:", "attr:", "docker-archive:", "oci:", "nix2container:", "stream:"}

// openOCI opens a layout or an archive of one, behind which a colon and the name of
// an image may stand.
func openOCI(name string, o archive.Options) (archive.Source, error) {
	info, err := os.Stat(name)
	if at, image, ok := strings.Cut(name, ":"); errors.Is(err, fs.ErrNotExist) && ok {
		name, o.Select = at, image
		info, err = os.Stat(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absent(name)
	}
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return archive.Folder(name, o), nil
	}
	o.Form = archive.OCI
	return archive.File(name, o)
}

// absent says what is wrong with the name of a file that is not there.
func absent(name string) error {
	if to, err := os.Readlink(name); err == nil {
		return fmt.Errorf("%s is a link to %s, which is not there: build it again", name, to)
	}
	if !strings.ContainsAny(name, "/.") {
		return fmt.Errorf("%s: there is no such file; an output of a flake is named .#%s, an attribute of default.nix attr:%s", name, name, name)
	}
	return fmt.Errorf("%s: there is no such file", name)
}

func openByKind(name string, o archive.Options) (archive.Source, error) {
	kind, err := archive.Find(name)
	if prefix, _, ok := strings.Cut(name, ":"); ok && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no such file, and no sources with the prefix %s:: there are %s", name, prefix, strings.Join(prefixes, " "))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absent(name)
	}
	if err != nil {
		return nil, err
	}
	switch kind {
	case archive.IsLayout:
		return archive.Folder(name, o), nil
	case archive.IsScript:
		return archive.Script(name, o), nil
	case archive.IsDocument:
		return archive.Document(name)
	}
	return archive.File(name, o)
}
