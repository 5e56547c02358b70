// Package metrics turns what the factory does into what monitoring asks for:
// numbers for Prometheus; and serves them, and the answers to probes, over HTTP.
//
// Numbers are kept per channel and image and not per commit, so that there are as many
// after years as on the first day. A channel that is no longer followed leaves
// none behind.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Result is how a cycle or a build ended.
type Result string

// The results there are.
const (
	Done      Result = "done"
	Failed    Result = "failed"
	Abandoned Result = "abandoned" // for a stop or a limit of time
)

var results = []Result{Done, Failed, Abandoned}

// Options of Metrics. The zero value counts no bytes.
type Options struct {
	Fetched func() int64     // bytes fetched since the start of the program
	Pushed  func() int64     // bytes pushed since then
	Now     func() time.Time // nil: time.Now
	Ready   func() error     // why the daemon does not do its work; nil: nobody asks
	Build   Build
}

// Build says which factory this is.
type Build struct{ Version, Revision, Go string }

// Metrics are the numbers of one program. They may be used by many goroutines.
type Metrics struct {
	registry *prometheus.Registry
	channels *channels
	requests *requests

	heads         *prometheus.CounterVec // by channel
	failures      *prometheus.CounterVec // by channel and image
	failing       *prometheus.GaugeVec   // by channel and image
	gone          *prometheus.GaugeVec   // by channel
	lag           *prometheus.HistogramVec
	publishedAt   *prometheus.GaugeVec
	builds        *prometheus.CounterVec   // by channel, image and result
	buildDuration *prometheus.HistogramVec // by result
	layers        *prometheus.CounterVec   // by origin
	cycles        *prometheus.CounterVec   // by result
	cycleDuration prometheus.Histogram
}

const namespace = "factory"

// Upper bounds in seconds. What a build or a cycle takes goes from a second, when
// everything is found, to hours, when tools have to be compiled; a lag from the
// minutes of a poll to the days of an outage.
var (
	durations = []float64{1, 5, 15, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200, 14400, 28800}
	lags      = []float64{60, 300, 600, 1200, 1800, 3600, 5400, 7200, 14400, 28800, 57600, 86400, 172800, 345600, 691200}
)

// New makes metrics in a registry of their own, with those of the Go runtime and
// of the process.
func New(o Options) *Metrics {
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		channels: newChannels(o.Now),
		requests: &requests{},

		heads:         counters("head_changes_total", "Commits that a channel moved to while it was followed.", "channel"),
		failures:      counters("failures_total", "Failed attempts of an image, at whatever step.", "channel", "image"),
		failing:       gauges("channel_failures", "Attempts that failed in a row, at the head of the channel or at a commit that is filled in; 0 when it is well.", "channel", "image"),
		gone:          gauges("channel_gone", "1 while upstream has no branch of the channel any more, else 0.", "channel"),
		lag:           histograms("publication_lag_seconds", "Time from a channel's move to a commit until its image was published.", lags, "channel", "image"),
		publishedAt:   gauges("channel_published_timestamp_seconds", "When the image was last published.", "channel", "image"),
		builds:        counters("builds_total", "Builds of images, by how they ended.", "channel", "image", "result"),
		buildDuration: histograms("build_duration_seconds", "Time from the download of the source to the last tag.", durations, "result"),
		layers:        counters("layers_total", "Layers of published images, made or found in a registry and reused.", "origin"),
		cycles:        counters("cycles_total", "Cycles through all channels, by how they ended.", "result"),
		cycleDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "cycle_duration_seconds", Help: "Time that a cycle took.", Buckets: durations,
		}),
	}
	m.registry.MustRegister(
		m.channels, m.requests, m.heads, m.failures, m.failing, m.gone, m.lag, m.publishedAt,
		m.builds, m.buildDuration, m.layers, m.cycles, m.cycleDuration,
		collectors.NewGoCollector(), collectors.NewBuildInfoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.gauge("build_info", "Which factory this is.", prometheus.Labels{"version": o.Build.Version, "revision": o.Build.Revision, "go": o.Build.Go},
		func() float64 { return 1 })
	if o.Ready != nil {
		m.gauge("ready", "1 while the daemon does its work, as /readyz has it; 0 before its first successful cycle, and while no channel can be asked.", nil,
			func() float64 {
				if o.Ready() != nil {
					return 0
				}
				return 1
			})
	}
	m.count("fetched_bytes_total", "Bytes that came from upstream and from binary caches.", o.Fetched)
	m.count("pushed_bytes_total", "Bytes that were sent to registries.", o.Pushed)
	for _, r := range results {
		m.cycles.WithLabelValues(string(r))
		m.buildDuration.WithLabelValues(string(r))
	}
	m.layers.WithLabelValues("made")
	m.layers.WithLabelValues("reused")
	return m
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
}

// gauge makes a gauge of what is asked for when somebody looks.
func (m *Metrics) gauge(name, help string, labels prometheus.Labels, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help, ConstLabels: labels}, read))
}

// count makes a counter of what somebody else counts.
func (m *Metrics) count(name, help string, read func() int64) {
	if read == nil {
		return
	}
	m.registry.MustRegister(prometheus.NewCounterFunc(
		prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help},
		func() float64 { return float64(read()) },
	))
}

// Handler serves the numbers in Prometheus' formats.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 8})
}

// Cycle notes the end of a cycle.
func (m *Metrics) Cycle(result Result, took time.Duration) {
	m.cycles.WithLabelValues(string(result)).Inc()
	m.cycleDuration.Observe(took.Seconds())
}

// Built notes the end of a build. Layers are counted of those that are done.
func (m *Metrics) Built(of Image, result Result, took time.Duration, layers, reused int) {
	m.with(of, func(image Image, _ *state) {
		m.builds.WithLabelValues(append(image.labels(), string(result))...).Inc()
	})
	m.buildDuration.WithLabelValues(string(result)).Observe(took.Seconds())
	if result == Done {
		m.layers.WithLabelValues("made").Add(float64(max(layers-reused, 0)))
		m.layers.WithLabelValues("reused").Add(float64(max(reused, 0)))
	}
}
