package metrics

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

// Routes serves /healthz, /readyz and /metrics. A probe is answered by 200, or by
// 503 with the reason that alive or ready returns.
func Routes(m *Metrics, alive, ready func() error) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	mux.Handle("GET /healthz", probe(alive))
	mux.Handle("GET /readyz", probe(ready))
	return mux
}

func probe(ask func() error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := ask(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, err.Error()+"\n")
			return
		}
		io.WriteString(w, "ok\n")
	})
}

// Bounds of the server. Its answers are small and whoever asks is near.
const (
	headerTime   = 5 * time.Second
	answerTime   = 30 * time.Second
	idleTime     = 2 * time.Minute
	shutdownTime = 3 * time.Second
	maxHeader    = 16 << 10
)

// Serve answers requests until ctx is done, then closes the listener and returns
// nil once the answers under way are given, at most a few seconds later.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       headerTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
	}
	down := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(down)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		if server.Shutdown(grace) != nil {
			server.Close() // somebody reads slowly
		}
	})
	err := server.Serve(l)
	if stop() { // the listener broke; nobody has asked for an end
		server.Close()
		return err
	}
	<-down
	return nil
}
