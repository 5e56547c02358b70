package heads

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-github/v62/github"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/said"
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
	Secondary     bool      // too many at a time, which a token does not change; else too many in an hour

	pause time.Duration // until Reset
}

func (e *RateLimitError) Error() string {
	if e.Secondary {
		return "GitHub asks for fewer requests at a time (its secondary rate limit), and for none until " + e.Reset.Format(time.RFC3339)
	}
	text := "GitHub's rate limit is used up until " + e.Reset.Format(time.RFC3339)
	if !e.Authenticated {
		text += "; with a token in GITHUB_TOKEN it is 5,000 requests an hour instead of 60"
	}
	return text
}

// explain turns what go-github makes of an answer into errors of our own:
// method, URL and status, or the time when the rate limit ends.
func (c *Client) explain(req *http.Request, err error) error {
	var primary *github.RateLimitError
	if errors.As(err, &primary) {
		return c.usedUp(primary.Rate.Reset.Time)
	}
	var abuse *github.AbuseRateLimitError
	if errors.As(err, &abuse) {
		pause := defaultPause
		if abuse.RetryAfter != nil {
			pause = *abuse.RetryAfter
		}
		return c.slowDown(pause)
	}
	var answer *github.ErrorResponse
	var otp *github.TwoFactorAuthError
	if errors.As(err, &otp) {
		answer = (*github.ErrorResponse)(otp)
	}
	if answer == nil && !errors.As(err, &answer) {
		return wrongAnswer(req, withoutURL(err))
	}
	switch h := answer.Response.Header; refused(answer.Response.StatusCode, h, answer.DocumentationURL) {
	case secondary:
		return c.slowDown(retryAfter(h))
	case hourly:
		return c.usedUp(resetTime(h))
	}
	e := wrongAnswer(req, nil)
	e.Status = answer.Response.StatusCode
	if answer.Message != "" && answer.Message != http.StatusText(e.Status) {
		e.Err = errors.New(said.Line(answer.Message))
	}
	return e
}

// wrongAnswer is an answer that cannot be used, or none at all.
func wrongAnswer(req *http.Request, cause error) *fetch.Error {
	return &fetch.Error{Method: req.Method, URL: fetch.Redact(req.URL.String()), Err: said.Error(cause)}
}

// withoutURL drops method and URL, which wrongAnswer adds itself.
func withoutURL(err error) error {
	var named *url.Error
	if errors.As(err, &named) {
		return named.Err
	}
	return err
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
