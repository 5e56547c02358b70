package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

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
	dir := t.TempDir()
	image, err := filepath.Abs("../../images/base")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "channels.yaml")
	text := fmt.Sprintf("upstream: { api: %q, archive: %q }\nsubstituters: [ { url: %q, keys: [ %q ] } ]\nimage: %q\nsystems: [ aarch64-linux ]\nschedule: '@every 1s'\nchannels: [ { name: nixos-26.05, tags: [ latest ] } ]\n",
		upstream.API(), upstream.Archive(), upstream.Cache(), upstream.PublicKey(), image)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var log shared
	ended := make(chan int, 1)
	command := []string{"--config", file, "--cache-dir", filepath.Join(dir, "work")}
	go func() { ended <- run(ctx, append(command, "run"), &log, &log) }()

	repo := registry.Layout(filepath.Join(dir, "registry"), "nixpkgs-nixos-26.05")
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
