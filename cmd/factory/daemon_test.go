package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/standin"
)

// shared is what a running command writes.
type shared struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data.String()
}

// A daemon publishes a channel's head, and the next one when the channel moves;
// meanwhile its state can be looked into, and it stops when it is told to.
func TestDaemonFollowsAChannel(t *testing.T) {
	f, err := prepare()
	if err != nil {
		t.Fatal(err)
	}
	upstream, err := f.Start(context.Background(), standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	file := writeConfiguration(t, upstream, "schedule: '@every 1s'\nchannels: [ { name: nixos-26.05, tags: [ latest ] } ]\n")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var log shared
	ended := make(chan int, 1)
	command := []string{"--config", file, "--cache-dir", t.TempDir()}
	go func() { ended <- run(ctx, append(command, "run"), &log, &log) }()

	repo := registry.Layout(filepath.Join(filepath.Dir(file), "registry"), "nixpkgs-nixos-26.05")
	published := func(rev string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			latest, err := repo.Digest(t.Context(), "latest")
			if err != nil && !errors.Is(err, registry.ErrNotFound) {
				t.Fatal(err)
			}
			if digest, err := repo.Digest(t.Context(), rev); err == nil && digest == latest {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s was not published:\n%s", rev, log.String())
			}
		}
	}
	head := upstream.Head("nixos-26.05")
	published(head)
	next := f.Commit("release-leaf").Rev
	if err := upstream.SetHead("nixos-26.05", next); err != nil {
		t.Fatal(err)
	}
	published(next)

	var status, problems bytes.Buffer
	if code := run(t.Context(), append(command, "status", "--output", "json"), &status, &problems); code != exitOK || !strings.Contains(status.String(), next) {
		t.Errorf("status beside the daemon: exit code %d\n%s%s", code, &status, &problems)
	}
	stop()
	select {
	case code := <-ended:
		if code != exitOK {
			t.Errorf("told to stop: exit code %d\n%s", code, log.String())
		}
	case <-time.After(time.Minute):
		t.Fatalf("told to stop, it did not:\n%s", log.String())
	}
}

// A daemon none of whose channels can be asked is not ready. One that was asked,
// whatever became of its image, is enough.
func TestUnasked(t *testing.T) {
	down := errors.New("api: no route")
	frozen := cycle.Result{Channel: "a", Reason: plan.Frozen}
	asked := cycle.Result{Channel: "b", Rev: gittest.Rev("1"), Reason: plan.UpToDate}
	failed := cycle.Result{Channel: "c", Rev: gittest.Rev("2"), Reason: plan.NewCommit, Err: errors.New("closure: 404")}
	noHead := cycle.Result{Channel: "d", Err: down}
	noRegistry := cycle.Result{Channel: "e", Rev: gittest.Rev("3"), Err: errors.New("registry: 503")}
	for _, tt := range []struct {
		name    string
		results []cycle.Result
		want    error
	}{
		{"nothing to ask", nil, nil},
		{"frozen", []cycle.Result{frozen}, nil},
		{"asked", []cycle.Result{noHead, asked}, nil},
		{"asked, and failed then", []cycle.Result{failed, noHead}, nil},
		{"no head", []cycle.Result{frozen, noHead}, down},
		{"neither head nor registry", []cycle.Result{noHead, noRegistry}, down},
	} {
		if got := unasked(tt.results); got != tt.want {
			t.Errorf("%s: unasked = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A daemon says by /readyz that its upstream is gone, and comes back by itself.
func TestDaemonIsNotReadyWithoutUpstream(t *testing.T) {
	f, err := prepare()
	if err != nil {
		t.Fatal(err)
	}
	upstream, err := f.Start(context.Background(), standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	gone := upstream.Handle(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/cache/") {
			return false
		}
		http.Error(w, "gone", http.StatusForbidden)
		return true
	})
	file := writeConfiguration(t, upstream, "schedule: '@every 1s'\nchannels: [ { name: nixos-26.05 } ]\n")
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var log shared
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"--config", file, "--cache-dir", t.TempDir(), "run", "--listen", "127.0.0.1:" + port}, &log, &log)
	}()
	defer func() {
		stop()
		<-ended
	}()
	becomes := func(want string) {
		t.Helper()
		var answer string
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			resp, err := http.Get("http://127.0.0.1:" + port + "/readyz")
			if err != nil {
				continue
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if answer = string(body); strings.HasPrefix(answer, want) {
				return
			}
		}
		t.Fatalf("/readyz says %q, want %q\n%s", answer, want, log.String())
	}
	becomes("no channel could be asked in the last cycle: head: ")
	gone()
	becomes("ok")
}

// writeConfiguration writes a channels.yaml that follows the stand-in.
func writeConfiguration(t *testing.T, upstream *standin.Server, more string) string {
	t.Helper()
	image, err := filepath.Abs("../../images/base")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "channels.yaml")
	text := fmt.Sprintf("upstream: { api: %q, archive: %q }\nsubstituters: [ { url: %q, keys: [ %q ] } ]\nimages: [ { folder: %q } ]\nsystems: [ aarch64-linux ]\n%s",
		upstream.API(), upstream.Archive(), upstream.Cache(), upstream.PublicKey(), image, more)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
