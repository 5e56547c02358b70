package heads

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v62/github"

	"github.com/nixpkgs-factory/factory/internal/fetch"
)

// UnknownChannelError is a channel that the repository does not have.
type UnknownChannelError struct {
	Channel    string
	Repository string
	Closest    []string // up to three channels with similar names, the most similar first
}

func (e *UnknownChannelError) Error() string {
	text := fmt.Sprintf("%s has no channel %q", e.Repository, e.Channel)
	if len(e.Closest) > 0 {
		text += " (closest: " + strings.Join(e.Closest, ", ") + ")"
	}
	return text
}

// UnknownCommitError is a revision that the repository does not have.
type UnknownCommitError struct {
	Rev        string // as asked for
	Repository string
}

func (e *UnknownCommitError) Error() string {
	return fmt.Sprintf("%s has no commit %s", e.Repository, e.Rev)
}

// RateLimitError is an answer that refuses further requests for a while.
type RateLimitError struct {
	Reset         time.Time // when requests are possible again, in UTC
	Authenticated bool      // whether a token was sent
}

func (e *RateLimitError) Error() string {
	text := "GitHub's rate limit is used up until " + e.Reset.Format(time.RFC3339)
	if !e.Authenticated {
		text += "; with a token in GITHUB_TOKEN it is 5,000 requests an hour instead of 60"
	}
	return text
}

// defaultPause is for answers that say "slow down" but not for how long;
// GitHub's documentation asks for at least a minute.
const defaultPause = time.Minute

// explain turns what go-github makes of an answer into errors of our own:
// method, URL and status, or the time when the rate limit ends.
func (c *Client) explain(req *http.Request, err error) error {
	var primary *github.RateLimitError
	if errors.As(err, &primary) {
		return c.rateLimited(primary.Rate.Reset.Time)
	}
	var secondary *github.AbuseRateLimitError
	if errors.As(err, &secondary) {
		pause := defaultPause
		if secondary.RetryAfter != nil {
			pause = *secondary.RetryAfter
		}
		return c.rateLimited(time.Now().Add(pause))
	}
	var answer *github.ErrorResponse
	var otp *github.TwoFactorAuthError
	if errors.As(err, &otp) {
		answer = (*github.ErrorResponse)(otp)
	}
	if answer == nil && !errors.As(err, &answer) {
		return wrongAnswer(req, withoutURL(err))
	}
	if slowDown(answer) {
		return c.rateLimited(resetTime(answer.Response.Header))
	}
	e := wrongAnswer(req, nil)
	e.Status = answer.Response.StatusCode
	if answer.Message != "" && answer.Message != http.StatusText(e.Status) {
		e.Err = errors.New(answer.Message)
	}
	return e
}

// wrongAnswer is an answer that cannot be used, or none at all.
func wrongAnswer(req *http.Request, cause error) *fetch.Error {
	return &fetch.Error{Method: req.Method, URL: fetch.Redact(req.URL.String()), Err: cause}
}

// withoutURL drops method and URL, which wrongAnswer adds itself.
func withoutURL(err error) error {
	var named *url.Error
	if errors.As(err, &named) {
		return named.Err
	}
	return err
}

func (c *Client) rateLimited(reset time.Time) error {
	if reset.IsZero() {
		reset = time.Now().Add(defaultPause)
	}
	return &RateLimitError{Reset: reset.UTC().Round(time.Second), Authenticated: c.authenticated}
}

// slowDown recognises the refusals that go-github takes for ordinary errors.
// Status 403 alone can mean many things.
func slowDown(answer *github.ErrorResponse) bool {
	h := answer.Response.Header
	switch answer.Response.StatusCode {
	case http.StatusTooManyRequests:
		return true
	case http.StatusForbidden:
		return h.Get("X-RateLimit-Remaining") == "0" || h.Get("Retry-After") != "" ||
			strings.Contains(answer.DocumentationURL, "rate-limit")
	}
	return false
}

func resetTime(h http.Header) time.Time {
	if seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 31); err == nil {
		return time.Now().Add(time.Duration(seconds) * time.Second)
	}
	if seconds, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil && h.Get("X-RateLimit-Remaining") == "0" {
		return time.Unix(seconds, 0)
	}
	return time.Time{}
}

// unknownCommit replaces the answers that mean "no such commit":
// git/commits says 404, commits says 422, or 409 if the repository is empty.
func (c *Client) unknownCommit(rev string, err error) error {
	var answer *fetch.Error
	if errors.As(err, &answer) {
		switch answer.Status {
		case http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity:
			return &UnknownCommitError{Rev: rev, Repository: c.owner + "/" + c.name}
		}
	}
	return err
}
