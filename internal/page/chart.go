package page

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// days is how many a chart has, the last one today.
const days = int(Window / day)

// chart is a bar for each day. Its plane is days wide and 100 high, and is stretched
// to whatever room there is, so there is no text in it.
type chart struct {
	ID      string
	Title   string
	Summary string // what it shows, in words
	Top     string // what its height stands for
	Bars    []bar
	Fails   []bar // days on which something failed, in a lane of their own
	Legend  []key
	From    time.Time
	To      time.Time
}

// bar is a rectangle, in a tenth of a unit of the plane.
type bar struct {
	X, Y, Width, Height string
	Class               string
	Label               string
}

// key explains a class of bars.
type key struct{ Class, Text string }

// daily is what happened on one day.
type daily struct {
	at               time.Time
	lag              time.Duration
	waiting          time.Duration // for the image of the head, until now
	pushed, fetched  int64
	published, fails int
}

// daily sums up the events of each day.
func (p published) daily() []daily {
	list := make([]daily, days)
	today := p.now.Truncate(day)
	for i := range list {
		list[i].at = today.Add(-day * time.Duration(days-1-i))
	}
	for _, e := range p.Events {
		i := days - 1 - int(today.Sub(e.Time.UTC().Truncate(day))/day)
		if i < 0 || i >= days {
			continue
		}
		if e.Error != "" {
			list[i].fails++
			continue
		}
		list[i].published++
		list[i].pushed += e.Moved.Pushed
		list[i].fetched += e.Moved.Fetched
		if e.HasLag {
			list[i].lag = max(list[i].lag, e.Lag)
		}
	}
	if p.HasLag && p.State != Frozen && (p.Publication == nil || p.Head != nil && p.Publication.Rev != p.Head.Rev) {
		list[days-1].waiting = p.Lag
	}
	return list
}

// LagChart shows how long images were waited for. Its Bars are none where nothing
// is known.
func (p published) LagChart() chart {
	list := p.daily()
	c := newChart(p, "lag", "Lag", list)
	var most time.Duration
	for _, d := range list {
		most = max(most, d.lag, d.waiting)
	}
	for i, d := range list {
		if d.waiting > d.lag {
			c.Bars = append(c.Bars, column(i, 0, part(d.waiting, most), "waiting", date(d.at)+": waiting for "+span(d.waiting)))
		}
		if d.lag > 0 {
			c.Bars = append(c.Bars, column(i, 0, part(d.lag, most), "lag", date(d.at)+": "+span(d.lag)))
		}
	}
	c.Top = span(most)
	c.Summary = p.lagSummary()
	c.Legend = []key{{"lag", "the longest wait of the day, from the channel’s move to the published image"}}
	if list[days-1].waiting > 0 {
		c.Legend = append(c.Legend, key{"waiting", "still waiting"})
	}
	c.legendOfFails()
	return c
}

// BytesChart shows what publishing has moved over the network.
func (p published) BytesChart() chart {
	list := p.daily()
	c := newChart(p, "bytes", "Bytes moved", list)
	var most, pushed, fetched int64
	for _, d := range list {
		most = max(most, d.pushed+d.fetched)
		pushed += d.pushed
		fetched += d.fetched
	}
	for i, d := range list {
		low, high := part(d.pushed, most), part(d.fetched, most)
		if d.pushed > 0 {
			c.Bars = append(c.Bars, column(i, 0, low, "pushed", date(d.at)+": "+weight(d.pushed)+" to registries"))
		}
		if d.fetched > 0 {
			c.Bars = append(c.Bars, column(i, low, high, "fetched", date(d.at)+": "+weight(d.fetched)+" from upstream"))
		}
	}
	c.Top = weight(most)
	c.Summary = fmt.Sprintf("%s sent to registries and %s fetched from upstream and binary caches in %d days.", weight(pushed), weight(fetched), days)
	if most == 0 {
		c.Summary = fmt.Sprintf("Nothing is on record for the last %d days.", days)
	}
	c.Legend = []key{{"pushed", "sent to registries"}, {"fetched", "fetched from upstream and caches"}}
	return c
}

func newChart(p published, kind, title string, list []daily) chart {
	c := chart{ID: kind + "-" + strings.ReplaceAll(p.Channel+"-"+p.Name, ".", "-"), Title: title, From: list[0].at, To: list[days-1].at}
	if kind != "lag" {
		return c
	}
	for i, d := range list {
		if d.fails > 0 {
			c.Fails = append(c.Fails, bar{X: tenths(float64(i) + 0.15), Y: "104", Width: "0.7", Height: "6", Class: "fail", Label: date(d.at) + ": could not be published"})
		}
	}
	return c
}

func (c *chart) legendOfFails() {
	if len(c.Fails) > 0 {
		c.Legend = append(c.Legend, key{"fail", "a try failed"})
	}
}

func (p published) lagSummary() string {
	var lags []time.Duration
	fails := 0
	for _, e := range p.Events {
		if e.HasLag {
			lags = append(lags, e.Lag)
		}
		if e.Error != "" {
			fails++
		}
	}
	var text string
	if len(lags) == 0 {
		text = fmt.Sprintf("No new commit is on record for the last %d days.", days)
	} else {
		slices.Sort(lags)
		text = fmt.Sprintf("%s in %d days: half of them at most %s after the channel’s move, all within %s.",
			count(len(lags), "new commit"), days, span(lags[(len(lags)-1)/2]), span(lags[len(lags)-1]))
	}
	switch {
	case fails == 1:
		text += " One commit failed at first or still does."
	case fails > 1:
		text += fmt.Sprintf(" %d commits failed at first or still do.", fails)
	}
	return text
}

// part is a share of most, in a hundred. What is not nothing is to be seen.
func part[T ~int64](value, most T) float64 {
	if most <= 0 || value <= 0 {
		return 0
	}
	return max(100*float64(value)/float64(most), 2)
}

func column(i int, from, height float64, class, label string) bar {
	height = min(height, 100-from)
	return bar{tenths(float64(i) + 0.15), tenths(100 - from - height), "0.7", tenths(height), class, label}
}

func tenths(f float64) string { return strings.TrimSuffix(fmt.Sprintf("%.2f", f), ".00") }

func date(t time.Time) string { return t.UTC().Format("2 Jan 2006") }
