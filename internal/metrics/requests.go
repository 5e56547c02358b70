package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// requests is what the upstream API said of its rate limit, once it has.
type requests struct {
	mu               sync.Mutex
	limit, remaining int
	reset            time.Time
}

var (
	requestsLimit = prometheus.NewDesc(
		prometheus.BuildFQName(namespace, "api", "requests_limit"),
		"Requests that the upstream API allows in an hour.", nil, nil,
	)
	requestsRemaining = prometheus.NewDesc(
		prometheus.BuildFQName(namespace, "api", "requests_remaining"),
		"Requests that are left of them.", nil, nil,
	)
	requestsReset = prometheus.NewDesc(
		prometheus.BuildFQName(namespace, "api", "requests_reset_timestamp_seconds"),
		"When all of them are there again.", nil, nil,
	)
)

// Rate notes what the upstream API last said of its rate limit. A limit of 0
// means that it has not said anything.
func (m *Metrics) Rate(limit, remaining int, reset time.Time) {
	if limit <= 0 {
		return
	}
	m.requests.mu.Lock()
	defer m.requests.mu.Unlock()
	m.requests.limit, m.requests.remaining, m.requests.reset = limit, remaining, reset
}

// Describe implements prometheus.Collector.
func (r *requests) Describe(ch chan<- *prometheus.Desc) {
	ch <- requestsLimit
	ch <- requestsRemaining
	ch <- requestsReset
}

// Collect implements prometheus.Collector.
func (r *requests) Collect(ch chan<- prometheus.Metric) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limit == 0 {
		return
	}
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	gauge(requestsLimit, float64(r.limit))
	gauge(requestsRemaining, float64(r.remaining))
	gauge(requestsReset, float64(r.reset.Unix()))
}
