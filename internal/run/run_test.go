package run

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func sh(script string, args ...string) Command {
	return Command{Name: "sh", Args: append([]string{"-c", script, "sh"}, args...), Env: []string{"PATH=/usr/bin:/bin"}}
}

func TestRun(t *testing.T) {
	with := func(c Command, change func(*Command)) Command { change(&c); return c }
	for _, tt := range []struct {
		name    string
		command Command
		want    string
		err     string // "": none
		stderr  string
	}{
		{"all is well", sh("echo out; echo err >&2"), "out\n", "", ""},
		{"arguments and stdin", with(sh(`echo "$1"; cat`, "a b"), func(c *Command) { c.Stdin = strings.NewReader("in") }), "a b\nin", "", ""},
		{"fails", sh("echo out; echo why >&2; exit 3"), "", "sh: exit status 3", "why\n"},
		{"no such program", Command{Name: "no-such-program"}, "", "no-such-program: executable file not found in $PATH", ""},
		{"as much as it may", with(sh("echo 1234"), func(c *Command) { c.Output = 5 }), "1234\n", "", ""},
		{"too much", with(sh("trap 'exit 0' INT; echo why >&2; yes"), func(c *Command) { c.Output = 5 }), "", "sh: wrote more than 5 bytes", "why\n"},
		{"too much before it is noticed", with(sh("echo 123456"), func(c *Command) { c.Output = 5 }), "", "sh: wrote more than 5 bytes", ""},
		{"discarded", with(sh("echo out"), func(c *Command) { c.Discard = true }), "", "", ""},
		{"combined", with(sh("echo out; echo err >&2; exit 1"), func(c *Command) { c.Combine = true }), "", "sh: exit status 1", "out\nerr\n"},
		{"too long", with(sh("echo why >&2; exec sleep 1000"), func(c *Command) { c.Limit = 200 * time.Millisecond }), "", "sh: not done after 200ms", "why\n"},
		{"no environment", with(sh("/usr/bin/env | /usr/bin/grep -c HOME=; true"), func(c *Command) { c.Env = nil }), "0\n", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := tt.command.Run(t.Context())
			if string(out) != tt.want {
				t.Errorf("stdout %q, want %q", out, tt.want)
			}
			var ended *Error
			switch {
			case tt.err == "" && err != nil:
				t.Error(err)
			case tt.err != "" && (!errors.As(err, &ended) || err.Error() != tt.err || ended.Stderr != tt.stderr):
				t.Errorf("error %v, stderr %q, want %q, %q", err, ended.Stderr, tt.err, tt.stderr)
			}
		})
	}
}

// A program that does not end is asked to, and what it started and left is killed.
func TestGroupIsEnded(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limit  time.Duration
		cancel bool
	}{
		{"cancelled", 0, true},
		{"too long", 2 * time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
				t.Fatal(err)
			}
			c := sh(`exec 3> "$1/pipe"
				(trap '' INT; exec sleep 1000) &
				trap 'touch "$1/asked"; exit 1' INT
				echo running >&3
				wait`, dir)
			c.Limit, c.Grace = tt.limit, 10*time.Second // a busy machine takes its time to ask it
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error)
			go func() { _, err := c.Run(ctx); ended <- err }()
			pipe, err := os.Open(filepath.Join(dir, "pipe")) // waits for the program
			if err != nil {
				t.Fatal(err)
			}
			defer pipe.Close()
			r := bufio.NewReader(pipe)
			if line, err := r.ReadString('\n'); line != "running\n" {
				t.Fatalf("%q, %v", line, err)
			}
			if tt.cancel {
				cancel()
			}
			err = <-ended
			var late *TimeError
			if tt.cancel && err != context.Canceled || !tt.cancel && !errors.As(err, &late) {
				t.Errorf("Run() = %v", err)
			}
			if _, err := os.Stat(filepath.Join(dir, "asked")); err != nil {
				t.Errorf("it was not asked: %v", err)
			}
			io.Copy(io.Discard, r) // ends with the last process that could write
		})
	}
}

// A program that ends well leaves nothing behind either, and what has left its
// group with its stderr does not keep us waiting for ever.
func TestNothingIsLeft(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	opened := make(chan *os.File, 1)
	go func() { f, _ := os.Open(filepath.Join(dir, "pipe")); opened <- f }()
	if _, err := sh(`sleep 1000 3> "$1/pipe" & true 3> "$1/pipe"`, dir).Run(t.Context()); err != nil {
		t.Error(err)
	}
	pipe := <-opened
	defer pipe.Close()
	io.Copy(io.Discard, pipe)

	c := sh(`setsid sh -c 'exec sleep 1000' > "$1/out" & echo $!`, dir)
	c.Grace = time.Second
	out, err := c.Run(t.Context())
	if err != nil {
		t.Error(err)
	}
	t.Cleanup(func() { exec.Command("kill", strings.TrimSpace(string(out))).Run() })
}

func TestStderrIsDrained(t *testing.T) {
	c := sh(`yes 'a line of text' | head -c 50000000 >&2; echo "the end" >&2; exit 1`)
	_, err := c.Run(t.Context())
	var ended *Error
	if !errors.As(err, &ended) || len(ended.Stderr) > stderrKept || len(ended.Stderr) < stderrKept/2 {
		t.Fatalf("%v, %d bytes of stderr", err, len(ended.Stderr))
	}
	if !strings.HasPrefix(ended.Stderr, "a line") || !strings.HasSuffix(ended.Stderr, "the end\n") {
		t.Errorf("stderr is %.20q…%q", ended.Stderr, ended.Stderr[len(ended.Stderr)-20:])
	}
}

func TestTail(t *testing.T) {
	for _, tt := range []struct {
		name   string
		writes []string
		want   string
	}{
		{"nothing", nil, ""},
		{"little", []string{"a\n", "b\n"}, "a\nb\n"},
		{"as much as fits", []string{strings.Repeat("x", 9), "\n"}, strings.Repeat("x", 9) + "\n"},
		{"more, whole lines only", []string{"secret", " word\nline 1\n", "line 2\n"}, "line 2\n"},
		{"more, at once", []string{"secret word\nline 1\nline 2\n"}, "line 2\n"},
		{"more, without lines", []string{strings.Repeat("x", 100)}, ""},
	} {
		tail := &tail{limit: 10}
		for _, w := range tt.writes {
			io.WriteString(tail, w)
		}
		if got := tail.text(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestStream(t *testing.T) {
	read := func(script string) (string, error) {
		rc, err := sh(script).Stream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer rc.Close()
		data, err := io.ReadAll(rc)
		return string(data), err
	}
	if got, err := read("echo whole"); got != "whole\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	got, err := read(`echo part; echo "error: no such path" >&2; exit 1`)
	var ended *Error
	if got != "part\n" || !errors.As(err, &ended) || ended.Stderr != "error: no such path\n" {
		t.Errorf("a failing program: got %q, %v, want an error that says why", got, err)
	}
	rc, err := sh("exec yes").Stream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rc.Read(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	rc.Close() // returns, and ends the program
	if _, err := rc.Read(make([]byte, 10)); err == nil {
		t.Error("Read after Close: no error")
	}
}

func TestEnviron(t *testing.T) {
	for _, name := range []string{"GITHUB_TOKEN", "CACHIX_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY", "NIX_REMOTE", "LC_TIME", "LC", "UNKNOWN", "VERIFY_X", "DOCKER_PASSWORD", "HOME"} {
		t.Setenv(name, "x")
	}
	for _, tt := range []struct {
		name    string
		lists   [][]string
		present []string
		absent  []string
	}{
		{"nothing", nil, nil, []string{"HOME"}},
		{"common", [][]string{Common}, []string{"HOME", "LC_TIME"}, []string{"LC", "NIX_REMOTE", "UNKNOWN", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY"}},
		{"Nix", [][]string{Common, OfNix}, []string{"HOME", "NIX_REMOTE"}, []string{"CACHIX_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY"}},
		{"stores", [][]string{OfStores}, []string{"AWS_SECRET_ACCESS_KEY"}, []string{"CACHIX_AUTH_TOKEN", "HOME"}},
		{"verify", [][]string{Common, OfVerify}, []string{"VERIFY_X"}, []string{"DOCKER_PASSWORD", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN"}},
		{"everything but secrets", [][]string{{"*"}}, []string{"UNKNOWN"}, []string{"GITHUB_TOKEN", "CACHIX_AUTH_TOKEN"}},
	} {
		got := Environ(tt.lists...)
		for _, name := range tt.present {
			if !slices.Contains(got, name+"=x") {
				t.Errorf("%s: no %s", tt.name, name)
			}
		}
		for _, name := range tt.absent {
			if slices.Contains(got, name+"=x") {
				t.Errorf("%s: %s is there", tt.name, name)
			}
		}
	}
}

// TestStderrAsItComes: what a program says is there while it runs, and at the end
// of an error, too.
func TestStderrAsItComes(t *testing.T) {
	r, w := io.Pipe()
	c := sh("echo first >&2; read line; echo second >&2; exit 1")
	c.Stderr = w
	said := bufio.NewReader(r)
	stdin, answer := io.Pipe()
	c.Stdin = stdin
	done := make(chan error, 1)
	go func() { _, err := c.Run(t.Context()); done <- err }()
	for i, want := range []string{"first\n", "second\n"} {
		if got, err := said.ReadString('\n'); err != nil || got != want {
			t.Fatalf("line %d: %q, error %v, want %q", i, got, err, want)
		}
		if i == 0 {
			io.WriteString(answer, "go on\n")
			answer.Close()
		}
	}
	var ended *Error
	if err := <-done; !errors.As(err, &ended) || ended.Stderr != "first\nsecond\n" {
		t.Errorf("error %v, stderr %q", err, ended.Stderr)
	}
}
