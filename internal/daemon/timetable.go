package daemon

import "time"

// timetable holds when the next cycle begins.
type timetable struct {
	schedule schedule
	jitter   time.Duration
	rand     func() float64

	slot  time.Time // the next time of the schedule; zero: none
	start time.Time // slot and its jitter
	retry time.Time // when something that failed is due; zero: nothing
}

func newTimetable(s schedule, jitter time.Duration, rand func() float64, now time.Time) timetable {
	t := timetable{schedule: s, jitter: jitter, rand: rand}
	t.take(s.after(now))
	return t
}

// take makes slot the next time of the schedule.
func (t *timetable) take(slot time.Time) {
	t.slot, t.start = slot, slot
	if !slot.IsZero() {
		t.start = slot.Add(time.Duration(t.rand() * float64(t.jitter)))
	}
}

// advance goes on to the next slot if the start of this one has come, and tells
// whether it has. Slots that are over by then are left out: a cycle looks at
// everything, so a second one would find nothing that the next does not find.
func (t *timetable) advance(now time.Time) bool {
	if t.slot.IsZero() || t.start.After(now) {
		return false
	}
	next := t.schedule.after(t.slot) // keeps "@every" from drifting
	if !next.After(now) {
		next = t.schedule.after(now)
	}
	t.take(next)
	return true
}

// look corrects a slot that is too far away because the clock was ahead when it
// was chosen.
func (t *timetable) look(now time.Time) {
	next := t.schedule.after(now)
	if !next.IsZero() && (t.slot.IsZero() || next.Before(t.slot)) {
		t.take(next)
	}
}

// breath is the least time between a cycle and a retry. It keeps what is always
// due from making cycles follow one another without a pause.
const breath = time.Minute

// retryAt notes when something is due again; the zero time is never.
func (t *timetable) retryAt(retry, now time.Time) {
	if least := now.Add(breath); !retry.IsZero() && retry.Before(least) {
		retry = least
	}
	t.retry = retry
}

// next returns when the next cycle begins and what for.
func (t *timetable) next() (time.Time, string) {
	if !t.retry.IsZero() && (t.start.IsZero() || t.retry.Before(t.start)) {
		return t.retry, "retry"
	}
	return t.start, "schedule"
}

// pause returns how long it is until the next cycle begins.
func (t *timetable) pause(now time.Time) time.Duration {
	start, _ := t.next()
	if start.IsZero() {
		return glance
	}
	return start.Sub(now)
}

const (
	lookAhead = 370 * 24 * time.Hour // a year, with both of its clock changes
	mostSlots = 100_000              // two months of a slot a minute
)

// Freshness returns how long after the end of a cycle the next one has ended
// at the latest, in the year after from: the longest time between two scheduled
// starts, the jitter, and the limit of a cycle. Where there is no limit, a cycle
// is granted the longest time between starts. 0 means that nothing can be said.
func (o Options) Freshness(from time.Time) time.Duration {
	s := schedule{o.Schedule, o.Location}
	var longest time.Duration
	slot := s.after(from)
	for range mostSlots {
		next := s.after(slot)
		if next.IsZero() || slot.IsZero() {
			break
		}
		longest = max(longest, next.Sub(slot))
		if slot = next; slot.Sub(from) > lookAhead {
			break
		}
	}
	if longest == 0 {
		return 0
	}
	if o.Limit > 0 {
		return longest + o.Jitter + o.Limit
	}
	return 2*longest + o.Jitter
}
