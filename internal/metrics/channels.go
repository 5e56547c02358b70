package metrics

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nixpkgs-factory/factory/internal/git"
)

// Image is one that is made of a channel. A name that is "" stands for all of them.
type Image struct{ Channel, Name string }

func (i Image) labels() []string { return []string{i.Channel, i.Name} }

// channels is how far behind the images of each channel are. The lag of one that is
// waited for grows between two cycles, so it is worked out when it is asked for.
type channels struct {
	now func() time.Time

	mu    sync.Mutex
	known map[Image]*state
}

// state is that of an image.
type state struct {
	rev       git.Rev   // the channel's head; zero if not known
	since     time.Time // when it moved there; zero if not known
	published bool
}

var lagNow = prometheus.NewDesc(
	prometheus.BuildFQName(namespace, "", "channel_lag_seconds"),
	"For how long the channel's head has been waiting for its image; 0 when it is published.",
	[]string{"channel", "image"}, nil,
)

func newChannels(now func() time.Time) *channels {
	return &channels{now: now, known: make(map[Image]*state)}
}

// Describe implements prometheus.Collector.
func (c *channels) Describe(ch chan<- *prometheus.Desc) { ch <- lagNow }

// Collect implements prometheus.Collector.
func (c *channels) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, image := range c.sorted() {
		s := c.known[image]
		var lag time.Duration
		switch {
		case s.published:
		case s.since.IsZero():
			continue
		default:
			lag = max(c.now().Sub(s.since), 0)
		}
		ch <- prometheus.MustNewConstMetric(lagNow, prometheus.GaugeValue, lag.Seconds(), image.labels()...)
	}
}

func (c *channels) sorted() []Image {
	return slices.SortedFunc(maps.Keys(c.known), func(a, b Image) int {
		return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Name, b.Name))
	})
}

// Images says which images are made of which channels. The numbers of others are
// dropped: nobody would ever bring them up to date.
func (m *Metrics) Images(images []Image) {
	c := m.channels
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, image := range c.sorted() {
		if !slices.Contains(images, image) {
			delete(c.known, image)
			m.drop(image, slices.ContainsFunc(images, func(i Image) bool { return i.Channel == image.Channel }))
		}
	}
	for _, image := range images {
		if c.known[image] == nil {
			c.known[image] = &state{}
			m.begin(image)
		}
	}
}

// begin makes an image's numbers 0, so that the first change of one is seen as
// a change.
func (m *Metrics) begin(image Image) {
	m.heads.WithLabelValues(image.Channel)
	m.gone.WithLabelValues(image.Channel)
	m.failures.WithLabelValues(image.labels()...)
	m.failing.WithLabelValues(image.labels()...)
	m.lag.WithLabelValues(image.labels()...)
	for _, r := range results {
		m.builds.WithLabelValues(append(image.labels(), string(r))...)
	}
}

// drop takes away the numbers of an image, and those of its channel unless that is
// followed still.
func (m *Metrics) drop(image Image, followed bool) {
	labels := prometheus.Labels{"channel": image.Channel}
	if !followed {
		m.heads.DeletePartialMatch(labels)
		m.gone.DeletePartialMatch(labels)
	}
	labels["image"] = image.Name
	m.failures.DeletePartialMatch(labels)
	m.failing.DeletePartialMatch(labels)
	m.lag.DeletePartialMatch(labels)
	m.publishedAt.DeletePartialMatch(labels)
	m.builds.DeletePartialMatch(labels)
}

// Head notes the commit that a channel points at, and since when: the time of
// the push where that is known, zero where nothing is. The first head after the
// start of the program is not counted as a change.
func (m *Metrics) Head(channel string, rev git.Rev, since time.Time) {
	moved := false
	m.with(Image{Channel: channel}, func(_ Image, s *state) {
		if s.rev == rev {
			return
		}
		moved = moved || !s.rev.IsZero()
		*s = state{rev: rev, since: since}
	})
	if moved {
		m.heads.WithLabelValues(channel).Inc()
	}
}

// Gone notes whether upstream has the channel's branch no more.
func (m *Metrics) Gone(channel string, gone bool) {
	m.with(Image{Channel: channel}, func(Image, *state) {
		m.gone.WithLabelValues(channel).Set(0)
		if gone {
			m.gone.WithLabelValues(channel).Set(1)
		}
	})
}

// Published notes the first image of a commit. It ends the lag if the commit is
// the channel's head; others, such as heads that were passed over, have none.
func (m *Metrics) Published(of Image, rev git.Rev, at time.Time) {
	m.with(of, func(image Image, s *state) {
		m.publishedAt.WithLabelValues(image.labels()...).Set(float64(at.UnixMilli()) / 1000)
		if s.rev != rev {
			return
		}
		if !s.published && !s.since.IsZero() {
			m.lag.WithLabelValues(image.labels()...).Observe(max(at.Sub(s.since), 0).Seconds())
		}
		m.markPublished(image, s)
	})
}

// UpToDate notes that a commit has its image, as it had before: it was there, or
// was made again by another recipe.
func (m *Metrics) UpToDate(of Image, rev git.Rev) {
	m.with(of, func(image Image, s *state) {
		if s.rev == rev {
			m.markPublished(image, s)
		}
	})
}

// Failed notes a try that failed, and how many did in a row.
func (m *Metrics) Failed(of Image, inARow int) {
	m.with(of, func(image Image, _ *state) {
		m.failures.WithLabelValues(image.labels()...).Inc()
		m.failing.WithLabelValues(image.labels()...).Set(float64(inARow))
	})
}

// with gives access to the states of images that are made.
func (m *Metrics) with(of Image, do func(Image, *state)) {
	m.channels.mu.Lock()
	defer m.channels.mu.Unlock()
	for image, s := range m.channels.known {
		if image == of || image.Channel == of.Channel && of.Name == "" {
			do(image, s)
		}
	}
}

func (m *Metrics) markPublished(image Image, s *state) {
	s.published = true
	m.failing.WithLabelValues(image.labels()...).Set(0)
}
