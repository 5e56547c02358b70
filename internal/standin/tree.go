package standin

import (
	"embed"
	"encoding/json"
	"io/fs"
	"maps"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/standin/debian"
)

//go:embed all:nixpkgs
var embedded embed.FS

// A node is what git has at a path: a file or a symbolic link.
type node struct {
	mode string // git's: 100644, 100755, 120000
	data []byte // content, or target of the link
}

// A tree is the content of one commit, by path.
type tree map[string]node

func file(text string) node       { return node{"100644", []byte(text)} }
func executable(text string) node { return node{"100755", []byte(text)} }
func symlink(target string) node  { return node{"120000", []byte(target)} }

// baseTree is the miniature nixpkgs with the packages of the manifest.
func baseTree(m debian.Manifest) (tree, error) {
	t := tree{}
	err := fs.WalkDir(embedded, "nixpkgs", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := embedded.ReadFile(path)
		t[strings.TrimPrefix(path, "nixpkgs/")] = node{"100644", data}
		return err
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	t["pkgs/manifest.json"] = node{"100644", append(manifest, '\n')}
	t[".version"] = symlink("lib/.version")
	t[fallbackPaths] = file("") // nameNix has the paths, which depend on the rest
	maps.Copy(t, awkwardTree())
	return t, nil
}

// awkwardTree has, below pkgs/test/awkward, what unpacking, hashing and packing
// a tree can get wrong.
func awkwardTree() tree {
	const dir = "pkgs/test/awkward/"
	long := strings.Repeat("n", 120)
	deep := strings.Repeat("a-directory-of-thirty-one-bytes/", 9)
	t := tree{
		// git sorts foo-1, foo.nix, foo/x, foo0; a NAR has foo, foo/x, foo-1, foo.nix, foo0
		"foo-1":   file("1"),
		"foo.nix": file("{ }\n"),
		"foo/x":   file("x"),
		"foo0":    file("0"),

		"exec/run.sh":     executable("#!/bin/sh\necho run\n"),
		"exec/empty":      executable(""),
		"empty":           file(""),
		"eight-bytes":     file("12345678"),
		"nine-bytes":      file("123456789"),
		"no-newline":      file("no newline at the end"),
		"crlf.txt":        file("one\r\ntwo\r\n"),
		"binary":          file("\x00\xff\x00\x1f\x8b\x00"),
		"link/relative":   symlink("../empty"),
		"link/directory":  symlink("../foo"),
		"link/absolute":   symlink("/nix/store"),
		"link/dangling":   symlink("no/such/file"),
		"link/upwards":    symlink("../../../../../../../../etc/hostname"),
		"link/itself":     symlink("itself"),
		"link/long":       symlink(strings.Repeat("t", 150)),
		"Case":            file("upper"),
		"case":            file("lower"),
		"with space":      file("space"),
		"with\"quote\\":   file("quote and backslash"),
		"with\nnewline":   file("newline"),
		"-dash":           file("dash"),
		".hidden":         file("hidden"),
		"unicode-ä-漢":     file("UTF-8"),
		"latin-\xe4":      file("not UTF-8"),
		long:              file("a name of 120 bytes"),
		deep + "leaf":     file("a path of more than 255 bytes"),
		deep + "link":     symlink("leaf"),
		deep + long:       symlink(strings.Repeat("u", 200)),
		"deep/a/b/c/d/e":  file("deep"),
		"z.gitattributes": file("* text\n"),
	}
	placed := tree{}
	for path, n := range t {
		placed[dir+path] = n
	}
	return placed
}
