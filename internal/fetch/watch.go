package fetch

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// watch ends a request when what is expected takes too long. It may be used by
// several goroutines: a transport sends a body while it waits for the answer.
type watch struct {
	end context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	since time.Time // of the wait that is on; zero: none is
	late  *StallError
	over  bool
}

// expect begins a wait, or replaces the one that is on.
func (w *watch) expect(patience time.Duration, late *StallError) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	w.since, w.late = time.Now(), late
	if w.timer == nil {
		w.timer = time.AfterFunc(patience, w.fire)
		return
	}
	w.timer.Reset(patience)
}

func (w *watch) fire() {
	w.mu.Lock()
	late, waiting := w.late, !w.since.IsZero()
	w.mu.Unlock()
	if waiting {
		w.end(late)
	}
}

// rest ends the wait and returns how long it was.
func (w *watch) rest() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() {
		return 0
	}
	waited := time.Since(w.since)
	w.since = time.Time{}
	w.timer.Stop()
	return waited
}

// finish is rest for good.
func (w *watch) finish() {
	w.rest()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}

// pace holds the bytes that move against the time that is spent waiting for them.
type pace struct {
	*guard
	verb  string        // what happens to a byte, for errors
	left  time.Duration // of the window
	moved int64         // in it
}

func (g *guard) pace(verb string) pace { return pace{guard: g, verb: verb, left: g.Stall} }

// took enters a wait and what came of it. Enough bytes open a new window.
func (p *pace) took(waited time.Duration, n int64) {
	p.left -= waited
	if p.moved += n; p.moved >= p.Least {
		p.left, p.moved = p.Stall, 0
	}
}

// late is the error for a window that passes without the bytes that are wanted.
func (p *pace) late() *StallError {
	switch p.moved {
	case 0:
		return &StallError{"no byte" + p.verb + " for", p.Stall}
	case 1:
		return &StallError{"only 1 byte" + p.verb + " in", p.Stall}
	}
	return &StallError{fmt.Sprintf("only %d bytes%s in", p.moved, p.verb), p.Stall}
}

// sent is the body of a request on its way. Each time the transport comes for
// more, the server has taken what it was given before.
type sent struct {
	call *call
	src  io.ReadCloser
	pace pace
	last int64 // bytes given and not yet known to be taken
}

func (c *call) send(body io.ReadCloser) *sent {
	return &sent{call: c, src: body, pace: c.pace(" taken")}
}

func (b *sent) Read(p []byte) (int, error) {
	waited := b.call.asking.rest()
	if b.last > 0 { // before, it was the connection that was waited for
		b.pace.took(waited, b.last)
	}
	n, err := b.src.Read(p)
	b.last = int64(n)
	if err == io.EOF {
		answer := b.call.Answer
		b.call.asking.expect(answer, &StallError{"no answer for", answer})
	} else if err == nil {
		b.call.asking.expect(b.pace.left, b.pace.late())
	}
	return n, err
}

func (b *sent) Close() error { return b.src.Close() }

// received is the body of an answer.
type received struct {
	*call
	src     io.ReadCloser
	reading watch
	pace    pace
	bound   bound
	got     int64
}

func (c *call) receive(resp *http.Response, b bound) *received {
	r := &received{call: c, src: resp.Body, pace: c.pace(""), bound: b}
	r.reading.end = c.cancel
	if !b.cut && b.max >= 0 && resp.ContentLength > b.max {
		r.got = resp.ContentLength // the first Read says it
	}
	return r
}

func (r *received) Read(p []byte) (int, error) {
	if r.bound.max >= 0 {
		room := r.bound.max - r.got
		switch {
		case r.bound.cut && room <= 0:
			return 0, io.EOF
		case room < 0:
			return 0, tooLarge(r.bound.max)
		}
		p = p[:min(int64(len(p)), room+1)] // one more byte tells an end from a cut
	}
	r.reading.expect(r.pace.left, r.pace.late())
	n, err := r.src.Read(p)
	r.pace.took(r.reading.rest(), int64(n))
	r.got += int64(n)
	switch {
	case r.bound.max >= 0 && r.got > r.bound.max:
		n -= int(r.got - r.bound.max)
		if r.bound.cut {
			return n, io.EOF
		}
		return n, tooLarge(r.bound.max)
	case err != nil && err != io.EOF:
		err = r.cause(err)
	}
	return n, err
}

// Close ends the request, whether or not the body has been read.
func (r *received) Close() error {
	r.reading.finish()
	r.cancel(nil)
	return r.src.Close()
}
