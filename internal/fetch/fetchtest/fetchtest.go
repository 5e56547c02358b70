// Package fetchtest is servers that do not behave, for tests of everything that
// asks something outside.
package fetchtest

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/fetch"
)

// Kinds are the ways in which a server may keep its client waiting or busy.
var Kinds = []string{Silent, Deaf, HeaderDrips, BodyDrips, NoEnd, Circle, Reset}

// Kinds of bad behaviour.
const (
	Silent      = "reads and does not answer"
	Deaf        = "neither reads nor answers"
	HeaderDrips = "header drips"
	BodyDrips   = "body drips"
	NoEnd       = "body without end"
	Circle      = "redirects in a circle"
	Reset       = "hangs up in the middle"
)

// Limits are those of impatient clients, for servers on this machine.
func Limits() fetch.Limits {
	return fetch.Limits{Stall: 150 * time.Millisecond, Least: 4 << 10, Answer: 150 * time.Millisecond}
}

const (
	dripEvery = 5 * time.Millisecond
	manyBytes = 1 << 20
)

// Hostile returns a handler that behaves in one of the Kinds until its client
// has gone or the test has ended.
func Hostile(t testing.TB, kind string) http.HandlerFunc {
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	return func(w http.ResponseWriter, r *http.Request) {
		if kind == Circle {
			w.Header().Set("Location", r.URL.RequestURI())
			w.WriteHeader(http.StatusTemporaryRedirect)
			return
		}
		// The server would wait for handlers, and answer for them.
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if kind == Deaf {
			<-done
			return
		}
		go io.Copy(io.Discard, rw)
		behave(conn, kind, done)
	}
}

const header = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

func behave(conn net.Conn, kind string, done <-chan struct{}) {
	switch kind {
	case Silent:
		<-done
	case HeaderDrips:
		io.WriteString(conn, header+"X-Drip: ")
		drip(conn, done)
	case BodyDrips:
		io.WriteString(conn, header+"Content-Length: 1048576\r\n\r\n")
		drip(conn, done)
	case NoEnd:
		io.WriteString(conn, header+"\r\n")
		for spaces := bytes.Repeat([]byte(" "), manyBytes); ; {
			if _, err := conn.Write(spaces); err != nil {
				return
			}
		}
	case Reset:
		io.WriteString(conn, header+"Content-Length: 1048576\r\n\r\n"+strings.Repeat(" ", 1000))
		conn.(*net.TCPConn).SetLinger(0)
	}
}

func drip(conn net.Conn, done <-chan struct{}) {
	ticker := time.NewTicker(dripEvery)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			if _, err := conn.Write([]byte(" ")); err != nil {
				return
			}
		}
	}
}
