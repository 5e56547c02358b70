package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/nixpkgs-factory/factory/internal/git/gittest"
)

// clock is one that is moved by hand.
type clock struct{ time.Time }

func newClock() *clock { return &clock{time.Date(2026, 11, 20, 16, 50, 0, 0, time.UTC)} }

func (c *clock) now() time.Time          { return c.Time }
func (c *clock) advance(d time.Duration) { c.Time = c.Add(d) }

// scrape gets the metrics as Prometheus does.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("/metrics: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// values returns the lines whose name begins with one of the prefixes.
func values(t *testing.T, m *Metrics, prefixes ...string) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(scrape(t, m)) {
		for _, p := range prefixes {
			if strings.HasPrefix(line, p) {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	return lines
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func base(channel string) Image { return Image{channel, "base"} }

// full has a value for every metric.
func full(c *clock) *Metrics {
	m := New(Options{Fetched: func() int64 { return 5 << 30 }, Pushed: func() int64 { return 70 }, Now: c.now,
		Ready: func() error { return nil }, Build: Build{"v1.2.3", "0123", "go1.26"}})
	m.Images([]Image{base("nixos-26.05"), base("nixos-unstable")})
	m.Head("nixos-unstable", gittest.Rev("a"), c.Time.Add(-10*time.Minute))
	m.Built(base("nixos-unstable"), Done, 4*time.Minute, 90, 60)
	m.Published(base("nixos-unstable"), gittest.Rev("a"), c.Time)
	m.Head("nixos-26.05", gittest.Rev("b"), c.Time.Add(-time.Hour))
	m.Built(base("nixos-26.05"), Failed, time.Second, 7, 2)
	m.Failed(base("nixos-26.05"), 3)
	m.Cycle(Done, 5*time.Minute)
	m.Rate(5000, 4999, c.Time.Add(time.Hour))
	return m
}

func TestNames(t *testing.T) {
	text := scrape(t, full(newClock()))
	var own bytes.Buffer // the runtime's are not ours to name
	for line := range strings.Lines(text) {
		if strings.Contains(line, "factory_") {
			own.WriteString(line)
		}
	}
	problems, err := promlint.New(&own).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, name := range []string{
		"factory_api_requests_limit", "factory_api_requests_remaining", "factory_api_requests_reset_timestamp_seconds",
		"factory_build_duration_seconds", "factory_builds_total", "factory_channel_failures", "factory_channel_lag_seconds",
		"factory_channel_published_timestamp_seconds", "factory_cycle_duration_seconds", "factory_cycles_total",
		"factory_failures_total", "factory_fetched_bytes_total", "factory_head_changes_total", "factory_layers_total",
		"factory_publication_lag_seconds", "factory_pushed_bytes_total", "go_goroutines", "go_build_info", "process_start_time_seconds",
	} {
		if !strings.Contains(text, "# TYPE "+name+" ") || !strings.Contains(text, "# HELP "+name+" ") {
			t.Errorf("no metric %s", name)
		}
	}
}

func TestNumbers(t *testing.T) {
	m := full(newClock())
	want(t, values(t, m, "factory_builds_total"),
		`factory_builds_total{channel="nixos-26.05",image="base",result="abandoned"} 0`,
		`factory_builds_total{channel="nixos-26.05",image="base",result="done"} 0`,
		`factory_builds_total{channel="nixos-26.05",image="base",result="failed"} 1`,
		`factory_builds_total{channel="nixos-unstable",image="base",result="abandoned"} 0`,
		`factory_builds_total{channel="nixos-unstable",image="base",result="done"} 1`,
		`factory_builds_total{channel="nixos-unstable",image="base",result="failed"} 0`,
	)
	want(t, values(t, m, "factory_layers_total", "factory_cycles_total", "factory_fetched", "factory_pushed"),
		`factory_cycles_total{result="abandoned"} 0`,
		`factory_cycles_total{result="done"} 1`,
		`factory_cycles_total{result="failed"} 0`,
		`factory_fetched_bytes_total 5.36870912e+09`,
		`factory_layers_total{origin="made"} 30`,
		`factory_layers_total{origin="reused"} 60`,
		`factory_pushed_bytes_total 70`,
	)
	want(t, values(t, m, "factory_api"),
		`factory_api_requests_limit 5000`,
		`factory_api_requests_remaining 4999`,
		`factory_api_requests_reset_timestamp_seconds 1.795197e+09`,
	)
	want(t, values(t, m, "factory_cycle_duration_seconds_sum", "factory_build_duration_seconds_sum"),
		`factory_build_duration_seconds_sum{result="abandoned"} 0`,
		`factory_build_duration_seconds_sum{result="done"} 240`,
		`factory_build_duration_seconds_sum{result="failed"} 1`,
		`factory_cycle_duration_seconds_sum 300`,
	)
	want(t, values(t, m, "factory_failures_total", "factory_channel_failures", "factory_channel_published"),
		`factory_channel_failures{channel="nixos-26.05",image="base"} 3`,
		`factory_channel_failures{channel="nixos-unstable",image="base"} 0`,
		`factory_channel_published_timestamp_seconds{channel="nixos-unstable",image="base"} 1.7951934e+09`,
		`factory_failures_total{channel="nixos-26.05",image="base"} 1`,
		`factory_failures_total{channel="nixos-unstable",image="base"} 0`,
	)
}

func TestUnknownRate(t *testing.T) {
	m := New(Options{})
	m.Rate(0, 0, time.Time{})
	want(t, values(t, m, "factory_api", "factory_fetched"))
}

func TestLag(t *testing.T) {
	const lag, sum, count = "factory_channel_lag_seconds", "factory_publication_lag_seconds_sum", "factory_publication_lag_seconds_count"
	c := newClock()
	m := New(Options{Now: c.now})
	m.Images([]Image{base("x")})
	check := func(step string, lines ...string) {
		t.Helper()
		if diff := cmp.Diff(lines, values(t, m, lag, sum, count, "factory_head_changes")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step, diff)
		}
	}
	heads := func(n int) string { return fmt.Sprintf(`factory_head_changes_total{channel="x"} %d`, n) }
	now := func(seconds int) string {
		return fmt.Sprintf(`factory_channel_lag_seconds{channel="x",image="base"} %d`, seconds)
	}
	seen := func(n, seconds int) []string {
		return []string{
			fmt.Sprintf(`factory_publication_lag_seconds_sum{channel="x",image="base"} %d`, seconds),
			fmt.Sprintf(`factory_publication_lag_seconds_count{channel="x",image="base"} %d`, n),
		}
	}
	lines := func(changes int, rest ...string) []string { return append(rest, heads(changes)) }

	check("before the first head", append([]string{heads(0)}, seen(0, 0)...)...)

	m.Head("x", gittest.Rev("a"), c.Time)
	m.UpToDate(base("x"), gittest.Rev("a"))
	c.advance(time.Hour)
	check("up to date from the start", append(lines(0, now(0)), seen(0, 0)...)...)

	m.Head("x", gittest.Rev("b"), c.Time.Add(-10*time.Minute))
	c.advance(time.Minute)
	check("moved", append(lines(1, now(660)), seen(0, 0)...)...)

	m.Head("x", gittest.Rev("b"), c.Time)   // seen again, with another idea of when
	m.UpToDate(base("x"), gittest.Rev("a")) // of the head before
	m.Published(base("x"), gittest.Rev("a"), c.Time)
	check("news of another commit", append(lines(1, now(660)), seen(0, 0)...)...)

	c.advance(time.Minute)
	m.Published(base("x"), gittest.Rev("b"), c.Time)
	c.advance(time.Hour)
	check("published", append(lines(1, now(0)), seen(1, 720)...)...)

	m.Published(base("x"), gittest.Rev("b"), c.Time)
	check("published again", append(lines(1, now(0)), seen(1, 720)...)...)

	m.Head("x", gittest.Rev("c"), time.Time{})
	check("moved at a time that nobody knows", append([]string{heads(2)}, seen(1, 720)...)...)
	m.Published(base("x"), gittest.Rev("c"), c.Time)
	check("published", append(lines(2, now(0)), seen(1, 720)...)...)

	m.Head("x", gittest.Rev("d"), c.Time.Add(time.Hour)) // by a clock that is ahead
	check("moved in the future", append(lines(3, now(0)), seen(1, 720)...)...)
	m.Published(base("x"), gittest.Rev("d"), c.Time)
	check("published before that", append(lines(3, now(0)), seen(2, 720)...)...)
}

func TestFailuresEnd(t *testing.T) {
	const inARow, all = `factory_channel_failures{channel="x",image="base"} `, `factory_failures_total{channel="x",image="base"} `
	tests := []struct {
		name string
		then func(*Metrics)
		want string
	}{
		{"published", func(m *Metrics) { m.Published(base("x"), gittest.Rev("a"), time.Now()) }, "0"},
		{"up to date", func(m *Metrics) { m.UpToDate(base("x"), gittest.Rev("a")) }, "0"},
		{"another commit was published", func(m *Metrics) { m.Published(base("x"), gittest.Rev("b"), time.Now()) }, "2"},
		{"another commit is up to date", func(m *Metrics) { m.UpToDate(base("x"), gittest.Rev("b")) }, "2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := New(Options{})
			m.Images([]Image{base("x")})
			m.Failed(base("x"), 1) // before there is a head
			m.Head("x", gittest.Rev("a"), time.Now())
			m.Failed(base("x"), 2)
			want(t, values(t, m, inARow, all), inARow+"2", all+"2")
			tt.then(m)
			want(t, values(t, m, inARow, all), inARow+tt.want, all+"2")
		})
	}
}

// A reload that drops a channel must not leave a lag behind that grows for ever.
func TestChannelsGo(t *testing.T) {
	c := newClock()
	m := full(c)
	m.Published(base("nixos-26.05"), gittest.Rev("b"), c.Time)
	m.Images([]Image{base("nixos-unstable"), base("nixos-26.11")})
	text := scrape(t, m)
	if strings.Contains(text, "nixos-26.05") {
		t.Errorf("the channel that went is there:\n%s", text)
	}
	if !strings.Contains(text, `factory_failures_total{channel="nixos-26.11",image="base"} 0`) {
		t.Errorf("the new channel is not there:\n%s", text)
	}
	if !strings.Contains(text, `factory_builds_total{channel="nixos-unstable",image="base",result="done"} 1`) {
		t.Errorf("the channel that stayed began anew:\n%s", text)
	}

	// What a job of it still says is not kept.
	m.Head("nixos-26.05", gittest.Rev("c"), c.Time)
	m.Published(base("nixos-26.05"), gittest.Rev("c"), c.Time)
	m.UpToDate(base("nixos-26.05"), gittest.Rev("c"))
	m.Failed(base("nixos-26.05"), 1)
	m.Built(base("nixos-26.05"), Done, time.Second, 1, 0)
	if text := scrape(t, m); strings.Contains(text, "nixos-26.05") {
		t.Errorf("the channel that went is back:\n%s", text)
	}
}

func TestTwoInOneProgram(t *testing.T) {
	a, b := full(newClock()), New(Options{})
	if scrape(t, a) == "" || strings.Contains(scrape(t, b), "nixos") {
		t.Error("two Metrics share numbers")
	}
}

func TestAtTheSameTime(t *testing.T) {
	c := newClock()
	m := full(c)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 50 {
				name := []string{"nixos-26.05", "nixos-unstable"}[(i+j)%2]
				rev := gittest.Rev(fmt.Sprint(j))
				m.Head(name, rev, c.Time)
				m.Failed(base(name), j)
				m.Built(base(name), Done, time.Second, 3, 2)
				m.Published(base(name), rev, c.Time)
				m.Cycle(Abandoned, time.Second)
				m.Rate(60, j, c.Time)
				m.Images([]Image{base("nixos-26.05"), base("nixos-unstable")})
				if i == 0 && j%10 == 0 {
					scrape(t, m)
				}
			}
		})
	}
	group.Wait()
	want(t, values(t, m, `factory_cycles_total{result="abandoned"}`), `factory_cycles_total{result="abandoned"} 400`)
}

// Monitoring sees what /readyz says, and which factory it is.
func TestReadyAndBuild(t *testing.T) {
	var why error
	m := New(Options{Ready: func() error { return why }, Build: Build{"v1.2.3", "0123", "go1.26"}})
	want(t, values(t, m, "factory_ready", "factory_build_info"),
		`factory_build_info{go="go1.26",revision="0123",version="v1.2.3"} 1`, "factory_ready 1")
	why = errors.New("no route")
	want(t, values(t, m, "factory_ready"), "factory_ready 0")
}
