package daemon

import (
	"time"

	"github.com/robfig/cron/v3"
)

// schedule is one in its time zone.
type schedule struct {
	cron.Schedule
	location *time.Location
}

// after returns the first time of the schedule after t, zero if there is none.
// A time in an hour that the clock skips is at the end of that hour.
func (s schedule) after(t time.Time) time.Time {
	next := s.Next(t.In(s.zone()))
	if skipped, ok := s.skipped(t, next); ok {
		return skipped
	}
	return next
}

func (s schedule) zone() *time.Location {
	if s.location == nil {
		return time.UTC
	}
	return s.location
}

// everyHour is the bit by which the parser marks the field of hours as "*".
const everyHour = 1 << 63

// skipped returns the first moment after t and before next to which the clock
// jumps over a time of the schedule. Schedules of every hour have none: they
// come again within the hour.
func (s schedule) skipped(t, next time.Time) (time.Time, bool) {
	spec, ok := s.Schedule.(*cron.SpecSchedule)
	if !ok || spec.Hour&everyHour != 0 {
		return time.Time{}, false
	}
	zone := s.zone()
	if spec.Location != time.Local { // named in the schedule itself
		zone = spec.Location
	}
	onWall := *spec // the same, read off a clock on the wall that never jumps
	onWall.Location = time.UTC
	if next.IsZero() {
		next = t.Add(lookAhead)
	}
	for at := t.In(zone); ; {
		_, jump := at.ZoneBounds()
		if jump.IsZero() || !jump.Before(next) {
			return time.Time{}, false
		}
		before, after := wall(jump.Add(-time.Nanosecond)).Truncate(time.Second), wall(jump)
		if came := onWall.Next(before); !came.IsZero() && came.Before(after) {
			return jump.In(t.Location()), true
		}
		at = jump
	}
}

// wall returns what a clock on the wall shows, as if it were UTC.
func wall(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}
