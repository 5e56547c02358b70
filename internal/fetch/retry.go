package fetch

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// maxRetryAfter bounds the pause that a server may ask for.
// Who asks for a longer one is believed: the request fails at once.
const maxRetryAfter = 2 * time.Minute

// patience counts failures in a row and says when to stop trying.
type patience struct {
	client   *Client
	attempts int       // 0: those of the client
	until    time.Time // no try begins after it; zero: at any time
	failures int
	asked    time.Duration // the pause that the server wants, if it was too long
}

// next returns how long to wait before the next try, or false if there should be none.
func (p *patience) next(cause error) (pause time.Duration, again bool) {
	p.failures++
	if !temporary(cause) || p.failures >= cmp.Or(p.attempts, p.client.options.Attempts) {
		return 0, false
	}
	var wanted time.Duration
	var answer *statusError
	if errors.As(cause, &answer) {
		wanted = answer.retryAfter
	}
	pause = max(wanted, backOff(p.client.options.Delay, p.failures))
	if wanted > maxRetryAfter || !p.until.IsZero() && time.Now().Add(pause).After(p.until) {
		p.asked = wanted
		return 0, false
	}
	return pause, true
}

// Sleep lets time pass, or returns why ctx ended before.
func Sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// backOff returns the pause after the nth failure in a row: first, twice that, four times that, …,
// each up to a quarter longer or shorter so that clients do not return all at once.
func backOff(first time.Duration, n int) time.Duration {
	pause := first << min(n-1, 10)
	return time.Duration(float64(pause) * (0.75 + 0.5*rand.Float64()))
}

// RetryAfter reads the header of that name, seconds or a date. said is false when
// there is none, or none that can be read.
func RetryAfter(h http.Header, now time.Time) (pause time.Duration, said bool) {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now)), true
	}
	return 0, false
}

// answered makes an error of an answer that is not the wanted one.
func answered(r *http.Response) *statusError {
	pause, _ := RetryAfter(r.Header, time.Now())
	return &statusError{status: r.StatusCode, retryAfter: pause}
}
