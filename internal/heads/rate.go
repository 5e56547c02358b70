package heads

import (
	"net/http"
	"strconv"
	"time"
)

// Rate is how many requests are left, as the server said last.
type Rate struct {
	Limit     int // in an hour; 0: the server has not said
	Remaining int
	Reset     time.Time // when Remaining becomes Limit again
}

// Rate returns what the last answer said of the rate limit.
func (c *Client) Rate() Rate { return c.transport.lastRate() }

// noteRate reads the headers X-RateLimit-*. Answers without them, as from
// a GitHub Enterprise that has no limits, say nothing.
func (t *transport) noteRate(h http.Header) {
	limit, err := strconv.Atoi(h.Get("X-RateLimit-Limit"))
	if err != nil {
		return
	}
	remaining, err := strconv.Atoi(h.Get("X-RateLimit-Remaining"))
	if err != nil {
		return
	}
	rate := Rate{Limit: limit, Remaining: remaining}
	if seconds, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
		rate.Reset = time.Unix(seconds, 0).UTC()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rate = rate
}

func (t *transport) lastRate() Rate {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rate
}
