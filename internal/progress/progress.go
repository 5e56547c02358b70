// Package progress is how long work is shown while it goes on. Whoever works
// tells a Task how far it is; whoever shows that implements Progress. It is for
// people alone: nothing depends on what a Task was told.
package progress

import "io"

// Progress shows long work while it goes on.
type Progress interface {
	// Start begins a task; label says of which channel, system and step. total is
	// in bytes, or 0 if it is not known.
	Start(label string, total int64) Task
}

// Task is one piece of long work. It may be used from several goroutines.
type Task interface {
	Add(bytes int64)
	Done()
}

// Silent shows nothing.
type Silent struct{}

// Start implements Progress.
func (Silent) Start(string, int64) Task { return silentTask{} }

type silentTask struct{}

func (silentTask) Add(int64) {}
func (silentTask) Done()     {}

// Count returns rc, with what is read from it counted as a task's progress.
func Count(rc io.ReadCloser, task Task) io.ReadCloser { return counted{rc, task} }

type counted struct {
	io.ReadCloser
	task Task
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.task.Add(int64(n))
	return n, err
}

// From passes on where the bytes come from.
func (c counted) From() string {
	if s, ok := c.ReadCloser.(interface{ From() string }); ok {
		return s.From()
	}
	return ""
}

// Doubt hands on what readers have to say of a stream.
func (c counted) Doubt() {
	if s, ok := c.ReadCloser.(interface{ Doubt() }); ok {
		s.Doubt()
	}
}
