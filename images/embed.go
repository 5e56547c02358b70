// Package images has what the image folders install, for whoever starts with them
// somewhere else.
package images

import (
	"embed"
	"path"
)

// Files are the folders of images, without what is not installed. Files lose their
// modes: Executable tells which can be run.
//
//go:embed all:base/bin all:base/rootfs base/image.nix
var Files embed.FS

// Executable tells whether a file of Files is a program: what is in bin is.
func Executable(name string) bool { return path.Base(path.Dir(name)) == "bin" }
