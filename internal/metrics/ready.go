package metrics

import (
	"errors"
	"fmt"
	"time"
)

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
