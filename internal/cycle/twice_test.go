package cycle_test

import (
	"path/filepath"
	"testing"
	"time"
)

// A second factory on the same state gets a clear error at once, does nothing,
// and does the first one no harm.
func TestTwoFactoriesOnOneState(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	reached, free := w.holds(aNAR)
	first := w.command(nil, "run", "--once")
	first.start(t)
	waitFor(t, "first NAR", reached)
	requests := len(w.upstream.Requests())
	second := w.command(nil, "run", "--once")
	second.start(t)
	if code := second.ends(t, 10*time.Second); code != 1 { // a hang would last as long as the first one
		t.Errorf("exit code %d, want 1", code)
	}
	contains(t, "stderr", second.stderr.String(), w.config.State, "another factory is using this state file")
	if second.stdout.Len() > 0 || len(w.upstream.Requests()) != requests {
		t.Errorf("the second one printed %q and asked upstream for %v", &second.stdout, w.upstream.Requests()[requests:])
	}
	free()
	if code := first.ends(t, time.Minute); code != 0 {
		t.Errorf("the first one: exit code %d\n%s", code, &first.stderr)
	}
	w.tidy()
}

// Factories that share a layout and the folder for unfinished work, each with
// a state of its own, disturb neither each other's builds nor the index.
func TestTwoFactoriesOnOneLayout(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	worlds := []*world{
		newWorld(t, settings{publish: []string{"oci:" + dir + "/registry"}, channels: onlyRelease}),
		newWorld(t, settings{publish: []string{"oci:" + dir + "/registry"}}),
		newWorld(t, settings{publish: []string{"oci:" + dir + "/registry"}, channels: "[ { name: nixos-unstable, tags: [ latest, newest ] } ]"}),
	}
	var started []*process
	var free []func()
	for _, w := range worlds {
		w.config.Cache = filepath.Join(dir, "work")
		// All are in the middle of a build at the same time.
		reached, letGo := w.holds(aNAR)
		free = append(free, letGo)
		p := w.command(nil, "run", "--once", "--cache-dir", w.config.Cache)
		p.start(t)
		waitFor(t, "first NAR", reached)
		started = append(started, p)
	}
	for _, letGo := range free {
		letGo()
	}
	for _, p := range started {
		if code := p.ends(t, time.Minute); code != 0 {
			t.Errorf("exit code %d\n%s", code, &p.stderr)
		}
	}
	w := worlds[0]
	for _, want := range []struct{ channel, tag, rev string }{
		{release, "latest", w.upstream.Head(release)},
		{unstable, "latest", w.upstream.Head(unstable)},
		{unstable, "newest", w.upstream.Head(unstable)},
	} {
		if got := w.tag(0, want.channel, want.tag); got == "" || got != w.tag(0, want.channel, want.rev) {
			t.Errorf("%s: %s is %q and %s is %q, want both the same", want.channel, want.tag, got, want.rev, w.tag(0, want.channel, want.rev))
		}
	}
	for _, w := range worlds {
		for _, r := range w.cycle() {
			if r.Err != nil || r.Reason != "up to date" {
				t.Errorf("%s: %+v, want it up to date", r.Channel, r)
			}
		}
		w.tidy()
	}
}
