package run

import (
	"fmt"
	"strings"
	"time"
)

// Error says how a program ended that did not end well.
type Error struct {
	Name   string // of the program, without its folder
	Err    error  // *exec.ExitError, *TimeError, *OutputError, or why it could not be started
	Stderr string // the last 64 KiB of what it wrote to stderr, in whole lines
}

func (e *Error) Error() string { return e.Name + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// TimeError says that a program took longer than it may.
type TimeError struct{ Limit time.Duration }

func (e *TimeError) Error() string { return fmt.Sprintf("not done after %v", e.Limit) }

// OutputError says that a program wrote more than it may.
type OutputError struct{ Most int64 }

func (e *OutputError) Error() string { return fmt.Sprintf("wrote more than %d bytes", e.Most) }

// tail keeps the end of what is written to it.
type tail struct {
	limit int
	buf   []byte
	cut   bool
}

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if over := len(p) - t.limit; over > 0 {
		p, t.buf, t.cut = p[over:], t.buf[:0], true
	}
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.limit; over > t.limit {
		t.buf, t.cut = append(t.buf[:0], t.buf[over:]...), true
	}
	return n, nil
}

// text returns whole lines only: half a secret could not be recognised.
func (t *tail) text() string {
	text := string(t.buf)
	if over := len(text) - t.limit; over > 0 {
		text, t.cut = text[over:], true
	}
	if t.cut {
		_, text, _ = strings.Cut(text, "\n")
	}
	return text
}
