package main

import (
	"fmt"
	"strings"
	"time"
)

// plural counts things: 1 channel, 2 channels, 2 repositories.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	if stem, ok := strings.CutSuffix(thing, "y"); ok && thing != "day" {
		return fmt.Sprintf("%d %sies", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

const day = 24 * time.Hour

// roughly is a duration as people say it.
func roughly(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return strings.Replace(d.Round(time.Second).String(), "m0s", "m", 1)
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return plural(int(d/day), "day")
}

// ago says how long something has been over, or how long it is off.
func ago(d time.Duration) string {
	off := d < 0
	d = d.Abs()
	var text string
	switch {
	case d < 5*time.Second:
		return "just now"
	case d < time.Minute:
		text = plural(int(d/time.Second), "second")
	case d < time.Hour:
		text = plural(int(d/time.Minute), "minute")
	case d < day:
		text = plural(int(d/time.Hour), "hour")
	default:
		text = plural(int(d/day), "day")
	}
	if off {
		return "in " + text
	}
	return text + " ago"
}

// since is ago, of a time.
func since(t time.Time) string { return ago(time.Since(t)) }
