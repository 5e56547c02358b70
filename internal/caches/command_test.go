package caches

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A program that does not end is asked to, and what it started and left is killed.
func TestCommandIsEnded(t *testing.T) {
	record := program(t, "slow", `
exec 3> "$RECORD/pipe"
(trap '' INT; exec sleep 1000) &
trap 'touch "$RECORD/asked"; exit 1' INT
echo running >&3
wait
`)
	if err := syscall.Mkfifo(filepath.Join(record, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		limit  time.Duration
		cancel bool
		want   error
	}{
		{"cancelled", 0, true, context.Canceled},
		{"too long", 300 * time.Millisecond, false, errTooLong},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error)
		go func() { ended <- command{name: "slow", limit: tt.limit, grace: 100 * time.Millisecond}.run(ctx) }()

		pipe, err := os.Open(filepath.Join(record, "pipe")) // waits for the program
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(pipe)
		if line, err := r.ReadString('\n'); line != "running\n" {
			t.Fatalf("%q, %v", line, err)
		}
		if tt.cancel {
			cancel()
		}
		if err := <-ended; !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err := os.Remove(filepath.Join(record, "asked")); err != nil {
			t.Errorf("%s: it was not asked: %v", tt.name, err)
		}
		io.Copy(io.Discard, r) // ends with the last process that could write
		pipe.Close()
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
		{"as much as fits", []string{strings.Repeat("x", 19), "\n"}, strings.Repeat("x", 19) + "\n"},
		{"more, whole lines only", []string{"secret", " word\nline 1\n", "line 2\n"}, "line 2\n"},
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
