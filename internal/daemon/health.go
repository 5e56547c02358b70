package daemon

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Health is what probes want to know of a daemon. Its methods may be called from
// many goroutines.
type Health struct {
	now func() time.Time

	mu       sync.Mutex
	fresh    time.Duration
	limit    time.Duration
	beat     time.Time // the loop was last seen
	begun    time.Time // of the running cycle; zero: none runs
	finished time.Time // the last cycle that succeeded; zero: none
	cut      error     // why the last cycle was ended before it had ended; nil: it was not
	unasked  error     // why no channel could be asked in the last cycle; nil: one could
}

// silence is how long a waiting loop may give no sign of life.
const silence = 5 * time.Minute

// NewHealth makes the health of a loop that is about to start. now may be nil,
// for time.Now.
func NewHealth(now func() time.Time) *Health {
	if now == nil {
		now = time.Now
	}
	return &Health{now: now, beat: now()}
}

// Bounds sets how old the last finished cycle of a daemon that is ready may be,
// and how long a cycle may take. 0 means that there is no bound.
func (h *Health) Bounds(fresh, limit time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fresh, h.limit = fresh, limit
}

// Beat is a sign of life of the loop while no cycle runs.
func (h *Health) Beat() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beat = h.now()
}

// Begin notes that a cycle begins.
func (h *Health) Begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beat = h.now()
	h.begun = h.beat
}

// End notes that the cycle has ended. Only one that could look at every channel,
// whatever became of them, makes the daemon ready: its error is nil.
func (h *Health) End(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beat, h.begun, h.cut = h.now(), time.Time{}, nil
	if err == nil {
		h.finished = h.beat
	}
}

// CutOff notes that the cycle was ended by its limit, for which err is the word.
// Until another one has ended in time, that is a reason to start the program again.
func (h *Health) CutOff(err error) {
	h.End(err)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cut = err
}

// Alive returns why the program should be started again, nil if it should not.
func (h *Health) Alive() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cut != nil {
		return fmt.Errorf("the last cycle was cut off: %w", h.cut)
	}
	if !h.begun.IsZero() {
		if runs := h.now().Sub(h.begun); h.limit > 0 && runs > h.limit {
			return fmt.Errorf("the cycle has been running for %v, its limit is %v", runs.Round(time.Second), h.limit)
		}
		return nil
	}
	if quiet := h.now().Sub(h.beat); quiet > silence {
		return fmt.Errorf("no sign of life for %v", quiet.Round(time.Second))
	}
	return nil
}

// Asked notes whether the cycle could ask for any channel at all; err says why
// not. A daemon that cannot is alive and does nothing for anybody.
func (h *Health) Asked(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unasked = err
}

// Ready returns why the daemon does not do its work, nil if it does.
func (h *Health) Ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.unasked != nil {
		return fmt.Errorf("no channel could be asked in the last cycle: %w", h.unasked)
	}
	if h.finished.IsZero() {
		return errors.New("no cycle has succeeded yet")
	}
	if age := h.now().Sub(h.finished); h.fresh > 0 && age > h.fresh {
		return fmt.Errorf("the last cycle that succeeded ended %v ago", age.Round(time.Second))
	}
	return nil
}
