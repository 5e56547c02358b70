package nar

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAgainstNix compares with the installed Nix: it restores what Writer writes,
// dumps the same bytes from it, and gives it the same hash.
func TestAgainstNix(t *testing.T) {
	if _, err := exec.LookPath("nix-store"); err != nil {
		t.Skip("needs Nix (apt-get install nix-bin):", err)
	}
	trees := map[string][]any{}
	for _, v := range vectors {
		trees[v.name] = v.root
	}
	trees["unusual names"] = dir(
		entry(" ", file("")), entry("Test", link("/")), entry("Test~nix~case~hack~1", dir()), entry("a\nb", file("x")),
		entry("a\\b", file("x")), entry("e\u0301", link("/")), entry("test", dir()), entry("\u00e9", dir(entry("x", file("")))),
		entry("\xff\xfe", file("y")))
	trees["long names"] = dir(entry(strings.Repeat("n", 255), dir(entry(strings.Repeat("m", 255), file("x")))), entry("t", link(strings.Repeat("t", 4095))))
	trees["64 nodes deep"] = nested(64)
	trees["large file"] = dir(entry("a", file(strings.Repeat("0123456789", 30_000))))
	for name, root := range trees {
		t.Run(name, func(t *testing.T) {
			data := archive(root)
			items, err := readAll(bytes.NewReader(data), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			written, err := writeAll(items)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "root")
			nix(t, written, "nix-store", "--restore", path)
			if dumped := nix(t, nil, "nix-store", "--dump", path); !bytes.Equal(dumped, data) {
				t.Error("nix-store --dump yields other bytes")
			}
			want := nix(t, nil, "nix-hash", "--type", "sha256", path)
			if got := hexHash(data); got != strings.TrimSpace(string(want)) {
				t.Errorf("hash is %s, nix-hash says %s", got, want)
			}
		})
	}
}

// nix runs a command of Nix that needs no store.
func nix(t *testing.T, stdin []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = append(cmd.Environ(), "NIX_REMOTE=dummy://")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}
