package metrics

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nixpkgs-factory/factory/internal/git"
)

// channels is how far behind each channel is. The lag of one that waits for its
// image grows between two cycles, so it is worked out when it is asked for.
type channels struct {
	now func() time.Time

	mu    sync.Mutex
	known map[string]*state
}

// state is a channel's.
type state struct {
	rev       git.Rev   // its head; zero if not known
	since     time.Time // when it moved there; zero if not known
	published bool
}

var lagNow = prometheus.NewDesc(
	prometheus.BuildFQName(namespace, "", "channel_lag_seconds"),
	"For how long the channel's head has been waiting for its image; 0 when it is published.",
	[]string{"channel"}, nil,
)

func newChannels(now func() time.Time) *channels {
	return &channels{now: now, known: make(map[string]*state)}
}

// Describe implements prometheus.Collector.
func (c *channels) Describe(ch chan<- *prometheus.Desc) { ch <- lagNow }

// Collect implements prometheus.Collector.
func (c *channels) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.known)) {
		s := c.known[name]
		var lag time.Duration
		switch {
		case s.published:
		case s.since.IsZero():
			continue
		default:
			lag = max(c.now().Sub(s.since), 0)
		}
		ch <- prometheus.MustNewConstMetric(lagNow, prometheus.GaugeValue, lag.Seconds(), name)
	}
}

// Channels says which channels are followed. The numbers of others are dropped:
// nobody would ever bring them up to date.
func (m *Metrics) Channels(names []string) {
	c := m.channels
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.known)) {
		if !slices.Contains(names, name) {
			delete(c.known, name)
			m.drop(name)
		}
	}
	for _, name := range names {
		if c.known[name] == nil {
			c.known[name] = &state{}
			m.begin(name)
		}
	}
}

// begin makes a channel's numbers 0, so that the first change of one is seen as
// a change.
func (m *Metrics) begin(channel string) {
	m.heads.WithLabelValues(channel)
	m.failures.WithLabelValues(channel)
	m.failing.WithLabelValues(channel)
	m.gone.WithLabelValues(channel)
	m.lag.WithLabelValues(channel)
	for _, r := range results {
		m.builds.WithLabelValues(channel, string(r))
	}
}

func (m *Metrics) drop(channel string) {
	labels := prometheus.Labels{"channel": channel}
	m.heads.DeletePartialMatch(labels)
	m.failures.DeletePartialMatch(labels)
	m.failing.DeletePartialMatch(labels)
	m.gone.DeletePartialMatch(labels)
	m.lag.DeletePartialMatch(labels)
	m.publishedAt.DeletePartialMatch(labels)
	m.builds.DeletePartialMatch(labels)
}

// Head notes the commit that a channel points at, and since when: the time of
// the push where that is known, zero where nothing is. The first head after the
// start of the program is not counted as a change.
func (m *Metrics) Head(channel string, rev git.Rev, since time.Time) {
	m.with(channel, func(s *state) {
		if s.rev == rev {
			return
		}
		if !s.rev.IsZero() {
			m.heads.WithLabelValues(channel).Inc()
		}
		*s = state{rev: rev, since: since}
	})
}

// Gone notes whether upstream has the channel's branch no more.
func (m *Metrics) Gone(channel string, gone bool) {
	m.with(channel, func(*state) {
		m.gone.WithLabelValues(channel).Set(0)
		if gone {
			m.gone.WithLabelValues(channel).Set(1)
		}
	})
}

// Published notes the first image of a commit. It ends the lag if the commit is
// the channel's head; others, such as heads that were passed over, have none.
func (m *Metrics) Published(channel string, rev git.Rev, at time.Time) {
	m.with(channel, func(s *state) {
		m.publishedAt.WithLabelValues(channel).Set(float64(at.UnixMilli()) / 1000)
		if s.rev != rev {
			return
		}
		if !s.published && !s.since.IsZero() {
			m.lag.WithLabelValues(channel).Observe(max(at.Sub(s.since), 0).Seconds())
		}
		m.markPublished(channel, s)
	})
}

// UpToDate notes that a commit has its image, as it had before: it was there, or
// was made again by another recipe.
func (m *Metrics) UpToDate(channel string, rev git.Rev) {
	m.with(channel, func(s *state) {
		if s.rev == rev {
			m.markPublished(channel, s)
		}
	})
}

// Failed notes a try that failed, and how many did in a row.
func (m *Metrics) Failed(channel string, inARow int) {
	m.with(channel, func(*state) {
		m.failures.WithLabelValues(channel).Inc()
		m.failing.WithLabelValues(channel).Set(float64(inARow))
	})
}

// with gives access to the state of a channel that is followed.
func (m *Metrics) with(channel string, do func(*state)) {
	m.channels.mu.Lock()
	defer m.channels.mu.Unlock()
	if s := m.channels.known[channel]; s != nil {
		do(s)
	}
}

func (m *Metrics) markPublished(channel string, s *state) {
	s.published = true
	m.failing.WithLabelValues(channel).Set(0)
}
