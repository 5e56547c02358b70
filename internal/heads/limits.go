package heads

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/fetch"
)

const (
	// defaultPause is for answers that say "slow down" but not for how long;
	// GitHub's documentation asks for at least a minute.
	defaultPause = time.Minute

	// maxPause is the longest that a question waits, all its pauses together.
	// Who asks for more is believed: the question fails.
	maxPause = 2 * time.Minute
	minPause = time.Second
	maxTries = 5
)

// kind is that of a refusal.
type kind int

const (
	none      kind = iota
	hourly         // the requests of the hour are used up
	secondary      // too many at a time
)

// refused recognises the answers that ask for no more requests for now, in the
// order that GitHub's documentation gives. Status 403 alone can mean many things.
func refused(status int, h http.Header, about string) kind {
	switch {
	case status != http.StatusForbidden && status != http.StatusTooManyRequests:
		return none
	case h.Get("Retry-After") != "":
		return secondary
	case h.Get("X-RateLimit-Remaining") == "0":
		return hourly
	case status == http.StatusTooManyRequests || strings.Contains(about, "rate-limit") || strings.Contains(about, "secondary rate limit"):
		return secondary
	}
	return none
}

// mark makes a secondary limit say for how long it is. The library would take
// the end of the hour for it, and refuse every question until then.
func mark(resp *http.Response, body []byte) {
	if refused(resp.StatusCode, resp.Header, string(body)) != secondary {
		return
	}
	resp.Header.Set("Retry-After", strconv.Itoa(int(retryAfter(resp.Header)/time.Second)))
	resp.Header.Del("X-RateLimit-Remaining")
	resp.Header.Del("X-RateLimit-Reset")
}

// retryAfter is how long a server wants us to wait.
func retryAfter(h http.Header) time.Duration {
	if pause, said := fetch.RetryAfter(h, time.Now()); said {
		return pause
	}
	return defaultPause
}

func resetTime(h http.Header) time.Time {
	if seconds, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
		return time.Unix(seconds, 0)
	}
	return time.Time{}
}

func (c *Client) usedUp(reset time.Time) error {
	if reset.IsZero() {
		reset = time.Now().Add(defaultPause)
	}
	return &RateLimitError{Reset: reset.UTC().Round(time.Second), Authenticated: c.authenticated}
}

func (c *Client) slowDown(pause time.Duration) error {
	return &RateLimitError{
		Reset: time.Now().Add(pause).UTC().Round(time.Second), Authenticated: c.authenticated,
		Secondary: true, pause: max(pause, minPause),
	}
}

// brokenPause is before an answer that broke off is asked for again.
const brokenPause = time.Second

// pauseAfter returns how long to wait before a question is asked again, or false if
// it is answered.
func pauseAfter(err error) (pause time.Duration, again bool) {
	var limit *RateLimitError
	if errors.As(err, &limit) {
		return limit.pause, limit.Secondary
	}
	var stalled *fetch.StallError
	return brokenPause, errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errBroken) && !errors.As(err, &stalled)
}

// patiently asks until there is a whole answer that is no secondary limit, or a
// longer wait is asked for than a question is worth.
func (c *Client) patiently(ctx context.Context, ask func() error) error {
	for left, tries := maxPause, 1; ; tries++ {
		err := ask()
		pause, again := pauseAfter(err)
		if !again || pause > left || tries == maxTries {
			return err
		}
		left -= pause
		if err := c.sleep(ctx, pause); err != nil {
			return err
		}
	}
}
