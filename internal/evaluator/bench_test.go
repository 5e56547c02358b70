package evaluator

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
)

// An evaluation of the image folder with the miniature nixpkgs, by each Nix in
// each way.
func BenchmarkEvaluate(b *testing.B) {
	f, err := prepare()
	if err != nil {
		b.Fatal(err)
	}
	commit := f.Commit("shared")
	tree := b.TempDir()
	if out, err := exec.Command("tar", "--extract", "--file", f.ArchiveFile(commit.Rev), "--directory", tree, "--strip-components=1").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	image, err := filepath.Abs("../../images/base")
	if err != nil {
		b.Fatal(err)
	}
	installed, err := Find(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	const source = "/nix/store/" + digestA + "-nixpkgs-src"
	e := Expression{File: filepath.Join(image, "image.nix"), Read: []string{tree, image}, Args: map[string]string{
		"nixpkgs": tree, "system": "x86_64-linux", "source": source, "sourceAlias": source,
		"narHash": "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "lastModified": "1", "rev": commit.Rev, "channel": "nixos-26.05",
	}}
	for name, n := range map[string]Nix{"path": installed, "tree": ofTree(b)} {
		for _, namespaces := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/namespaces=%v", name, namespaces), func(b *testing.B) {
				for b.Loop() {
					if _, err := n.eval(b.Context(), Mode{Namespaces: namespaces}, b.TempDir(), e); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// The tree's Nix, fetched from a cache on this machine and unpacked, and found
// where it was unpacked.
func BenchmarkTake(b *testing.B) {
	file := naming(b)
	b.Run("fetched", func(b *testing.B) {
		for b.Loop() {
			take(b, chooser(b, Tree), file)
		}
	})
	b.Run("kept", func(b *testing.B) {
		c := chooser(b, Tree)
		take(b, c, file)
		for b.Loop() {
			take(b, c, file)
		}
	})
}

func take(b *testing.B, c *Chooser, file File) {
	b.Helper()
	root, err := wanted(file)
	if err != nil {
		b.Fatal(err)
	}
	kept, release, err := c.Keep.Take(b.Context(), root, "")
	if err != nil {
		b.Fatal(err)
	}
	release()
	b.ReportMetric(float64(kept.Fetched), "NAR-bytes")
}
