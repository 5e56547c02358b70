package nixcli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// script puts a program of this name in front of PATH.
func script(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
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

const fake = `case "$1" in --version) echo "nix-instantiate (Nix) 2.8.0"; exit ;; esac
`

// Nothing of the user's environment reaches an evaluation.
func TestEvalIsIsolated(t *testing.T) {
	script(t, "nix-instantiate", fake+"env | sort\n")
	for name, value := range map[string]string{
		"NIX_PATH": "nixpkgs=/leak", "NIX_REMOTE": "daemon", "NIX_CONFIG": "leak = 1", "NIXPKGS_ALLOW_UNFREE": "leak",
		"NIX_STORE_DIR": "/leak", "HOME": "/leak", "XDG_CONFIG_HOME": "/leak", "GITHUB_TOKEN": "leak", "NIX_PROFILE": "/leak",
	} {
		t.Setenv(name, value)
	}
	n, err := Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := n.Eval(t.Context(), t.TempDir(), "/image.nix", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(out), "\n") {
		if strings.Contains(line, "leak") || strings.HasPrefix(line, "NIX_REMOTE=daemon") {
			t.Errorf("the evaluation sees %s", line)
		}
	}
	if !strings.Contains(string(out), "NIX_REMOTE=dummy://") {
		t.Errorf("no dummy store:\n%s", out)
	}
}

func TestEvalWithoutTheDummyStore(t *testing.T) {
	script(t, "nix-instantiate", fake+`case "$NIX_REMOTE" in dummy*) echo '[1'; echo "error: operation 'addToStore' is not supported by store 'dummy'" >&2; exit 1 ;; esac
echo "\"$NIX_REMOTE\""
`)
	n, err := Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir()
	out, err := n.Eval(t.Context(), scratch, "/image.nix", nil)
	if want := `"local?root=` + scratch + `/root"`; err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("Eval() = %s, %v, want %s", out, err, want)
	}
}

func TestEvalKeepsErrorsOfTheExpression(t *testing.T) {
	script(t, "nix-instantiate", fake+`echo x >> "$HOME/runs"; echo '["/nix/store/'; echo "error: undefined variable 'x'" >&2; exit 1
`)
	n, err := Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir()
	out, err := n.Eval(t.Context(), scratch, "/image.nix", nil)
	var eval *EvalError
	if !errors.As(err, &eval) || out != nil || !strings.Contains(err.Error(), "undefined variable 'x'") {
		t.Errorf("Eval() = %q, %v, want an EvalError and no output", out, err)
	}
	if runs, err := os.ReadFile(filepath.Join(scratch, "home/runs")); err != nil || string(runs) != "x\n" {
		t.Errorf("the expression was evaluated %q times, %v, want once", runs, err)
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
	if got, err := read("fail"); got != "part\n" || err == nil || !strings.Contains(err.Error(), "no such path") {
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
