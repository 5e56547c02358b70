package record

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
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
	if err := s.Record([]Publication{publication("a", "r:1", 1)}, nil, nil); err != nil {
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
		if err := s.Record([]Publication{publication("a", "r:1", 2)}, nil, nil); err != nil {
			t.Errorf("the file itself after a snapshot: %v", err)
		}
		if left, err := filepath.Glob(filepath.Dir(snapshot.file)); err != nil || len(left) != 0 {
			t.Errorf("the copy is left behind: %v, %v", left, err)
		}
	}
}
