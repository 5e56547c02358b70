package evaluator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
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
	out, err := fakeNix(t, refusesDummy, refusesDummy+"\n"+`echo "\"$NIX_REMOTE $*\""`).Eval(t.Context(), scratch, empty(t))
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

// What is evaluated as the strictest mode has it needs no trial. Neither it nor what
// fails has a say in how the next one is evaluated.
func TestEvalBeforeTrial(t *testing.T) {
	here, err := Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	usual, err := here.Mode(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for text, fails := range map[string]bool{"1": false, `throw "no"`: true} {
		n := Nix{Version: here.Version, bin: here.bin, trial: new(trial)}
		e, scratch := empty(t), t.TempDir()
		if err := os.WriteFile(e.File, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := n.Eval(t.Context(), scratch, e)
		if (err != nil) != fails || fails && !errors.As(err, new(*EvalError)) {
			t.Errorf("%s: Eval() = %q, %v", text, out, err)
		}
		want := fails || usual != strictest
		if _, err := os.Stat(filepath.Join(scratch, "trial")); (err == nil) != want || (n.trial.mode != nil) != want {
			t.Errorf("%s: there was a trial: %t, and it is known: %v", text, err == nil, n.trial.mode)
		}
		if n.trial.mode != nil && *n.trial.mode != usual {
			t.Errorf("%s: the next one is evaluated by %v, want %v", text, n.trial.mode, usual)
		}
	}
}

// What failed in the mode that the trial finds right is not evaluated a second time.
func TestEvalFailsOnce(t *testing.T) {
	e := empty(t)
	pipe := filepath.Join(e.Read[0], "pipe")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	times, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer times.Close()
	if _, err := times.WriteString("the first time\nthe second time\n"); err != nil {
		t.Fatal(err)
	}
	n := fakeNix(t, ":", `read -r time <"${4%image.nix}pipe"; echo "error: $time" >&2; exit 1`+"\n")
	if _, err := n.Eval(t.Context(), t.TempDir(), e); err == nil || !strings.Contains(err.Error(), "the first time") {
		t.Errorf("Eval() = %v, want the error of the first time", err)
	}
}

// A Nix that evaluates one expression with the dummy store, and refuses another one,
// gets the store that it may write to.
func TestSuccessIsNoTrial(t *testing.T) {
	n := fakeNix(t, refusesDummy, `case "$4" in *easy/*) echo 1; exit ;; esac`+"\n"+refusesDummy+"\necho 2\n")
	easy := filepath.Join(t.TempDir(), "easy")
	if err := os.Mkdir(easy, 0o755); err != nil {
		t.Fatal(err)
	}
	for i, e := range []Expression{{File: filepath.Join(easy, "image.nix"), Read: []string{easy}}, empty(t)} {
		if out, err := n.Eval(t.Context(), t.TempDir(), e); err != nil || string(out) != fmt.Sprintln(i+1) {
			t.Errorf("Eval() = %q, %v, want %d", out, err, i+1)
		}
	}
}

// While an expression is evaluated there is no trial: one that takes all memory
// would have a say in it.
func TestTrialIsByItself(t *testing.T) {
	n := fakeNix(t, ":", `case "$4" in *waits.nix) read -r x <"${4%waits.nix}pipe"; exit 0 ;; esac; echo "error: no" >&2; exit 1`+"\n")
	if mode, err := (Nix{bin: n.bin, trial: new(trial)}).Mode(t.Context(), t.TempDir()); err != nil || mode != strictest {
		t.Skipf("nothing is evaluated before a trial on this machine: %v, %v", mode, err)
	}
	fails, scratch := empty(t), t.TempDir()
	waits := Expression{File: filepath.Join(fails.Read[0], "waits.nix"), Read: fails.Read}
	pipe := filepath.Join(fails.Read[0], "pipe")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	evaluate := func(scratch string, e Expression) chan error {
		ended := make(chan error, 1)
		go func() {
			_, err := n.Eval(t.Context(), scratch, e)
			ended <- err
		}()
		return ended
	}
	waiting := evaluate(t.TempDir(), waits)
	var end *os.File
	for err := error(syscall.ENXIO); err != nil; end, err = os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0) { // until it is read
		if len(waiting) > 0 {
			t.Fatal(<-waiting)
		}
		time.Sleep(time.Millisecond)
	}
	failing := evaluate(scratch, fails)
	for len(failing) == 0 && n.trial.mu.TryRLock() { // until somebody wants it alone
		n.trial.mu.RUnlock()
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-failing:
		t.Fatalf("it did not wait for the other one: %v", err)
	case <-time.After(200 * time.Millisecond): // a trial takes less
	}
	if _, err := os.Stat(filepath.Join(scratch, "trial")); err == nil {
		t.Error("a trial while another one is evaluated")
	}
	if err := errors.Join(end.Close(), <-waiting); err != nil {
		t.Error(err)
	}
	if err := <-failing; !errors.As(err, new(*EvalError)) {
		t.Errorf("Eval() = %v, want an EvalError", err)
	}
}

// Where namespaces cannot be had, evaluation is restricted only, and it is said why.
func TestWithoutNamespaces(t *testing.T) {
	n := fakeNix(t, `if [ ! -e "`+os.Args[0]+`" ]; then echo "error: no namespaces for you" >&2; exit 1; fi`, "echo 1\n")
	mode, err := n.Mode(t.Context(), t.TempDir())
	if err != nil || mode.Namespaces || mode.Writable || !strings.HasPrefix(mode.String(), "restricted evaluation, without namespaces: ") || mode.Why == "" {
		t.Errorf("Mode() = %+v, %v", mode, err)
	}
	fails := `echo "error: nothing works" >&2; exit 1`
	n = fakeNix(t, fails, fails)
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
	for _, mode := range []Mode{strictest, {}} {
		scratch := t.TempDir()
		out, err := fakeNix(t, ":", "echo x > \"$HOME/file\" && echo 1\n").eval(t.Context(), mode, scratch, empty(t))
		if data, _ := os.ReadFile(filepath.Join(scratch, "home/file")); err == nil || len(data) > 0 {
			t.Errorf("%v: eval() = %q, %v; %q was written", mode, out, err, data)
		}
	}
}
