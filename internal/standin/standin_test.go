package standin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// testFixture is the fixture that tests of this module share.
func testFixture(t *testing.T) *Fixture {
	t.Helper()
	f, err := Prepare(t.Context(), Options{Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func testServer(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := testFixture(t).Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestMain is, when asked so by its environment, a process that prepares a fixture.
func TestMain(m *testing.M) {
	if dir := os.Getenv("STANDIN_TEST_PREPARE"); dir != "" {
		if _, err := Prepare(context.Background(), Options{CacheDir: dir, Log: os.Stdout}); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestPrepare goes through the life of a cache folder:
// a process is killed at its work, one gives up, two at a time want the same.
func TestPrepare(t *testing.T) {
	dir := t.TempDir()
	t.Cleanup(func() { removeAll(dir) })
	killInTheMiddle(t, dir)
	if left := list(t, dir, unfinished+"*"); len(left) != 1 {
		t.Fatalf("the killed process left %v, want one folder", left)
	}

	ctx, cancel := context.WithCancel(t.Context())
	_, err := Prepare(ctx, Options{CacheDir: dir, Log: onLine("commits", cancel)})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled Prepare: error %v, want %v", err, context.Canceled)
	}
	if left := append(list(t, dir, unfinished+"*"), list(t, dir, "fixture-*")...); len(left) != 0 {
		t.Fatalf("after a cancelled Prepare there is %v", left)
	}

	var fixtures [2]*Fixture
	var logs [2]bytes.Buffer
	var wg sync.WaitGroup
	for i := range fixtures {
		wg.Go(func() {
			f, err := Prepare(t.Context(), Options{CacheDir: dir, Log: &logs[i]})
			if err != nil {
				t.Error(err)
			}
			fixtures[i] = f
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	if fixtures[0].dir != fixtures[1].dir {
		t.Errorf("two at a time got %s and %s", fixtures[0].dir, fixtures[1].dir)
	}
	if n := strings.Count(logs[0].String()+logs[1].String(), "making the upstream"); n != 1 {
		t.Errorf("it was made %d times:\n%s%s", n, &logs[0], &logs[1])
	}
	if left := list(t, dir, unfinished+"*"); len(left) != 0 {
		t.Errorf("there is still %v", left)
	}

	var said bytes.Buffer
	if _, err := Prepare(t.Context(), Options{CacheDir: dir, Log: &said}); err != nil {
		t.Fatal(err)
	}
	if said.Len() > 0 {
		t.Errorf("what is there was made again:\n%s", &said)
	}
}

// killInTheMiddle runs a process that prepares a fixture, and kills it when it builds.
func killInTheMiddle(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "STANDIN_TEST_PREPARE="+dir)
	cmd.Stdout = onLine("commits", func() { cmd.Process.Kill() })
	if err := cmd.Run(); err == nil {
		t.Fatal("the process was not killed")
	}
}

// onLine calls f once, when something with that text is written.
func onLine(text string, f func()) io.Writer { return &trigger{text: text, f: sync.OnceFunc(f)} }

type trigger struct {
	text string
	f    func()
}

func (w *trigger) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.text) {
		w.f()
	}
	return len(p), nil
}

func list(t *testing.T, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestChannels(t *testing.T) {
	f := testFixture(t)
	channels := f.Channels()
	seen := map[string][]string{}
	for _, name := range []string{"nixos-26.05", "nixos-unstable"} {
		commits := channels[name]
		if len(commits) < 4 {
			t.Errorf("%s has %d commits", name, len(commits))
		}
		for i, c := range commits {
			seen[c.Rev] = append(seen[c.Rev], name)
			if i > 0 && (len(c.Parents) != 1 || c.Parents[0] != commits[i-1].Rev) {
				t.Errorf("%s: the parents of %s are %v", name, c.Change, c.Parents)
			}
			if !fullRev.MatchString(c.Rev) || !fullRev.MatchString(c.Tree) {
				t.Errorf("%s: %s has revision %q and tree %q", name, c.Change, c.Rev, c.Tree)
			}
		}
	}
	shared := 0
	for _, names := range seen {
		if len(names) == 2 {
			shared++
		}
	}
	if shared != 1 {
		t.Errorf("the channels share %d commits, want 1", shared)
	}
}

// TestChanges says what each change moves.
func TestChanges(t *testing.T) {
	f := testFixture(t)
	moved := func(from, to, system string) []string {
		before, after := f.Outputs(f.Commit(from).Rev, system), f.Outputs(f.Commit(to).Rev, system)
		var names []string
		for name, paths := range after {
			if strings.Join(before[name], " ") != strings.Join(paths, " ") {
				names = append(names, name)
			}
		}
		return names
	}
	for _, system := range Systems {
		for _, c := range []struct {
			from, to string
			min, max int
		}{
			{"old", "shared", 2, 2},
			{"shared", "release-doc", 0, 0},
			{"release-doc", "release-leaf", 1, 1},
			{"release-leaf", "release-deep", 8, 30},
			{"shared", "next", 1, 1},
			{"next", "next-doc", 0, 0},
			{"next-doc", "next-deep", 8, 30},
		} {
			if names := moved(c.from, c.to, system); len(names) < c.min || len(names) > c.max {
				t.Errorf("%s: from %s to %s these move: %v, want %d to %d", system, c.from, c.to, names, c.min, c.max)
			}
		}
		if p := f.Outputs(f.Commit("old").Rev, system)["attic-client"]; p != nil {
			t.Errorf("%s: the old commit has %v", system, p)
		}
		if p := f.Outputs(f.Commit("shared").Rev, system)["attic-client"]; len(p) != 1 {
			t.Errorf("%s: the shared commit has attic-client %v, want one output", system, p)
		}
	}
}

func TestLockGivesUp(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), name, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := lock(ctx, name, onLine("waiting", cancel)); !errors.Is(err, context.Canceled) {
		t.Errorf("lock that is held: error %v, want %v", err, context.Canceled)
	}
	unlock()
	unlock, err = lock(t.Context(), name, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestSweepKeepsWhatIsUsed(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"fixture-used", "fixture-unused", "fixture-broken", unfinished + "1/read-only"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"fixture-used", "fixture-unused"} {
		if err := os.WriteFile(filepath.Join(dir, name, documentName), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * keepUnused)
	if err := errors.Join(
		os.Chtimes(filepath.Join(dir, "fixture-unused", documentName), old, old),
		os.Chmod(filepath.Join(dir, unfinished+"1/read-only"), 0o555),
	); err != nil {
		t.Fatal(err)
	}
	sweep(dir)
	if left := list(t, dir, "*"); len(left) != 1 || filepath.Base(left[0]) != "fixture-used" {
		t.Errorf("left: %v, want fixture-used", left)
	}
}
