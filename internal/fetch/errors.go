package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/said"
)

var (
	// ErrNotFound is matched by answers that say the document does not exist: 404 and 410, or no such file.
	ErrNotFound = errors.New("not found")

	// ErrChanged is matched when a body that broke off cannot be gone on with, because
	// what is there now is another one, or may be.
	ErrChanged = errors.New("changed while it was being fetched")

	// ErrTooLarge is matched when a body exceeds the bound of the call.
	ErrTooLarge = errors.New("body is too large")

	errRedirects = errors.New("more than 10 redirects")
	errBadURL    = errors.New("not a URL")
	errScheme    = errors.New("unknown URL scheme")
	errEncoding  = errors.New("content encoding")
	errNotFile   = errors.New("not a regular file")
)

// Error is a request that brought no answer, or not the wanted one.
type Error struct {
	Method   string
	URL      string // as asked for, redacted
	Status   int    // 0: no answer, or a body that broke off
	Attempts int    // how often it was tried in vain; 0 and 1 go without saying
	Err      error  // what went wrong; may be nil when Status says it
}

// Error says "GET URL: 503 Service Unavailable (5 attempts)".
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", e.Method, e.URL)
	switch {
	case e.Status != 0 && e.Err != nil:
		fmt.Fprintf(&b, "%s: %v", statusText(e.Status), e.Err)
	case e.Status != 0:
		b.WriteString(statusText(e.Status))
	default:
		fmt.Fprint(&b, e.Err)
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " (%d attempts)", e.Attempts)
	}
	return b.String()
}

func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// Unwrap returns the cause, if there is one besides the status.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is ErrNotFound and the document does not exist.
func (e *Error) Is(target error) bool {
	if target != ErrNotFound {
		return false
	}
	return e.Status == http.StatusNotFound || e.Status == http.StatusGone ||
		e.Status == 0 && errors.Is(e.Err, fs.ErrNotExist)
}

// Temporary reports whether the same request may well succeed later.
func (e *Error) Temporary() bool {
	if e.Status != 0 {
		return temporaryStatus(e.Status)
	}
	return temporary(e.Err)
}

// temporaryStatus follows what Nix's own downloader repeats.
func temporaryStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusNetworkAuthenticationRequired:
		return false
	}
	return status >= 500
}

// temporary tells a broken connection from what no repetition will mend.
func temporary(err error) bool {
	var answer *statusError
	if errors.As(err, &answer) {
		return temporaryStatus(answer.status)
	}
	for _, permanent := range []error{
		ErrTooLarge, ErrChanged, errRedirects, errBadURL, errScheme, errEncoding, errNotFile,
		fs.ErrNotExist, fs.ErrPermission, fs.ErrClosed, http.ErrSchemeMismatch, context.Canceled,
	} {
		if errors.Is(err, permanent) {
			return false
		}
	}
	var certificate *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	var own *BodyError
	return !errors.As(err, &certificate) && !errors.As(err, &plain) && !errors.As(err, &own)
}

func tooLarge(max int64) error {
	return fmt.Errorf("%w (limit %d bytes)", ErrTooLarge, max)
}

// statusError is an answer with another status than the wanted one.
type statusError struct {
	status     int
	retryAfter time.Duration // what the server asks for; 0: nothing
	said       error         // what it says besides; may be nil
}

func (e *statusError) Error() string { return statusText(e.status) }

// shortError is a body that ended too early.
type shortError struct {
	got, want int64 // want < 0: unknown
	cause     error
}

func (e *shortError) Error() string {
	if e.want < 0 {
		return fmt.Sprintf("cut off after %d bytes: %v", e.got, e.cause)
	}
	return fmt.Sprintf("cut off after %d of %d bytes: %v", e.got, e.want, e.cause)
}

func (e *shortError) Unwrap() []error { return []error{io.ErrUnexpectedEOF, e.cause} }

// Redact returns a URL as it may be shown: without user, password and fragment,
// without query values that could be secret, by their name or by their length,
// and not at any length.
func Redact(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "(not a URL)"
	}
	u.User = nil
	u.Fragment, u.RawFragment = "", ""
	if u.RawQuery == "" {
		return said.Line(u.String())
	}
	pairs := strings.Split(u.RawQuery, "&")
	for i, pair := range pairs {
		key, value, found := strings.Cut(pair, "=")
		if found && (secretKey(key) || len(value) > 64) {
			pairs[i] = key + "=REDACTED"
		}
	}
	u.RawQuery = strings.Join(pairs, "&")
	return said.Line(u.String())
}

func secretKey(key string) bool {
	if plain, err := url.QueryUnescape(key); err == nil {
		key = plain
	}
	key = strings.ToLower(key)
	for _, part := range []string{
		"token", "sig", "key", "secret", "pass", "pwd", "auth", "cred", "session", "jwt", "policy", "x-amz-", "x-goog-",
	} {
		if strings.Contains(key, part) {
			return true
		}
	}
	return false
}
