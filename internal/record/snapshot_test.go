package record

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSnapshot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "factory.db")
	if _, err := Snapshot(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Snapshot of nothing = %v, want fs.ErrNotExist", err)
	}
	s, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Record([]Publication{publication("a", "r:1", 1)}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		snapshot, err := Snapshot(file)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := snapshot.Publications(); err != nil || len(got) != 1 {
			t.Errorf("Publications of the snapshot = %v, %v, want one", got, err)
		}
		if err := snapshot.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Record([]Publication{publication("a", "r:1", 2)}); err != nil {
			t.Errorf("the file itself after a snapshot: %v", err)
		}
		if left, err := filepath.Glob(filepath.Dir(snapshot.file)); err != nil || len(left) != 0 {
			t.Errorf("the copy is left behind: %v, %v", left, err)
		}
	}
}

// Reading the state never keeps a factory from starting: no lock is taken, and
// none is waited for.
func TestSnapshotTakesNoLock(t *testing.T) {
	file := filepath.Join(t.TempDir(), "factory.db")
	if err := reopen(t, file).Close(); err != nil {
		t.Fatal(err)
	}
	snapshot, err := Snapshot(file)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	started := reopen(t, file) // beside a snapshot that is open
	if err := started.Close(); err != nil {
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
	beside, err := Snapshot(file)
	if err != nil {
		t.Fatalf("Snapshot of a locked file: %v", err)
	}
	beside.Close()
}

func TestSnapshotOfDamage(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	file := filepath.Join(t.TempDir(), "factory.db")
	if err := os.WriteFile(file, []byte("no state"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Snapshot(file)
	var corrupt *UnusableError
	if !errors.As(err, &corrupt) || corrupt.File != file {
		t.Errorf("Snapshot: %v, want *UnusableError of %s", err, file)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the copy is left behind: %v, %v", left, err)
	}
}
