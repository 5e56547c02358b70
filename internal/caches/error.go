package caches

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/said"
)

// Error is a request to an Attic server that brought no answer, or not the
// wanted one.
type Error struct {
	Method   string
	URL      string
	Status   int    // 0: no answer
	Kind     string // Attic's name of the error, like "NoSuchCache"; "" when the answer is not Attic's
	Message  string // what the answer says, in one line
	Attempts int    // how often it was tried in vain
	Err      error  // why there is no answer, or not a usable one; nil when the status says it

	retryAfter time.Duration
}

// Error says "PUT URL: 403 Forbidden: AccessError: …".
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", e.Method, e.URL)
	if e.Status != 0 {
		b.WriteString(": " + strings.TrimSpace(strconv.Itoa(e.Status)+" "+http.StatusText(e.Status)))
	}
	if e.Kind != "" && e.Kind != strings.TrimSuffix(e.Message, ".") {
		b.WriteString(": " + e.Kind)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " (%d attempts)", e.Attempts)
	}
	return b.String()
}

// Unwrap returns the cause, if there is one besides the status.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether the same request may well succeed later.
func (e *Error) Temporary() bool {
	switch {
	case e.Status == 0:
		return temporary(e.Err)
	case e.Status == http.StatusRequestTimeout, e.Status == http.StatusTooManyRequests:
		return true
	case e.Status == http.StatusNotImplemented, e.Status == http.StatusHTTPVersionNotSupported,
		e.Status == http.StatusNetworkAuthenticationRequired:
		return false
	}
	return e.Status >= http.StatusInternalServerError
}

func temporary(err error) bool {
	var certificate *tls.CertificateVerificationError
	var source *sourceError
	return !errors.Is(err, context.Canceled) && !errors.Is(err, http.ErrSchemeMismatch) &&
		!errors.As(err, &certificate) && !errors.As(err, &source)
}

// forAll reports whether no other object will fare better: the server does not
// let us, or cannot be reached.
func (e *Error) forAll() bool {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired:
		return true
	case 0:
		var source *sourceError
		return !errors.As(e.Err, &source)
	}
	return e.Status/100 == 3
}

// sourceError is a NAR that cannot be read: no fault of the server.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// explain fills in what an answer with a bad status says: JSON of Attic, or
// whatever a proxy in front of it wrote. Either may repeat the secret it was sent.
func (e *Error) explain(header http.Header, body []byte, secret string) {
	var answer struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}
	text := string(body)
	if json.Unmarshal(body, &answer) == nil && (answer.Error != "" || answer.Message != "") {
		e.Kind, text = said.Line(hide(answer.Error, secret)), answer.Message
	}
	if strings.Contains(header.Get("Content-Type"), "html") {
		text = ""
	}
	e.Message = said.Line(hide(text, secret))
	if to := header.Get("Location"); to != "" && e.Status/100 == 3 {
		e.Message = "redirected to " + said.Line(hide(withoutUser(to), secret)) + "; such an endpoint has to be configured as it is"
	}
	if seconds, err := strconv.ParseUint(header.Get("Retry-After"), 10, 31); err == nil {
		e.retryAfter = time.Duration(seconds) * time.Second
	}
}

// withoutUser removes user, password and query from a URL.
func withoutUser(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(not a URL)"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// hide removes secrets from a text.
func hide(text string, secrets ...string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "(hidden)")
		}
	}
	return text
}

// concealed is an error without its secrets.
type concealed struct {
	error
	secrets []string
}

func conceal(err error, secrets ...string) error {
	if err == nil || hide(err.Error(), secrets...) == err.Error() {
		return err
	}
	return &concealed{err, secrets}
}

func (c *concealed) Error() string { return hide(c.error.Error(), c.secrets...) }
func (c *concealed) Unwrap() error { return c.error }
