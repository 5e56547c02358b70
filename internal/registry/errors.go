package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/nixpkgs-factory/factory/internal/said"
)

// AnswerError is an answer of a registry or its token service that says no.
type AnswerError struct {
	Method, At string // what was asked, without a query, which may hold secrets
	Status     int
	Code       string // of the error, in the registry's words; often ""
	Message    string
	Sent       string // what was sent and its size, "" for a question
	RetryAfter time.Duration
}

func (e *AnswerError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", e.Method, e.At)
	if errors.Is(e, ErrNotFound) {
		b.WriteString(ErrNotFound.Error())
	} else {
		fmt.Fprintf(&b, "%d %s", e.Status, http.StatusText(e.Status))
	}
	for _, s := range []string{e.Code, e.Message} {
		if s != "" {
			b.WriteString(": " + s)
		}
	}
	if e.Sent != "" {
		b.WriteString(" (sent: " + e.Sent + ")")
	}
	if hint := e.hint(); hint != "" {
		b.WriteString(" (" + hint + ")")
	}
	return b.String()
}

// hint says what an answer can mean where registries do not.
func (e *AnswerError) hint() string {
	asked := e.Method == http.MethodGet || e.Method == http.MethodHead
	const login = "log in with docker login, or set REGISTRY_USER and REGISTRY_PASSWORD"
	switch {
	case e.Status == http.StatusRequestEntityTooLarge:
		return "larger than a proxy allows that stands before the registry: raise its limit for the size of a body"
	case (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden) && strings.Contains(e.At, "/v2/") && asked && !strings.HasSuffix(e.At, "/v2/"):
		return "either the right to read is missing: " + login +
			"; or it does not exist, and the registry hides what is absent, as virtual repositories do: create the repository, or name the local one"
	case e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden:
		return "the right is missing: " + login
	}
	return ""
}

// Is makes 404 ErrNotFound: of questions only, for a write is not about
// something that may be absent.
func (e *AnswerError) Is(target error) bool {
	return target == ErrNotFound && e.Status == http.StatusNotFound && (e.Method == http.MethodGet || e.Method == http.MethodHead)
}

// answerOf makes an error of an answer, whose body is read.
func answerOf(resp *http.Response, sent string) *AnswerError {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what could be read will do
	e := &AnswerError{
		Method:     resp.Request.Method,
		At:         address(resp.Request.URL),
		Status:     resp.StatusCode,
		Sent:       sent,
		RetryAfter: retryAfter(resp),
	}
	e.Code, e.Message = meaning(body)
	return e
}

// meaning is what the body of an answer says in a form that is meant for programs.
// Pages for people are not.
func meaning(body []byte) (code, message string) {
	var answer struct {
		Errors []struct {
			Code, Message string
		}
		Message, Error, Details string
	}
	if json.Unmarshal(body, &answer) != nil && len(answer.Errors) == 0 {
		return "", ""
	}
	if len(answer.Errors) > 0 {
		return clean(answer.Errors[0].Code), clean(answer.Errors[0].Message)
	}
	for _, s := range []string{answer.Message, answer.Error, answer.Details} {
		if s != "" {
			return "", clean(s)
		}
	}
	return "", ""
}

// clean makes one short line of what somebody else wrote.
func clean(s string) string { return said.Line(s) }

// address is a URL for an error: without a query.
func address(u *url.URL) string {
	return clean((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String())
}

// place is what a request asks for, for an error.
func place(r *http.Request) string { return r.Method + " " + address(r.URL) }

// preliminary is an error of what has to be asked before a request: the
// registry's root, or a token. It says itself what was asked.
type preliminary struct{ error }

func (p preliminary) Unwrap() error { return p.error }

// requestError says what was asked when no answer came.
func requestError(r *http.Request, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // its URL has a query
	}
	var before preliminary
	if errors.As(err, &before) {
		return before.error
	}
	return fmt.Errorf("%s: %w", place(r), err)
}

// readable makes the library's errors like those of this package.
func readable(err error) error {
	var answer *transport.Error
	if !errors.As(err, &answer) || answer.Request == nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			if at, parseErr := url.Parse(wrapped.URL); parseErr == nil {
				return requestError(&http.Request{Method: strings.ToUpper(wrapped.Op), URL: at}, err)
			}
		}
		return err
	}
	e := &AnswerError{Method: answer.Request.Method, At: address(answer.Request.URL), Status: answer.StatusCode}
	if len(answer.Errors) > 0 {
		e.Code, e.Message = clean(string(answer.Errors[0].Code)), clean(answer.Errors[0].Message)
	}
	return e
}

// ImmutableTagError says that a tag leads to something else and that the
// registry refuses to have it moved. What is there stays as it is.
type ImmutableTagError struct {
	Ref  string  // of the tag
	Now  v1.Hash // what the tag leads to
	Want v1.Hash // what it should have led to
	Err  error   // the registry's answer
}

func (e *ImmutableTagError) Error() string {
	return fmt.Sprintf("the tag is immutable: it stays on %s and does not move to %s: %v", e.Now, e.Want, e.Err)
}

func (e *ImmutableTagError) Unwrap() error { return e.Err }

// NoRepositoryError says that a repository does not exist and is not made by
// pushing to it.
type NoRepositoryError struct {
	Repository string
	Err        error // the registry's answer
}

func (e *NoRepositoryError) Error() string {
	return fmt.Sprintf("the repository %s does not exist, and this registry makes none by itself: create it first (%v)", e.Repository, e.Err)
}

func (e *NoRepositoryError) Unwrap() error { return e.Err }
