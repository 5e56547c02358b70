package fetch

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/said"
)

// progressWorth is how far a stream has to get between two failures
// for the first one to be forgiven. That makes long streams possible over bad
// connections, and ends those of a server that sends a few bytes at a time.
const progressWorth = 1 << 20

// Body is a stream of bytes. It is not safe for concurrent use.
type Body struct {
	client *Client
	ctx    context.Context // of Open: Read may have to make requests of its own
	url    string
	accept string // encodings
	max    int64

	src      io.ReadCloser // nil while there is no connection
	local    bool          // src is a file
	final    string        // URL after redirects
	entity   validators
	encoding string
	size     int64 // of the entity; -1 unknown
	off      int64 // bytes delivered
	err      error // final

	patience  patience
	forgiveAt int64 // off from which earlier failures are forgotten
}

// Size returns the length of the whole body in bytes, -1 if it is not known.
func (b *Body) Size() int64 { return b.size }

// URL returns where the body came from in the end, after redirects, redacted.
func (b *Body) URL() string { return Redact(b.final) }

// Encoding returns the Content-Encoding, "" for none. Read does not undo it.
func (b *Body) Encoding() string { return b.encoding }

// Read reads on. Its errors, apart from io.EOF, are of type *Error. They match
// io.ErrUnexpectedEOF when the body was cut off and could not be resumed.
func (b *Body) Read(p []byte) (int, error) {
	// One byte beyond the limit tells a body that is too long from one that just fits.
	if room := b.max - b.off; int64(len(p))-1 > room {
		p = p[:room+1]
	}
	for b.err == nil && len(p) > 0 {
		n, err := b.src.Read(p)
		b.off += int64(n)
		complete := b.off >= b.size && (b.size >= 0 || err == io.EOF)
		switch {
		case b.off > b.max:
			n, b.off = n-1, b.max
			b.err = b.fail(tooLarge(b.max))
		case err == nil:
		case complete:
			b.err = io.EOF
		case err == io.EOF:
			b.err = b.resume(io.ErrUnexpectedEOF)
		default:
			b.err = b.resume(err)
		}
		if n > 0 {
			return n, b.err
		}
	}
	return 0, b.err
}

// Close ends the stream; later reads fail.
func (b *Body) Close() error {
	if b.err == nil {
		b.err = b.fail(fs.ErrClosed)
	}
	if b.src == nil {
		return nil
	}
	src := b.src
	b.src = nil
	return src.Close()
}

// resume makes src continue at off.
func (b *Body) resume(cause error) error {
	if b.local {
		return b.fail(&shortError{b.off, b.size, cause})
	}
	b.src.Close()
	b.src = nil
	if b.off >= b.forgiveAt {
		b.patience.failures = 0
	}
	b.forgiveAt = b.off + progressWorth
	return b.connect(cause)
}

// connect asks for the entity from off on until there is an answer or patience ends.
// A cause is the failure that made a new connection necessary.
func (b *Body) connect(cause error) error {
	begun := cause != nil
	for {
		if cause != nil {
			pause, again := b.patience.next(cause)
			if !again {
				return b.giveUp(cause, begun)
			}
			if err := Sleep(b.ctx, pause); err != nil {
				return b.fail(err)
			}
		}
		if cause = b.request(); cause == nil {
			return nil
		}
	}
}

func (b *Body) giveUp(cause error, begun bool) error {
	if ctxErr := b.ctx.Err(); ctxErr != nil {
		return b.fail(ctxErr)
	}
	if begun {
		cause = &shortError{b.off, b.size, cause}
	}
	e := b.fail(cause)
	e.Attempts = b.patience.failures
	return e
}

func (b *Body) request() error {
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, b.url, nil)
	if err != nil {
		return errBadURL
	}
	req.Header.Set("User-Agent", b.client.options.UserAgent)
	req.Header.Set("Accept-Encoding", b.accept)
	if b.off > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", b.off))
		if v := b.entity.ifRange(); v != "" {
			req.Header.Set("If-Range", v)
		}
	}
	x, err := b.client.send(req, b.client.http.Do)
	if err != nil {
		return err
	}
	if err := b.take(x); err != nil {
		if x.answer.StatusCode < http.StatusMultipleChoices {
			x.Close()
		} else {
			x.discard()
		}
		return err
	}
	b.final = x.answer.Request.URL.String()
	return nil
}

// take makes the answer the source of the bytes from off on.
func (b *Body) take(x *exchange) error {
	switch {
	case x.answer.StatusCode == http.StatusOK && b.off == 0:
		return b.begin(x)
	case x.answer.StatusCode == http.StatusOK:
		return b.skip(x)
	case x.answer.StatusCode == http.StatusPartialContent && b.off > 0:
		return b.follow(x)
	case x.answer.StatusCode == http.StatusRequestedRangeNotSatisfiable && b.off > 0 && b.size < 0:
		if r, ok := parseContentRange(x.answer.Header.Get("Content-Range")); !ok || r.total != b.off {
			return ErrChanged
		}
		// Only the end of the chunked body was lost.
		x.discard()
		b.src, b.size = io.NopCloser(strings.NewReader("")), b.off
		return nil
	}
	return answered(x.answer)
}

// begin takes an entity from its first byte.
func (b *Body) begin(x *exchange) error {
	encoding := x.answer.Header.Get("Content-Encoding")
	if reopened := b.final != ""; reopened && encoding != b.encoding {
		return ErrChanged
	}
	if x.answer.ContentLength > b.max {
		return fmt.Errorf("%d bytes: %w", x.answer.ContentLength, tooLarge(b.max))
	}
	b.src, b.size, b.encoding, b.entity = x, x.answer.ContentLength, encoding, newValidators(x.answer)
	return nil
}

// skip takes a server that sends the whole entity again, once it is clear that it is the same.
func (b *Body) skip(x *exchange) error {
	if !b.entity.same(newValidators(x.answer)) {
		return ErrChanged
	}
	if _, err := io.CopyN(io.Discard, x, b.off); err != nil {
		return err
	}
	b.src = x
	return nil
}

// follow takes the part of the entity that was asked for.
func (b *Body) follow(x *exchange) error {
	r, ok := parseContentRange(x.answer.Header.Get("Content-Range"))
	switch {
	case !ok || r.first != b.off:
		return fmt.Errorf("%w: asked for bytes %d-, got %q", ErrChanged, b.off, x.answer.Header.Get("Content-Range"))
	case b.entity.contradicts(newValidators(x.answer)):
		return ErrChanged
	case r.total >= 0 && b.size >= 0 && r.total != b.size:
		return fmt.Errorf("%w: had %d bytes, has %d", ErrChanged, b.size, r.total)
	case r.total > b.max:
		return fmt.Errorf("%d bytes: %w", r.total, tooLarge(b.max))
	}
	b.src, b.size = x, max(b.size, r.total)
	return nil
}

// fail makes the error to report of what went wrong.
func (b *Body) fail(cause error) *Error {
	e := &Error{Method: http.MethodGet, URL: Redact(b.url), Err: said.Error(cause)}
	if answer, ok := cause.(*statusError); ok {
		e.Status, e.Err = answer.status, nil
		if answer.retryAfter > maxRetryAfter {
			e.Err = fmt.Errorf("asks to wait for %s", answer.retryAfter)
		}
	}
	return e
}
