package page

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

const day = 24 * time.Hour

// span is a duration as people say it, by its two largest units at most, with spaces
// that do not break.
func span(d time.Duration) string { return strings.ReplaceAll(spaced(d), " ", "\u00a0") }

func spaced(d time.Duration) string {
	switch d = d.Round(time.Minute); {
	case d < time.Minute:
		return "under 1 min"
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < day:
		h, m := d/time.Hour, d%time.Hour/time.Minute
		if m == 0 {
			return fmt.Sprintf("%d h", h)
		}
		return fmt.Sprintf("%d h %d min", h, m)
	case d < 3*day:
		d = d.Round(time.Hour)
		if h := d % day / time.Hour; h > 0 {
			return fmt.Sprintf("%s %d h", count(int(d/day), "day"), h)
		}
	}
	return count(int(d.Round(day)/day), "day")
}

func count(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return humanize.Comma(int64(n)) + " " + of + "s"
}

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return count(n, "time")
}

// weight is a number of bytes in binary units.
func weight(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }
