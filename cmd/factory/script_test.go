package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

func of(ts *testscript.TestScript) *script { return ts.Value("script").(*script) }

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE program [argument…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := err.(*exec.ExitError)
		if !ok {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

func moveHead(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	ts.Check(s.upstream.SetHead(args[0], s.fixture.Commit(args[1]).Rev))
}

func useUpRateLimit(ts *testscript.TestScript, _ bool, _ []string) {
	reset := time.Now().Add(40 * time.Minute)
	of(ts).upstream.SetRateLimit(0, reset)
	ts.Setenv("RESET", reset.UTC().Format("2006-01-02T15:04"))
}

func startRegistry(ts *testscript.TestScript, _ bool, args []string) {
	t, ok := of(ts).t.(testing.TB)
	if !ok {
		ts.Fatalf("this is not a test")
	}
	variable, options := args[0], registrytest.Options{}
	if len(args) > 1 {
		options.Htpasswd = "ann:$2b$05$abcdefghijklmnopqrstuur.ZxEKly2fYX6K.hrvYXsoEaKgtr95a"
	}
	ts.Setenv(variable, registrytest.Start(t, options))
}

func hold(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	s.held = make(chan struct{})
	done := make(chan struct{})
	var first, last sync.Once
	at := s.held
	remove := s.upstream.Handle(func(_ http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, args[0]) {
			return false
		}
		first.Do(func() { close(at) })
		select {
		case <-done:
		case <-r.Context().Done():
		}
		return false
	})
	s.release = func() { last.Do(func() { remove(); close(done) }) }
	ts.Defer(s.release)
}

func held(ts *testscript.TestScript, _ bool, _ []string) {
	select {
	case <-of(ts).held:
	case <-time.After(time.Minute):
		ts.Fatalf("nothing was held within a minute")
	}
}

func free(ts *testscript.TestScript, _ bool, _ []string) { of(ts).release() }

// hook starts a webhook that appends the events which it gets to a file.
func hook(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[1])
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err == nil {
			_, err = io.Copy(f, r.Body)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL)
}

// refuse has requests answered with 403 whose path begins so; without one, none.
func refuse(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	if s.allow != nil {
		s.allow()
	}
	if len(args) > 0 {
		s.allow = s.upstream.Handle(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, args[0]) {
				return false
			}
			w.WriteHeader(http.StatusForbidden)
			return true
		})
	}
}

func await(ts *testscript.TestScript, _ bool, args []string) {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(args[0])
		if err == nil {
			resp.Body.Close()
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("no answer: %v", err)
		}
	}
}

func countRequests(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	var seen []string
	for _, r := range of(ts).upstream.Requests() {
		if strings.HasPrefix(r.Path, args[1]) {
			seen = append(seen, r.Path)
		}
	}
	if len(seen) != want {
		ts.Fatalf("%d requests for %s, want %d: %v", len(seen), args[1], want, seen)
	}
}
