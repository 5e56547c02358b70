package daemon

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestHealth(t *testing.T) {
	errStore := errors.New("state: locked")
	errUpstream := errors.New("api: no route")
	tests := []struct {
		name         string
		do           func(h *Health)
		alive, ready string // "": yes
	}{
		{"at the start", func(*Health) {}, "", "no cycle has succeeded yet"},
		{"the loop never began", func(*Health) { time.Sleep(6 * time.Minute) },
			"no sign of life for 6m0s", "no cycle has succeeded yet"},
		{"first cycle runs", func(h *Health) {
			h.Begin()
			time.Sleep(50 * time.Minute)
		}, "", "no cycle has succeeded yet"},
		{"first cycle went well", func(h *Health) {
			h.Begin()
			time.Sleep(50 * time.Minute)
			h.End(nil)
		}, "", ""},
		{"first cycle failed", func(h *Health) {
			h.Begin()
			h.End(errStore)
		}, "", "no cycle has succeeded yet"},
		{"waiting", func(h *Health) {
			h.Begin()
			h.End(nil)
			for range 100 {
				time.Sleep(time.Minute)
				h.Beat()
			}
		}, "", ""},
		{"waiting without a sign", func(h *Health) {
			h.Begin()
			h.End(nil)
			time.Sleep(10 * time.Minute)
		}, "no sign of life for 10m0s", ""},
		{"long cycle", func(h *Health) {
			h.Begin()
			h.End(nil)
			h.Begin()
			time.Sleep(time.Hour)
		}, "", ""},
		{"cycle beyond its limit", func(h *Health) {
			h.Begin()
			h.End(nil)
			h.Begin()
			time.Sleep(time.Hour + time.Second)
		}, "the cycle has been running for 1h0m1s, its limit is 1h0m0s", ""},
		{"cycle cut off", func(h *Health) {
			h.Begin()
			h.End(nil)
			h.Begin()
			h.CutOff(errors.New("too long"))
		}, "the last cycle was cut off: too long", ""},
		{"first cycle cut off", func(h *Health) { h.CutOff(errors.New("too long")) },
			"the last cycle was cut off: too long", "no cycle has succeeded yet"},
		{"the next one runs", func(h *Health) {
			h.CutOff(errors.New("too long"))
			h.Begin()
		}, "the last cycle was cut off: too long", "no cycle has succeeded yet"},
		{"the next one ended in time", func(h *Health) {
			h.CutOff(errors.New("too long"))
			h.Begin()
			h.End(nil)
		}, "", ""},
		{"cycle without a limit", func(h *Health) {
			h.Bounds(2*time.Hour, 0)
			h.Begin()
			time.Sleep(1000 * time.Hour)
		}, "", "no cycle has succeeded yet"},
		{"cycles fail", func(h *Health) {
			h.Begin()
			h.End(nil)
			for range 3 {
				time.Sleep(time.Hour)
				h.Begin()
				h.End(errStore)
			}
		}, "", "the last cycle that succeeded ended 3h0m0s ago"},
		{"no channel could be asked, at first", func(h *Health) {
			h.Begin()
			h.Asked(errUpstream)
			h.End(errUpstream)
		}, "", "no channel could be asked in the last cycle: api: no route"},
		{"no channel could be asked, later", func(h *Health) {
			h.Begin()
			h.End(nil)
			h.Begin()
			h.Asked(errUpstream)
			h.End(errUpstream)
		}, "", "no channel could be asked in the last cycle: api: no route"},
		{"asked again", func(h *Health) {
			h.Asked(errUpstream)
			h.End(errUpstream)
			h.Asked(nil)
			h.End(nil)
		}, "", ""},
		{"without a bound", func(h *Health) {
			h.Bounds(0, 0)
			h.Begin()
			h.End(nil)
			time.Sleep(1000 * time.Hour)
			h.Beat()
		}, "", ""},
	}
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := NewHealth(nil)
				h.Bounds(2*time.Hour, time.Hour)
				tt.do(h)
				if got := text(h.Alive()); got != tt.alive {
					t.Errorf("Alive = %q, want %q", got, tt.alive)
				}
				if got := text(h.Ready()); got != tt.ready {
					t.Errorf("Ready = %q, want %q", got, tt.ready)
				}
			})
		})
	}
}
