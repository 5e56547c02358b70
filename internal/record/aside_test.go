package record

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/nixpkgs-factory/factory/internal/git/gittest"
	"github.com/nixpkgs-factory/factory/internal/heads"
)

func TestOpenAnew(t *testing.T) {
	sound := filled(t)
	overwritten := bytes.Clone(sound)
	copy(overwritten, make([]byte, 2*os.Getpagesize()))
	// ofSchema is a sound file of another version of the factory.
	ofSchema := func(schema int) []byte {
		s := openTemp(t)
		if err := s.update(func(tx *bbolt.Tx) error { return setSchema(tx, schema) }); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(s.file)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, data := range map[string][]byte{
		"older":       ofSchema(schema - 1),
		"newer":       ofSchema(schema + 1),
		"text":        []byte("no state\n"),
		"cut off":     sound[:len(sound)/2],
		"overwritten": overwritten,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "factory.db")
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			s, unusable, aside, err := OpenAnew(file)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if unusable == nil || filepath.Dir(aside) != filepath.Dir(file) {
				t.Errorf("unusable for %v, set aside as %q", unusable, aside)
			}
			if kept, err := os.ReadFile(aside); err != nil || !bytes.Equal(kept, data) {
				t.Errorf("%d bytes are kept, %v, want all %d", len(kept), err, len(data))
			}
			if all, err := s.Publications(); err != nil || len(all) > 0 {
				t.Errorf("the new state has %v, %v", all, err)
			}
		})
	}
}

// A value that cannot be read is found when the file is opened, not in the
// middle of a cycle.
func TestOpenFindsUnreadableValues(t *testing.T) {
	for _, name := range strings.Fields("etags heads publications history failures kept contents") {
		s := openTemp(t)
		err := s.update(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(name)).Put([]byte("k"), []byte(`{"v":1,"n":1,"value":[]}`))
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var corrupt *UnusableError
		if _, err := Open(s.file); !errors.As(err, &corrupt) {
			t.Errorf("%s: Open: %v, want *UnusableError", name, err)
		}
	}
}

func TestOpenAnewLeavesAlone(t *testing.T) {
	t.Run("sound", func(t *testing.T) {
		s := openTemp(t)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s, damaged, aside, err := OpenAnew(s.file)
		if err != nil || damaged != nil || aside != "" {
			t.Fatalf("OpenAnew = %v, %q, %v", damaged, aside, err)
		}
		s.Close()
	})
	t.Run("in use", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "factory.db")
		if err := os.WriteFile(file, []byte("no state"), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		var locked *LockedError
		if _, _, _, err := OpenAnew(file); !errors.As(err, &locked) {
			t.Errorf("OpenAnew: %v, want *LockedError", err)
		}
		if _, err := setAside(file); !errors.As(err, &locked) {
			t.Errorf("setAside: %v, want *LockedError", err)
		}
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	})
	t.Run("another program's", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "factory.db")
		writeFile(t, file, func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("users"))
			return err
		})
		if _, unusable, _, err := OpenAnew(file); err == nil || unusable != nil {
			t.Errorf("OpenAnew: %v, %v, want an error and the file as it was", unusable, err)
		}
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	})
}

func TestChecked(t *testing.T) {
	s := openTemp(t)
	p := publication("c", "r:1", 1)
	if err := s.Record([]Publication{p}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		digest v1.Hash
		want   bool
	}{{digest("1"), false}, {p.Digest, true}} {
		if err := s.Check(of("c"), "r:1", step.digest, epoch); err != nil {
			t.Fatal(err)
		}
		got, err := s.Publication(of("c"), "r:1")
		if err != nil || got.Checked.Equal(epoch) != step.want {
			t.Errorf("checked %s: on record since %v, %v, want it there: %t", step.digest, got.Checked, err, step.want)
		}
	}
	if err := s.Check(of("c"), "r:2", p.Digest, epoch); err != nil {
		t.Errorf("Check of what is not on record: %v", err)
	}
	if events, err := s.History(Subject{}, 0); err != nil || len(events) != 1 {
		t.Errorf("a check is an event: %v, %v", events, err)
	}
}

func TestKept(t *testing.T) {
	s := openTemp(t)
	if k, err := s.Kept("r:1"); err != nil || k != nil {
		t.Errorf("Kept = %v, %v, want nothing", k, err)
	}
	want := Kept{Image: "r:1", Digest: digest("d"), Recipe: "r", Time: epoch}
	if err := s.Keep(want); err != nil {
		t.Fatal(err)
	}
	if k, err := s.Kept("r:1"); err != nil || k == nil || *k != want {
		t.Errorf("Kept = %v, %v, want %v", k, err, want)
	}
}

func TestGone(t *testing.T) {
	s := openTemp(t)
	if since, err := s.SetGone("c", epoch); err != nil || !since.IsZero() {
		t.Errorf("SetGone of a channel that never was there = %v, %v", since, err)
	}
	head := heads.Head{Channel: "c", Commit: heads.Commit{Rev: rev("c"), Tree: gittest.TreeID("d"), Date: epoch}}
	if err := s.SetHead(head); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first time counts
		if since, err := s.SetGone("c", epoch); err != nil || !since.Equal(epoch) {
			t.Errorf("SetGone = %v, %v, want %v", since, err, epoch)
		}
	}
	if h, err := s.Head("c"); err != nil || h == nil || h.Rev != head.Rev {
		t.Errorf("Head = %v, %v, want it as it was", h, err)
	}
	if err := s.SetHead(head); err != nil {
		t.Fatal(err)
	}
	if since, err := s.Gone("c"); err != nil || !since.IsZero() {
		t.Errorf("Gone of a channel that is back = %v, %v", since, err)
	}
}
