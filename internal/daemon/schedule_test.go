package daemon

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/robfig/cron/v3"
)

func TestStarts(t *testing.T) {
	tests := []struct {
		name, spec, zone, clock string
		hours                   int
		want                    []string // UTC
	}{
		{"hourly", "47 * * * *", "UTC", "2026-11-20 16:50", 3,
			[]string{"2026-11-20 16:50", "2026-11-20 17:47", "2026-11-20 18:47", "2026-11-20 19:47"}},
		{"on the minute of the schedule", "47 * * * *", "UTC", "2026-11-20 16:47", 2,
			[]string{"2026-11-20 16:47", "2026-11-20 17:47", "2026-11-20 18:47"}},
		{"every so often counts from the start", "@every 90m", "UTC", "2026-11-20 16:50", 4,
			[]string{"2026-11-20 16:50", "2026-11-20 18:20", "2026-11-20 19:50"}},
		{"zone", "0 9 * * *", "America/New_York", "2026-07-01 00:00", 48,
			[]string{"2026-07-01 00:00", "2026-07-01 13:00", "2026-07-02 13:00"}},
		{"zone of half an hour", "47 * * * *", "Asia/Kolkata", "2026-11-20 16:50", 2,
			[]string{"2026-11-20 16:50", "2026-11-20 17:17", "2026-11-20 18:17"}},
		{"hourly into summer time", "47 * * * *", "Europe/Berlin", "2026-03-28 23:50", 4,
			[]string{"2026-03-28 23:50", "2026-03-29 00:47", "2026-03-29 01:47", "2026-03-29 02:47", "2026-03-29 03:47"}},
		{"hourly out of summer time", "47 * * * *", "Europe/Berlin", "2026-10-24 23:50", 4,
			[]string{"2026-10-24 23:50", "2026-10-25 00:47", "2026-10-25 01:47", "2026-10-25 02:47", "2026-10-25 03:47"}},
		{"hourly where summer time is half an hour", "47 * * * *", "Australia/Lord_Howe", "2026-10-03 14:20", 3,
			[]string{"2026-10-03 14:20", "2026-10-03 15:17", "2026-10-03 15:47", "2026-10-03 16:47"}},
		{"daily over a change", "0 5 * * *", "Europe/Berlin", "2026-03-27 12:00", 72,
			[]string{"2026-03-27 12:00", "2026-03-28 04:00", "2026-03-29 03:00", "2026-03-30 03:00"}},
		{"the hour that is left out", "30 2 * * *", "Europe/Berlin", "2026-03-28 00:00", 72,
			[]string{"2026-03-28 00:00", "2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"}},
		{"the hour that comes twice", "30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", 48,
			[]string{"2026-10-24 12:00", "2026-10-25 00:30", "2026-10-25 01:30", "2026-10-26 01:30"}},
		{"a midnight that is left out", "@daily", "America/Sao_Paulo", "2018-11-03 00:00", 72,
			[]string{"2018-11-03 00:00", "2018-11-03 03:00", "2018-11-04 03:00", "2018-11-05 02:00"}},
		{"a time that never comes", "0 0 30 2 *", "UTC", "2026-01-01 00:00", 12,
			[]string{"2026-01-01 00:00"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, tt.spec, tt.clock)
				var err error
				if b.Location, err = time.LoadLocation(tt.zone); err != nil {
					t.Fatal(err)
				}
				b.run(time.Duration(tt.hours)*time.Hour + time.Second)
				b.want(tt.want...)
			})
		})
	}
}

// A time that no clock shows on the day is at the end of what the clock skips,
// and at no other moment; where nothing is skipped it is when the clock shows it.
func TestSkippedTimes(t *testing.T) {
	for _, tt := range []struct{ name, spec, zone, after, want string }{
		{"once a day, at the beginning of the gap", "0 2 * * *", "America/Los_Angeles", "2027-03-13T12:00:00Z", "2027-03-14T10:00:00Z"},
		{"once a day, at the end of the gap", "0 3 * * *", "America/Los_Angeles", "2027-03-13T12:00:00Z", "2027-03-14T10:00:00Z"},
		{"once a day, before the gap", "59 1 * * *", "America/Los_Angeles", "2027-03-13T12:00:00Z", "2027-03-14T09:59:00Z"},
		{"midnight", "@daily", "America/Santiago", "2027-09-04T12:00:00Z", "2027-09-05T04:00:00Z"},
		{"once a week", "0 2 * * 0", "Europe/Berlin", "2027-03-22T12:00:00Z", "2027-03-28T01:00:00Z"},
		{"once a week, on another day", "0 2 * * 1", "Europe/Berlin", "2027-03-23T12:00:00Z", "2027-03-29T00:00:00Z"},
		{"once a year", "30 2 28 3 *", "Europe/Berlin", "2026-06-01T00:00:00Z", "2027-03-28T01:00:00Z"},
		{"several in the gap are one", "*/10 2 * * *", "Europe/Berlin", "2027-03-28T00:55:00Z", "2027-03-28T01:00:00Z"},
		{"after the gap the next day is next", "0 2 * * *", "Europe/Berlin", "2027-03-28T01:00:00Z", "2027-03-29T00:00:00Z"},
		{"every other hour", "0 */2 * * *", "Europe/Berlin", "2027-03-28T00:10:00Z", "2027-03-28T01:00:00Z"},
		{"every hour", "15 * * * *", "Europe/Berlin", "2027-03-28T00:20:00Z", "2027-03-28T01:15:00Z"},
		{"half an hour is skipped", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z"},
		{"a day is skipped", "0 12 * * *", "Pacific/Apia", "2011-12-30T02:00:00Z", "2011-12-30T10:00:00Z"},
		{"zone of the schedule's own", "CRON_TZ=Europe/Berlin 0 2 * * *", "America/New_York", "2027-03-27T12:00:00Z", "2027-03-28T01:00:00Z"},
		{"no summer time", "0 2 * * *", "Asia/Kolkata", "2027-03-27T22:00:00Z", "2027-03-28T20:30:00Z"},
		{"never", "0 0 30 2 *", "Europe/Berlin", "2027-03-27T22:00:00Z", "0001-01-01T00:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			zone, err := time.LoadLocation(tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			after, err := time.Parse(time.RFC3339, tt.after)
			if err != nil {
				t.Fatal(err)
			}
			if got := (schedule{parse(t, tt.spec), zone}).after(after).UTC().Format(time.RFC3339); got != tt.want {
				t.Errorf("%s in %s after %s: %s, want %s", tt.spec, tt.zone, tt.after, got, tt.want)
			}
		})
	}
}

func TestScheduleIsInUTCWithoutALocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "0 9 * * *", "2026-11-20 00:00")
		kolkata := time.FixedZone("", 19800)
		b.now = func() time.Time { return b.wall().In(kolkata) }
		b.run(10 * time.Hour)
		b.want("2026-11-20 00:00", "2026-11-20 09:00")
	})
}

func TestJitter(t *testing.T) {
	tests := []struct {
		name   string
		spec   string
		jitter time.Duration
		rand   []float64
		want   []string
	}{
		{"does not add up", "@every 1h", 20 * time.Minute, []float64{0.5},
			[]string{"2026-11-20 16:50", "2026-11-20 18:00", "2026-11-20 19:00", "2026-11-20 20:00", "2026-11-20 21:00"}},
		{"spreads scheduled starts", "47 * * * *", 10 * time.Minute, []float64{0.5, 0, 0.9},
			[]string{"2026-11-20 16:50", "2026-11-20 17:52", "2026-11-20 18:47", "2026-11-20 19:56", "2026-11-20 20:52"}},
		{"longer than between two starts", "47 * * * *", 3 * time.Hour, []float64{0.75, 0.1, 0},
			[]string{"2026-11-20 16:50", "2026-11-20 20:02", "2026-11-20 21:05"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, tt.spec, "2026-11-20 16:50")
				b.Jitter = tt.jitter
				i := 0
				b.Rand = func() float64 { i++; return tt.rand[(i-1)%len(tt.rand)] }
				b.run(4*time.Hour + 16*time.Minute)
				b.want(tt.want...)
			})
		})
	}
}

func TestRetry(t *testing.T) {
	tests := []struct {
		name  string
		retry time.Duration // after the first cycle's end; 0: none
		want  []string
	}{
		{"nothing failed", 0, []string{"2026-11-20 17:47", "2026-11-20 18:47"}},
		{"before the schedule", 10 * time.Minute, []string{"2026-11-20 17:00", "2026-11-20 17:47", "2026-11-20 18:47"}},
		{"after the schedule", 6 * time.Hour, []string{"2026-11-20 17:47", "2026-11-20 18:47"}},
		{"with the schedule", 57 * time.Minute, []string{"2026-11-20 17:47", "2026-11-20 18:47"}},
		{"long due", -time.Hour, []string{"2026-11-20 16:51", "2026-11-20 17:47", "2026-11-20 18:47"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, "47 * * * *", "2026-11-20 16:50")
				b.Jitter = 0
				b.body = func(_ context.Context, n int) (time.Time, error) {
					if n == 1 && tt.retry != 0 {
						return b.wall().Add(tt.retry), nil
					}
					return time.Time{}, nil
				}
				b.run(2 * time.Hour)
				b.want(append([]string{"2026-11-20 16:50"}, tt.want...)...)
			})
		})
	}
}

// fromThen is a schedule that has no time to come before some day.
type fromThen struct {
	cron.Schedule
	day time.Time
}

func (s fromThen) Next(t time.Time) time.Time {
	if t.Before(s.day) {
		return time.Time{}
	}
	return s.Schedule.Next(t)
}

func TestNoScheduledTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "47 * * * *", "2026-11-20 16:50")
		b.Schedule = fromThen{b.Schedule, b.wall().Add(3 * time.Hour)}
		b.body = func(_ context.Context, n int) (time.Time, error) {
			if n == 1 {
				return b.wall().Add(10 * time.Minute), nil
			}
			return time.Time{}, nil
		}
		b.run(5 * time.Hour)
		b.want("2026-11-20 16:50", "2026-11-20 17:00", "2026-11-20 20:47", "2026-11-20 21:47")
		b.wantLog("for=retry", "no next cycle")
	})
}

// What is always due, as a failure that nobody clears, must not spin.
func TestRetryForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "@daily", "2026-11-20 16:50")
		b.body = func(context.Context, int) (time.Time, error) { return time.Unix(1, 0), nil }
		b.run(time.Hour + time.Second)
		if len(b.starts) != 61 {
			t.Errorf("%d cycles in an hour, want one a minute", len(b.starts))
		}
	})
}

func TestClockIsSet(t *testing.T) {
	tests := []struct {
		name string
		spec string
		step time.Duration // ten minutes after the start
		want []string
	}{
		// A clock that was years ahead at the start of the machine is the case to
		// fear: the daemon would wait until then.
		{"back by years", "47 * * * *", -9 * 365 * 24 * time.Hour,
			[]string{"2026-11-20 16:50", "2017-11-22 17:47", "2017-11-22 18:47"}},
		{"back by years, every so often", "@every 1h", -9 * 365 * 24 * time.Hour,
			[]string{"2026-11-20 16:50", "2017-11-22 18:01", "2017-11-22 19:01"}},
		{"back by minutes", "47 * * * *", -8 * time.Minute,
			[]string{"2026-11-20 16:50", "2026-11-20 17:47", "2026-11-20 18:47"}},
		{"ahead", "47 * * * *", 90 * time.Minute,
			[]string{"2026-11-20 16:50", "2026-11-20 18:31", "2026-11-20 18:47", "2026-11-20 19:47"}},
		{"asleep for a week", "@every 1h", 7 * 24 * time.Hour,
			[]string{"2026-11-20 16:50", "2026-11-27 17:01", "2026-11-27 18:01", "2026-11-27 19:01"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, tt.spec, "2026-11-20 16:50")
				time.AfterFunc(10*time.Minute+time.Second, func() { b.offset.Add(int64(tt.step)) })
				b.run(2*time.Hour + 15*time.Minute)
				b.want(tt.want...)
			})
		})
	}
}

// A difference of two times with monotonic parts would not see the clock set.
func TestWallClock(t *testing.T) {
	d := daemon{Options: Options{now: time.Now}}
	if s := d.clock().String(); strings.Contains(s, "m=") {
		t.Errorf("clock = %s, with a monotonic part", s)
	}
}

func TestFreshness(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 11, 20, 16, 50, 0, 0, time.UTC)
	tests := []struct {
		name string
		o    Options
		want time.Duration
	}{
		{"hourly", Options{Schedule: parse(t, "47 * * * *")}, 2 * time.Hour},
		{"with jitter and limit", Options{Schedule: parse(t, "47 * * * *"), Jitter: 5 * time.Minute, Limit: 6 * time.Hour}, 7*time.Hour + 5*time.Minute},
		{"every", Options{Schedule: parse(t, "@every 90m"), Limit: time.Hour}, 150 * time.Minute},
		{"weekdays", Options{Schedule: parse(t, "*/5 9-17 * * 1-5"), Limit: time.Hour}, (6+48+9)*time.Hour + 5*time.Minute + time.Hour},
		{"a time that is left out on a day", Options{Schedule: parse(t, "30 2 * * *"), Location: berlin, Limit: time.Hour}, 25 * time.Hour},
		{"never", Options{Schedule: parse(t, "0 0 30 2 *")}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.o.Freshness(from); got != tt.want {
				t.Errorf("Freshness = %v, want %v", got, tt.want)
			}
		})
	}
}
