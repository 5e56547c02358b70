package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
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
	switch {
	case arg == "-":
		return archive.Stream("standard input", io.NopCloser(o.stdin), options), nil
	case named && prefix == "docker-archive":
		options.Form = archive.Docker
		if name == "-" {
			return archive.Stream("standard input", io.NopCloser(o.stdin), options), nil
		}
		return archive.File(name, options)
	case named && prefix == "oci":
		return openOCI(name, options)
	case named && prefix == "stream":
		return archive.Script(name, options), nil
	case named && prefix == "nix2container":
		return archive.Document(name)
	}
	return openByKind(arg, options)
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
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return archive.Folder(name, o), nil
	}
	o.Form = archive.OCI
	return archive.File(name, o)
}

func openByKind(name string, o archive.Options) (archive.Source, error) {
	kind, err := archive.Find(name)
	if prefix, _, ok := strings.Cut(name, ":"); ok && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no such file, and no sources with the prefix %s:: there are %s", name, prefix, strings.Join(prefixes, " "))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no such file", name)
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
