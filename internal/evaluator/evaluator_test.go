package evaluator

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// script puts a program of this name in front of PATH.
func script(t *testing.T, name, text string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bin") // which is seen in namespaces
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	return dir
}

func TestFind(t *testing.T) {
	for says, want := range map[string]string{
		"nix-instantiate (Nix) 2.8.0":                  "2.8.0",
		"nix-instantiate (Nix) 2.31.2+1":               "2.31.2+1",
		"nix-instantiate (Lix, like Nix) 2.91.1":       "2.91.1",
		"nix-instantiate (Determinate Nix 3.8) 2.30.1": "2.30.1",
	} {
		script(t, "nix-instantiate", "echo '"+says+"'\n")
		got, err := Find(t.Context())
		if err != nil || got.Version != want {
			t.Errorf("%q: Find() = %q, %v, want %q", says, got.Version, err, want)
		}
	}
}

func TestFindNothing(t *testing.T) {
	for name, text := range map[string]string{"fails": "exit 1\n", "says something else": "echo hello\n"} {
		script(t, "nix-instantiate", text)
		_, err := Find(t.Context())
		if missing := (*MissingError)(nil); !errors.As(err, &missing) {
			t.Errorf("%s: Find() = %v, want a MissingError", name, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	_, err := Find(t.Context())
	if missing := (*MissingError)(nil); !errors.As(err, &missing) {
		t.Errorf("no Nix: Find() = %v, want a MissingError", err)
	}
}

func TestLastError(t *testing.T) {
	tests := map[string]string{
		"": "it ended without a message",
		"warning: x\nerror: attribute 'gcc' missing\n\n       at /x/pkgs.nix:202:12:\n\n          201|       cc = {\n          202|         cc = final.gcc;\n             |              ^\n          203|         libc = final.glibc;\n       Did you mean git?\n(use '--show-trace' to show detailed location information)\n": "attribute 'gcc' missing at /x/pkgs.nix:202:12: Did you mean git?",
		"\x1b[31;1merror:\x1b[0m outer\nerror: inner\n": "inner",
	}
	for in, want := range tests {
		if got := lastError(in); got != want {
			t.Errorf("lastError(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestStream(t *testing.T) {
	dir := script(t, "nix-store", `case "$1" in fail) echo part; echo "error: no such path" >&2; exit 1 ;; endless) exec yes ;; esac
echo whole
`)
	n := Nix{bin: dir}
	read := func(arg string) (string, error) {
		rc, err := n.Stream(t.Context(), "nix-store", arg)
		if err != nil {
			t.Fatal(err)
		}
		defer rc.Close()
		data, err := io.ReadAll(rc)
		return string(data), err
	}
	if got, err := read("ok"); got != "whole\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := read("fail"); got != "part\n" || err == nil || err.Error() != "nix-store: no such path" {
		t.Errorf("a failing command: got %q, %v, want an error that says why", got, err)
	}
	rc, err := n.Stream(context.Background(), "nix-store", "endless")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rc.Read(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	rc.Close() // returns, and ends the command
	if _, err := rc.Read(make([]byte, 10)); err == nil {
		t.Error("Read after Close: no error")
	}
}
