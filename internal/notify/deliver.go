package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Error is an event that a webhook did not take.
type Error struct {
	Name     string // of the hook; may be ""
	Place    string // scheme and host
	Status   int    // of the last answer; 0: there was none
	Attempts int
	Unsent   int   // events behind this one that were not tried
	Err      error // without anything of the address; may be nil when Status says it
}

// Error says "NAME: POST https://HOST: 503 Service Unavailable (4 attempts)".
func (e *Error) Error() string {
	var b strings.Builder
	if e.Name != "" {
		b.WriteString(e.Name + ": ")
	}
	b.WriteString("POST " + e.Place + ": ")
	if e.Status != 0 {
		b.WriteString(strings.TrimSpace(strconv.Itoa(e.Status) + " " + http.StatusText(e.Status)))
	}
	if e.Status != 0 && e.Err != nil {
		b.WriteString(": ")
	}
	if e.Err != nil {
		b.WriteString(e.Err.Error())
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " (%d attempts)", e.Attempts)
	}
	if e.Unsent > 0 {
		fmt.Fprintf(&b, "; %d more not sent", e.Unsent)
	}
	return b.String()
}

// Unwrap returns the cause, if there is one besides the status.
func (e *Error) Unwrap() error { return e.Err }

// ofEvent tells whether the event was refused for what it is, so that another one
// may be taken.
func (e *Error) ofEvent() bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// deliver sends one event, as often as it takes and makes sense.
func (w *Webhooks) deliver(ctx context.Context, h hook, event Event, deadline time.Time) *Error {
	body, err := encode(event)
	if err != nil {
		return h.fail(err)
	}
	for attempt := 1; ; attempt++ {
		t := w.try(ctx, h, body)
		if t.done {
			return nil
		}
		e := &Error{Name: h.Name, Place: h.place, Status: t.status, Attempts: attempt, Err: t.err}
		pause := max(t.wait, backOff(w.options.Delay, attempt))
		switch {
		case ctx.Err() != nil:
			e.Err = ctx.Err()
			return e
		case !t.again || attempt == w.options.Attempts:
			return e
		case time.Now().Add(pause).After(deadline):
			if t.wait > 0 {
				e.Err = fmt.Errorf("asks to wait for %v", t.wait)
			}
			return e
		}
		if err := sleep(ctx, pause); err != nil {
			e.Err = err
			return e
		}
	}
}

// try is the outcome of one request.
type try struct {
	done   bool
	status int           // 0: no answer
	err    error         // may be shown
	again  bool          // the same request may well succeed later
	wait   time.Duration // what the server asks for; 0: nothing
}

func (w *Webhooks) try(ctx context.Context, h hook, body []byte) try {
	ctx, cancel := context.WithTimeout(ctx, w.options.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return try{err: errConnection}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", w.options.UserAgent)
	if h.Secret != "" {
		req.Header.Set(SignatureHeader, Sign(h.Secret, body))
	}
	resp, err := w.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return try{err: fmt.Errorf("no answer within %v", w.options.Timeout), again: true}
		}
		shown, again := cause(err)
		return try{err: shown, again: again}
	}
	// The text of an answer is not read: it may be endless, and repeat the address.
	resp.Body.Close()
	t := try{status: resp.StatusCode}
	switch {
	case t.status >= 200 && t.status < 300:
		t.done = true
	case t.status >= 300 && t.status < 400:
		t.err = errRedirect
	case temporary(t.status):
		t.again, t.wait = true, retryAfter(resp.Header)
	}
	return t
}

var (
	errRedirect   = errors.New("redirects are not followed: set the address that it leads to")
	errConnection = errors.New("no connection")
)

// cause picks from an error of net/http what may be shown. Many of them repeat
// the address, or what a server made of it, so only those that never do are let
// through.
func cause(err error) (shown error, again bool) {
	var (
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		hostname    x509.HostnameError
		record      tls.RecordHeaderError
		network     *net.OpError
	)
	switch {
	case errors.As(err, &authority):
		return authority, false
	case errors.As(err, &hostname):
		return errors.New("x509: certificate is for another host"), false
	case errors.As(err, &certificate):
		return errors.New("x509: certificate is not valid"), false
	case errors.Is(err, http.ErrSchemeMismatch):
		return http.ErrSchemeMismatch, false
	case errors.As(err, &record):
		return errors.New("tls: this is not TLS"), false
	case errors.As(err, &network):
		return network, true
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errors.New("connection closed without an answer"), true
	}
	return errConnection, true
}

// temporary tells statuses that pass from those that do not.
func temporary(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusNetworkAuthenticationRequired:
		return false
	}
	return status >= 500
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(date))
	}
	return 0
}

// backOff returns the pause after the nth failure: first, twice that, four times
// that, …, each up to a quarter longer or shorter.
func backOff(first time.Duration, n int) time.Duration {
	pause := first << min(n-1, 10)
	return time.Duration(float64(pause) * (0.75 + 0.5*rand.Float64()))
}

func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
