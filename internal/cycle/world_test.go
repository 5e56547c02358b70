package cycle_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/binarycache"
	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/keep"
	"github.com/nixpkgs-factory/factory/internal/progress"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/sign"
	"github.com/nixpkgs-factory/factory/internal/standin"
	"github.com/nixpkgs-factory/factory/internal/workdir"
)

// The channels of the stand-in upstream.
const (
	release  = "nixos-26.05"
	unstable = "nixos-unstable"
)

// foreign is the system whose packages are small: what is the same for every
// system is tested with it.
const foreign = "aarch64-linux"

const imageFolder = "../../images/base"

var prepare = sync.OnceValues(func() (*standin.Fixture, error) {
	return standin.Prepare(context.Background(), standin.Options{Log: os.Stderr})
})

func fixture(t testing.TB) *standin.Fixture {
	t.Helper()
	f, err := prepare()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// settings are what a test's configuration has that others have not.
type settings struct {
	publish  []string // nil: an OCI layout
	systems  string   // "": foreign
	image    string   // "": the one of this repository
	images   string   // YAML of the list; "": that image alone
	channels string   // YAML of the list; "": both, the first with the tag latest
	caches   string   // YAML of further substituters, asked before the stand-in's
	dir      string   // "": a temporary folder
	nix      string   // "": path, for the one that the miniature nixpkgs names takes time to fetch
}

// world is an upstream, a configuration that follows it, and a place to publish
// to, all of one test's own.
type world struct {
	t        testing.TB
	fixture  *standin.Fixture
	upstream *standin.Server
	config   config.Config
	dir      string
	memory   string // file system in memory; "": there is none
	log      log
	wire     wire // to registries
	client   *registry.Client
	wrap     func(registry.Repository) registry.Repository // nil: repositories are as they are
	key      *sign.Key                                     // that images are signed by
	stall    time.Duration
	now      time.Time
	seen     int // requests to the upstream before mark
}

const (
	bothChannels = "[ { name: nixos-26.05, tags: [ latest ] }, { name: nixos-unstable } ]"
	bothLatest   = "[ { name: nixos-26.05, tags: [ latest ] }, { name: nixos-unstable, tags: [ latest ] } ]"
)

func newWorld(t testing.TB, s settings) *world {
	t.Helper()
	w := &world{t: t, fixture: fixture(t), dir: s.dir, now: time.Date(2026, time.July, 1, 12, 0, 0, 0, time.UTC)}
	if w.dir == "" {
		w.dir = t.TempDir()
	}
	w.memory = memory(t)
	var err error
	if w.upstream, err = w.fixture.Start(context.Background(), standin.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.upstream.Close)
	image, err := filepath.Abs(imageFolder)
	if err != nil {
		t.Fatal(err)
	}
	if s.image != "" {
		image = s.image
	}
	if s.publish == nil {
		s.publish = []string{"oci:registry"}
	}
	text := fmt.Sprintf("upstream: { repository: %s, api: %s, archive: %s }\n", standin.Repository, w.upstream.API(), w.upstream.Archive()) +
		"substituters:\n" + s.caches + fmt.Sprintf("- { url: %s, keys: [ %q ] }\n", w.upstream.Cache(), w.upstream.PublicKey()) +
		"publish:\n"
	for _, to := range s.publish {
		text += fmt.Sprintf("- to: %q\n", to)
	}
	text += fmt.Sprintf("images:%s\nsystems: [ %s ]\nchannels: %s\ncache: work\nnix: %s\n",
		or(s.images, fmt.Sprintf(" [ { folder: %q } ]", image)), or(s.systems, foreign), or(s.channels, bothChannels), or(s.nix, "path"))
	file := filepath.Join(w.dir, "channels.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if w.config, err = config.Parse(file, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return w
}

// memory is a folder of the test's own in memory, "" where there is none.
func memory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(workdir.SharedMemory, "cycle-test-*")
	if err != nil {
		return ""
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// open puts a factory together as a new process does. The caller closes its state.
func (w *world) open() *cycle.Factory {
	w.t.Helper()
	store, err := record.Open(w.config.State)
	if err != nil {
		w.t.Fatal(err)
	}
	moved := new(cycle.Moved)
	w.client = w.newClient(&moved.Pushed)
	client := fetch.New(fetch.Options{Progress: func(_ string, n int64) { moved.Fetched.Add(n) }, Delay: time.Millisecond, Limits: fetch.Limits{Stall: w.stall}})
	api, err := heads.NewClient(heads.Options{
		API:        w.config.Upstream.API,
		Repository: w.config.Upstream.Repository,
		ETags:      store,
		HTTP:       &http.Client{Transport: client.Transport()},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	var subs []binarycache.Substituter
	for _, s := range w.config.Substituters {
		subs = append(subs, binarycache.Substituter{URL: s.URL, Keys: s.Keys})
	}
	cache := binarycache.New(client, subs)
	return &cycle.Factory{
		Config:     w.config,
		Heads:      api,
		Fetch:      client,
		Cache:      cache,
		Store:      store,
		Repository: w.repository,
		Sign:       w.signer(),
		Builder:    "https://example.org/builder",
		Nix: &evaluator.Chooser{
			Choice:    evaluator.Choice(w.config.Nix),
			Keep:      keep.Folder{Dir: filepath.Join(w.config.Cache, "nix"), Source: cache, Most: evaluator.MaxClosure, Progress: progress.Silent{}},
			Installed: evaluator.Find,
			Log:       slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		},
		Dir:       w.config.Cache,
		Memory:    w.memory,
		ConfigDir: w.dir,
		Moved:     moved,
		Log:       slog.New(slog.NewTextHandler(&w.log, nil)),
		Progress:  progress.Silent{},
		Now:       func() time.Time { return w.now },
	}
}

func (w *world) signer() func() (*sign.Key, error) {
	if w.key == nil {
		return nil
	}
	return func() (*sign.Key, error) { return w.key, nil }
}

func (w *world) repository(dest config.Destination, under string) (registry.Repository, error) {
	repo, err := w.bare(dest, under)
	if err != nil || w.wrap == nil {
		return repo, err
	}
	return w.wrap(repo), nil
}

func (w *world) bare(dest config.Destination, under string) (registry.Repository, error) {
	if dest.Layout != "" {
		return registry.Layout(dest.Layout, dest.Repository(under)), nil
	}
	repo, err := dest.Remote(under)
	if err != nil {
		return nil, err
	}
	if w.client == nil {
		return w.newClient(nil).Repository(repo)
	}
	return w.client.Repository(repo)
}

func (w *world) newClient(sent *atomic.Int64) *registry.Client {
	return registry.NewClient(registry.Options{Sent: sent, Keychain: w.wire.keychain, Transport: &w.wire, Backoff: time.Millisecond, Push: true})
}

// cycle runs one cycle in a factory of its own, half a day after the last one.
func (w *world) cycle() []cycle.Result {
	w.t.Helper()
	return w.cycleIn(w.t.Context())
}

func (w *world) cycleIn(ctx context.Context) []cycle.Result {
	w.t.Helper()
	w.now = w.now.Add(12 * time.Hour)
	f := w.open()
	defer f.Store.Close()
	results, err := f.Cycle(ctx, cycle.Options{})
	if err != nil && ctx.Err() == nil {
		w.t.Fatal(err)
	}
	return results
}

// base is the base image of a channel.
func base(channel string) record.Subject {
	return record.Subject{Channel: channel, ImageName: "base"}
}

// rebuild asks for an image by hand.
func (w *world) rebuild(channel, rev string) cycle.Result {
	w.t.Helper()
	f := w.open()
	defer f.Store.Close()
	results, err := f.Rebuild(w.t.Context(), channel, rev)
	if err != nil {
		w.t.Fatal(err)
	}
	return results[0]
}

// outcome is a result in a form that tests compare: "channel: action (reason)",
// or "channel: failed", with the name of the image where there are several.
func (w *world) outcome(results []cycle.Result) []string {
	list := []string{}
	for _, r := range results {
		of := r.Channel
		if len(w.config.Images) > 1 {
			of += " " + r.ImageName
		}
		if r.Err != nil {
			list = append(list, of+": failed")
			continue
		}
		list = append(list, fmt.Sprintf("%s: %s (%s)", of, r.Action, r.Reason))
	}
	return list
}

// expect runs a cycle that has to end as described, and returns its results.
func (w *world) expect(want ...string) []cycle.Result {
	w.t.Helper()
	results := w.cycle()
	if diff := cmp.Diff(want, w.outcome(results)); diff != "" {
		w.t.Fatalf("the cycle ended otherwise (-want +got):\n%s\n%s", diff, w.log.text())
	}
	return results
}

// setHead moves a channel to the commit of a change.
func (w *world) setHead(channel, change string) (rev string) {
	w.t.Helper()
	rev = w.fixture.Commit(change).Rev
	if err := w.upstream.SetHead(channel, rev); err != nil {
		w.t.Fatal(err)
	}
	return rev
}
