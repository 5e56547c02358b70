package standin

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// A rate is GitHub's primary rate limit: so many requests until the reset.
type rate struct {
	limit, remaining int
	reset            time.Time
}

func newRate(authenticated bool) rate {
	limit := 60
	if authenticated {
		limit = 5000
	}
	return rate{limit, limit, time.Now().Add(time.Hour).Truncate(time.Second)}
}

// SetRateLimit sets how many requests the API answers before the reset.
// After it the API answers again. 304 answers do not count.
func (s *Server) SetRateLimit(remaining int, reset time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate.limit = max(s.rate.limit, remaining)
	s.rate.remaining, s.rate.reset = remaining, reset.Truncate(time.Second)
}

// left returns how many requests are left, all of them again when the reset is over.
func (r *rate) left() int {
	if now := time.Now(); !now.Before(r.reset) {
		r.remaining, r.reset = r.limit, now.Add(time.Hour).Truncate(time.Second)
	}
	return r.remaining
}

func (r *rate) take() { r.remaining = max(0, r.remaining-1) }

func (r *rate) header(h http.Header) {
	h.Set("X-RateLimit-Limit", strconv.Itoa(r.limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(r.remaining))
	h.Set("X-RateLimit-Used", strconv.Itoa(r.limit-r.remaining))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(r.reset.Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
}

func rateExceeded(r *http.Request, token string) answer {
	message := fmt.Sprintf("API rate limit exceeded for %s. (But here's the good news: Authenticated requests get a higher rate limit. Check out the documentation for more details.)", r.RemoteAddr)
	if token != "" {
		message = "API rate limit exceeded for user ID 1."
	}
	return problem(http.StatusForbidden, message, "/overview/rate-limits-for-the-rest-api")
}

// getRateLimit is free, and is answered when nothing else is.
func (s *Server) getRateLimit(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.rate.left()
	s.rate.header(w.Header())
	core := object{"limit": s.rate.limit, "remaining": s.rate.remaining, "used": s.rate.limit - s.rate.remaining, "reset": s.rate.reset.Unix()}
	s.mu.Unlock()
	sendJSON(w, answer{body: object{"resources": object{"core": core}, "rate": core}})
}
