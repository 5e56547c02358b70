package cycle_test

import (
	"testing"

	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// noted holds what is on record of the only publication against what a page needs.
func (w *world) noted() {
	w.t.Helper()
	f := w.open()
	defer f.Store.Close()
	events, err := f.Store.History(record.Subject{Channel: release}, 0)
	if err != nil || len(events) != 1 {
		w.t.Fatalf("History = %+v, %v, want one event", events, err)
	}
	if e := events[0]; e.Since.IsZero() || e.Since.After(e.Time) || e.Moved.Fetched == 0 || e.Moved.Pushed == 0 {
		w.t.Errorf("published at %s, the channel moved at %s, bytes moved: %+v", e.Time, e.Since, e.Moved)
	}
	c, err := f.Store.Contents(events[0].Digest)
	if err != nil || c == nil {
		w.t.Fatalf("Contents = %v, %v", c, err)
	}
	if c.NarHash.IsZero() || c.Date.IsZero() || len(c.Systems) != 2 {
		w.t.Errorf("Contents = %+v, want a hash, a date and two systems", c)
	}
	for _, s := range c.Systems {
		if s.Size == 0 || s.Layers == 0 || len(s.Tools) == 0 || s.Tools[0].Name == "" || s.Tools[0].Version == "" {
			w.t.Errorf("%s: %+v", s.System, s)
		}
	}
}

func TestNotesContents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease, systems: "x86_64-linux, aarch64-linux", publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}})
	w.expect(release + ": build (new commit)")
	w.noted()
}

// What machines have moved that made parts is counted with what the join moves, and
// the join knows when the channel moved from the cycle that planned it.
func TestJoinNotesContents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease, systems: "x86_64-linux, aarch64-linux", publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org"}})
	f := w.open()
	_, err := f.Plan(t.Context(), cycle.Options{})
	f.Store.Close()
	if err != nil {
		t.Fatal(err)
	}
	parts := []cycle.Part{w.part("x86_64-linux"), w.part("aarch64-linux")}
	result := w.join(parts)
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	if digest, err := result.Index.Digest(); err != nil || digest != result.Published[0].Digest {
		t.Errorf("what was published is said to be %s, %v, want %s", digest, err, result.Published[0].Digest)
	}
	w.noted()
	f = w.open()
	defer f.Store.Close()
	events, err := f.Store.History(record.Subject{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, least := events[0].Moved.Fetched, parts[0].Moved.Fetched+parts[1].Moved.Fetched; got < least || least == 0 {
		t.Errorf("%d bytes were fetched, want at least the %d of the parts", got, least)
	}
}
