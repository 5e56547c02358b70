package evaluator

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const fake = `case "$1" in --version) echo "nix-instantiate (Nix) 2.8.0"; exit ;; esac
case "$4" in *trial.nix) TRIAL; echo '"it works"'; exit ;; esac
`

// fakeNix finds a Nix that is a script. trial is what else it does in a trial.
func fakeNix(t *testing.T, trial, text string) Nix {
	t.Helper()
	script(t, "nix-instantiate", strings.Replace(fake, "TRIAL", trial, 1)+text)
	n, err := Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// empty is an expression in a folder of its own; Nix is a script that does not
// read it.
func empty(t *testing.T) Expression {
	t.Helper()
	dir := t.TempDir()
	return Expression{File: filepath.Join(dir, "image.nix"), Read: []string{dir}}
}

// Nothing of the user's environment reaches an evaluation.
func TestEvalIsIsolated(t *testing.T) {
	for name, value := range map[string]string{
		"NIX_PATH": "nixpkgs=/leak", "NIX_REMOTE": "daemon", "NIX_CONFIG": "leak = 1", "NIXPKGS_ALLOW_UNFREE": "leak",
		"NIX_STORE_DIR": "/leak", "HOME": "/leak", "XDG_CONFIG_HOME": "/leak", "GITHUB_TOKEN": "leak", "NIX_PROFILE": "/leak",
	} {
		t.Setenv(name, value)
	}
	out, err := fakeNix(t, ":", "/usr/bin/env\n").Eval(t.Context(), t.TempDir(), empty(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(out), "\n") {
		if strings.Contains(line, "leak") || strings.HasPrefix(line, "NIX_REMOTE=daemon") {
			t.Errorf("the evaluation sees %s", line)
		}
	}
	for _, want := range []string{"NIX_REMOTE=dummy://\n", "restrict-eval = true\n", "PATH=" + nowhere + "\n"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

const refusesDummy = `case "$NIX_REMOTE" in dummy*) echo '[1'; echo "error: operation 'addToStore' is not supported by store 'dummy'" >&2; exit 1 ;; esac`

// A Nix that refuses the dummy store gets one that it may write to; one that
// refuses the expression, in whatever words, does not.
func TestStoreIsDecidedByTrial(t *testing.T) {
	scratch, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	out, err := fakeNix(t, refusesDummy, `echo "\"$NIX_REMOTE $*\""`).Eval(t.Context(), scratch, empty(t))
	if err != nil || !strings.Contains(string(out), "local?root="+scratch+"/root ") || !strings.Contains(string(out), "--read-write-mode") {
		t.Errorf("Eval() = %s, %v, want a store below %s", out, err, scratch)
	}

	n := fakeNix(t, ":", "echo \"$NIX_REMOTE $*\" >&2\n"+refusesDummy)
	out, err = n.Eval(t.Context(), t.TempDir(), empty(t))
	var refused *EvalError
	if !errors.As(err, &refused) || out != nil || !strings.Contains(err.Error(), "not supported by store") {
		t.Errorf("Eval() = %q, %v, want the refusal", out, err)
	}
	if refused != nil && (strings.Count(refused.Stderr, "image.nix") != 1 || !strings.Contains(refused.Stderr, "--readonly-mode")) {
		t.Errorf("it was evaluated more than once, or otherwise than read-only:\n%s", refused.Stderr)
	}
}

// What is evaluated as the strictest mode has it needs no trial. What is not has no
// say in how it is evaluated.
func TestEvalBeforeTrial(t *testing.T) {
	for text, fails := range map[string]bool{"1": false, `throw "no"`: true} {
		n, err := Find(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		e, scratch := empty(t), t.TempDir()
		if err := os.WriteFile(e.File, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := n.Eval(t.Context(), scratch, e)
		if (err != nil) != fails || fails && !errors.As(err, new(*EvalError)) {
			t.Errorf("%s: Eval() = %q, %v", text, out, err)
		}
		if _, err := os.Stat(filepath.Join(scratch, "trial")); (err == nil) != fails {
			t.Errorf("%s: there was a trial: %t", text, !fails)
		}
		if n.trial.mode == nil || *n.trial.mode != strictest {
			t.Errorf("%s: the next one is evaluated by %v", text, n.trial.mode)
		}
	}
}

// Where namespaces cannot be had, evaluation is restricted only, and it is said why.
func TestWithoutNamespaces(t *testing.T) {
	n := fakeNix(t, `if [ ! -e "`+os.Args[0]+`" ]; then echo "error: no namespaces for you" >&2; exit 1; fi`, "echo 1\n")
	mode, err := n.Mode(t.Context(), t.TempDir())
	if err != nil || mode.Namespaces || mode.Writable || !strings.HasPrefix(mode.String(), "restricted evaluation, without namespaces: ") || mode.Why == "" {
		t.Errorf("Mode() = %+v, %v", mode, err)
	}
	n = fakeNix(t, `echo "error: nothing works" >&2; exit 1`, "")
	if _, err := n.Eval(t.Context(), t.TempDir(), empty(t)); err == nil || !strings.Contains(err.Error(), "nothing works") {
		t.Errorf("a Nix that fails every trial: %v", err)
	}
}

func TestEvalKeepsErrorsOfTheExpression(t *testing.T) {
	out, err := fakeNix(t, ":", `echo '["/nix/store/'; echo "error: undefined variable 'x'" >&2; exit 1
`).Eval(t.Context(), t.TempDir(), empty(t))
	var eval *EvalError
	if !errors.As(err, &eval) || out != nil || !strings.Contains(err.Error(), "undefined variable 'x'") {
		t.Errorf("Eval() = %q, %v, want an EvalError and no output", out, err)
	}
}

// An evaluation writes to no file, not even in the folder that it has.
func TestEvalWritesNothing(t *testing.T) {
	scratch := t.TempDir()
	out, err := fakeNix(t, ":", "echo x > \"$HOME/file\"\necho 1\n").Eval(t.Context(), scratch, empty(t))
	if data, _ := os.ReadFile(filepath.Join(scratch, "home/file")); err == nil || len(data) > 0 {
		t.Errorf("Eval() = %q, %v; %q was written", out, err, data)
	}
}
