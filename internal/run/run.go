// Package run runs programs: Nix, cachix, commands of the configuration.
//
// Whatever runs is a process group of its own that is interrupted, then killed,
// as a whole, and nothing of it is left when a call returns. It gets the
// environment that it is given and none of the factory's; what it writes is
// bounded. A program may be confined, too: see Confinement.
package run

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	defaultOutput = 1 << 20
	defaultGrace  = 5 * time.Second
	stderrKept    = 64 << 10
)

// Command is a program to run.
type Command struct {
	Name  string   // looked for on the factory's PATH unless there is a slash in it
	Args  []string // without the name
	Dir   string
	Env   []string // all of its environment; see Environ
	Stdin io.Reader

	Stderr  io.Writer     // gets what it writes to stderr, as it comes; nil: only its end is kept
	Discard bool          // what it writes to stdout is of no use
	Combine bool          // what it writes to stdout is kept with stderr
	Output  int64         // most bytes that Run returns of stdout; 0: 1 MiB. More ends it
	Limit   time.Duration // it is ended when it takes longer; 0: no limit
	Grace   time.Duration // between interrupting and killing; 0: 5 s

	Confined *Confinement // nil: it may do what the factory may
}

// Run runs the program to its end and returns what it wrote to stdout. The
// error is that of ctx when it is done, else an *Error.
func (c Command) Run(ctx context.Context) ([]byte, error) {
	p, err := c.start(ctx)
	if err != nil {
		return nil, err
	}
	var out []byte
	if p.stdout != nil {
		most := c.Output
		if most == 0 {
			most = defaultOutput
		}
		// What has left the group may have our pipe and outlive the program.
		go func() { <-p.ended; p.stdout.SetReadDeadline(time.Now().Add(p.grace)) }()
		out, err = io.ReadAll(io.LimitReader(p.stdout, most+1))
		if int64(len(out)) > most {
			p.cancel(&OutputError{Most: most})
			out = nil
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
		}
	}
	if end := p.wait(); end != nil {
		return nil, end
	}
	return out, err
}

// Stream is Run for output of any size. Reading to the end reports how the
// program ended; closing early stops it.
func (c Command) Stream(ctx context.Context) (io.ReadCloser, error) {
	p, err := c.start(ctx)
	if err != nil {
		return nil, err
	}
	return &stream{p: p}, nil
}

type stream struct {
	p   *process
	end error // once the program was waited for
}

func (s *stream) Read(b []byte) (int, error) {
	if s.end != nil {
		return 0, s.end
	}
	n, err := s.p.stdout.Read(b)
	if err == io.EOF {
		if s.end = s.p.wait(); s.end == nil {
			s.end = io.EOF
		}
		return n, s.end
	}
	return n, err
}

func (s *stream) Close() error {
	if s.end == nil {
		s.p.cancel(os.ErrClosed)
		s.end = os.ErrClosed
		s.p.wait() // its failure is our own doing
	}
	return nil
}

// process is a program that runs.
type process struct {
	cmd    *exec.Cmd
	name   string
	limit  time.Duration
	grace  time.Duration
	ctx    context.Context // of the caller
	within context.Context // ends the program
	cancel context.CancelCauseFunc
	stop   context.CancelFunc
	stdout *os.File // nil unless it is to be read
	stderr *os.File
	tail   tail
	read   chan struct{} // closed when stderr was read
	err    error         // how it ended
	ended  chan struct{} // closed when it has, and its group with it
}

func (c Command) start(ctx context.Context) (*process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := &process{name: filepath.Base(c.Name), limit: c.Limit, grace: c.Grace, ctx: ctx, tail: tail{limit: stderrKept}, read: make(chan struct{}), ended: make(chan struct{})}
	if p.grace == 0 {
		p.grace = defaultGrace
	}
	within, cancel := context.WithCancelCause(ctx)
	p.within, p.cancel, p.stop = within, cancel, func() {}
	if c.Limit > 0 {
		p.within, p.stop = context.WithTimeoutCause(within, c.Limit, &TimeError{Limit: c.Limit})
	}
	err := p.launch(c)
	if err != nil {
		p.stop()
		p.cancel(nil)
		return nil, &Error{Name: p.name, Err: err}
	}
	var stderr io.Writer = &p.tail
	if c.Stderr != nil {
		stderr = io.MultiWriter(stderr, c.Stderr)
	}
	go func() {
		defer close(p.read)
		io.Copy(stderr, p.stderr)
	}()
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // nothing of it stays behind
	}()
	return p, nil
}

// launch starts the program with pipes of our own: those of package exec would
// make us wait for whatever the program has left behind.
func (p *process) launch(c Command) (err error) {
	if p.cmd, err = c.prepare(p.within); err != nil {
		return err
	}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdin = c.Dir, c.Env, c.Stdin
	if p.cmd.Env == nil {
		p.cmd.Env = []string{}
	}
	if p.cmd.SysProcAttr == nil {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	p.cmd.SysProcAttr.Setpgid = true // so that signals reach what it starts
	p.cmd.Cancel = func() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGINT) }
	p.cmd.WaitDelay = p.grace
	stderr, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer theirs.Close()
	p.stderr, p.cmd.Stderr = stderr, theirs
	switch {
	case c.Combine:
		p.cmd.Stdout = theirs
	case !c.Discard:
		stdout, out, err := os.Pipe()
		if err != nil {
			stderr.Close()
			return err
		}
		defer out.Close()
		p.stdout, p.cmd.Stdout = stdout, out
	}
	if err := p.cmd.Start(); err != nil {
		stderr.Close()
		if p.stdout != nil {
			p.stdout.Close()
		}
		return err
	}
	return nil
}

// wait waits for the program and gives back what it held.
func (p *process) wait() error {
	<-p.ended
	p.stderr.SetReadDeadline(time.Now().Add(p.grace)) // as for stdout
	<-p.read
	p.stderr.Close()
	if p.stdout != nil {
		p.stdout.Close()
	}
	cause := context.Cause(p.within)
	p.stop()
	p.cancel(nil)
	switch {
	case p.err == nil && !errors.As(cause, new(*OutputError)):
		return nil
	case p.ctx.Err() != nil:
		return p.ctx.Err()
	case cause != nil:
		return &Error{Name: p.name, Err: cause, Stderr: p.tail.text()}
	}
	return &Error{Name: p.name, Err: p.err, Stderr: p.tail.text()}
}

// command is exec.CommandContext, with the reason in short when there is no
// such program.
func command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var missing *exec.Error
	if errors.As(cmd.Err, &missing) {
		return nil, missing.Err
	}
	return cmd, cmd.Err
}
