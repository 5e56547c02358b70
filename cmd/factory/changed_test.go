package main

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// What changed costs the manifests and configurations of the image before, and of the
// one that was published nothing. Where nothing was published, nothing is asked.
func TestRequestsForChanges(t *testing.T) {
	registry := &registrytest.Odd{}
	image := registry.Serve(t) + "/org/nixpkgs-nixos-26.05:"
	store, err := record.Open(t.TempDir() + "/factory.db")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var log bytes.Buffer
	a := &app{stderr: &log, logFormat: logText, env: func(string) string { return "" }, configFile: t.TempDir() + "/none"}
	f := &cycle.Factory{Store: store, Log: slog.New(slog.NewTextHandler(&log, nil))}

	publish := func(tag string, systems int64, at time.Time) cycle.Result {
		t.Helper()
		index, err := random.Index(100, 2, systems)
		if err != nil {
			t.Fatal(err)
		}
		ref, err := name.NewTag(image + tag)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.WriteIndex(ref, index); err != nil {
			t.Fatal(err)
		}
		digest, err := index.Digest()
		if err != nil {
			t.Fatal(err)
		}
		subject := record.Subject{Channel: "nixos-26.05"}
		if err := store.Record([]record.Publication{{Subject: subject, Image: image + tag, Digest: digest, Time: at}}); err != nil {
			t.Fatal(err)
		}
		return cycle.Result{Channel: subject.Channel, Action: plan.Build, Published: []cycle.Published{{Image: image + tag, Digest: digest}}, Index: index}
	}
	asked := func() int {
		return len(registry.Asked(func(what string) bool { return what != "GET /v2/" }))
	}

	first := publish("a", 2, time.Unix(1, 0))
	before := asked()
	if d := a.changes(t.Context(), f, []cycle.Result{first}); d[0] != nil || asked() != before {
		t.Errorf("the first image: %+v, %d requests", d[0], asked()-before)
	}
	second := publish("b", 2, time.Unix(2, 0))
	before = asked()
	d := a.changes(t.Context(), f, []cycle.Result{second})
	if d[0] == nil || d[0].A.Digest != first.Published[0].Digest || d[0].B.Digest != second.Published[0].Digest {
		t.Fatalf("changes: %+v\n%s", d[0], &log)
	}
	if n := asked() - before; n != 5 {
		t.Errorf("%d requests, want one for the index, and for each of two systems a manifest and a configuration: %q", n, registry.Asked(func(string) bool { return true })[before:])
	}
	idle, before := second, asked()
	idle.Action, idle.Index = plan.None, nil
	if d := a.changes(t.Context(), f, []cycle.Result{idle}); d[0] != nil || asked() != before {
		t.Errorf("nothing to do: %+v, %d requests", d[0], asked()-before)
	}
}
