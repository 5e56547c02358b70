package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/standin"
	"github.com/nixpkgs-factory/factory/internal/upload/attictest"
)

// privateNix gives a script a Nix store of its own, the program "inside" that runs
// others with it as /nix, and a nixpkgs.
func privateNix(ts *testscript.TestScript, _ bool, _ []string) {
	fixture := of(ts).fixture
	dir := ts.MkAbs("private")
	ts.Check(os.Mkdir(dir, 0o755))
	prefix, env, err := fixture.PrivateNix(dir)
	ts.Check(err)
	ts.Defer(func() { standin.RemovePrivateNix(dir) })

	tree := ts.MkAbs("nixpkgs")
	ts.Check(os.Mkdir(tree, 0o755))
	archive := fixture.ArchiveFile(fixture.Commit("next").Rev)
	ts.Check(exec.Command("tar", "xf", archive, "-C", tree, "--strip-components=1", "--exclude=pkgs/test").Run())

	script := "#!/bin/sh\n"
	for _, entry := range append(env, "NIX_PATH=nixpkgs="+tree) {
		name, value, _ := strings.Cut(entry, "=")
		script += fmt.Sprintf("export %s='%s'\n", name, value)
	}
	script += "exec " + strings.Join(prefix, " ") + ` "$@"` + "\n"
	bin := ts.MkAbs("bin")
	ts.Check(os.MkdirAll(bin, 0o755))
	ts.Check(os.WriteFile(filepath.Join(bin, "inside"), []byte(script), 0o755))
	ts.Setenv("PATH", bin+":"+ts.Getenv("PATH"))
}

// startAttic starts an Attic server, and puts the address of its cache and a token
// for it into variables.
func startAttic(ts *testscript.TestScript, _ bool, args []string) {
	server, err := attictest.Start(attictest.Options{Cache: "ci"})
	ts.Check(err)
	ts.Defer(server.Close)
	of(ts).attic = server
	ts.Setenv(args[0], server.URL()+"/ci")
	ts.Setenv("TOKEN", server.Token("*", attictest.Pull, attictest.Push))
}

// cached tells whether the Attic server has an object with this in its name.
func cached(ts *testscript.TestScript, neg bool, args []string) {
	objects := of(ts).attic.Objects()
	has := slices.ContainsFunc(objects, func(o nix.PathInfo) bool { return strings.Contains(o.Path.String(), args[0]) })
	if has == neg {
		ts.Fatalf("the cache has %d objects; one with %s: %v", len(objects), args[0], has)
	}
}
