package record

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/nixpkgs-factory/factory/internal/git"
)

func openTemp(t *testing.T) *Store {
	t.Helper()
	return reopen(t, filepath.Join(t.TempDir(), "factory.db"))
}

func reopen(t *testing.T, file string) *Store {
	t.Helper()
	s, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// writeFile makes a bbolt file by hand.
func writeFile(t *testing.T, file string, fn func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func TestOpenMakesFolderAndFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a", "b", "factory.db")
	reopen(t, file)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode %o, want 600", got)
	}
}

func TestOpenLocked(t *testing.T) {
	s := openTemp(t)
	start := time.Now()
	_, err := Open(s.file)
	took := time.Since(start)
	var locked *LockedError
	if !errors.As(err, &locked) || locked.File != s.file {
		t.Fatalf("Open of an open file: %v, want *LockedError of %s", err, s.file)
	}
	// Far below a hang, far above what a busy machine adds to the 150 ms.
	if took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	reopen(t, s.file)
}

func TestOpenEmptyFiles(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, file string)
	}{
		{"no byte", func(t *testing.T, file string) {
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"no bucket", func(t *testing.T, file string) {
			writeFile(t, file, func(*bbolt.Tx) error { return nil })
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "factory.db")
			tt.make(t, file)
			s := reopen(t, file)
			if _, err := s.Fail(of("c"), git.Rev{}, "x", time.Unix(1, 0)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	bucket := func(name, key, value string) func(t *testing.T, file string) {
		return func(t *testing.T, file string) {
			t.Helper()
			writeFile(t, file, func(tx *bbolt.Tx) error {
				b, err := tx.CreateBucket([]byte(name))
				if err != nil {
					return err
				}
				return b.Put([]byte(key), []byte(value))
			})
		}
	}
	content := func(data string) func(t *testing.T, file string) {
		return func(t *testing.T, file string) {
			t.Helper()
			if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	const advice = "the next cycle sets it aside and begins a new one. What is published is found again in the registries, the history and the count of failures are not"
	tests := []struct {
		name    string
		make    func(t *testing.T, file string)
		corrupt bool
		want    string
	}{
		{"a short text", content("channels: []\n"), true, "not a state that this factory can read (invalid database): " + advice},
		{"a long text", content(strings.Repeat("channels: []\n", 10_000)), true, "not a state that this factory can read (invalid database): " + advice},
		{"another program's", bucket("users", "a", "b"), false, `not a state file of the factory: it has a bucket "users" and none named meta`},
		{"schema that is no number", bucket("meta", "schema", "new"), true, `not a state that this factory can read (schema "new"): ` + advice},
		{"schema 0", bucket("meta", "schema", "0"), true, `not a state that this factory can read (schema "0"): ` + advice},
		{"meta without schema", bucket("meta", "a", "b"), true, `not a state that this factory can read (schema ""): ` + advice},
		{"a bucket in a bucket", func(t *testing.T, file string) {
			if err := reopen(t, file).Close(); err != nil {
				t.Fatal(err)
			}
			writeFile(t, file, func(tx *bbolt.Tx) error {
				_, err := keptBucket.in(tx).CreateBucket([]byte("a"))
				return err
			})
		}, true, `not a state that this factory can read (kept "a": unexpected end of JSON input): ` + advice},
		{"schema and nothing else", bucket("meta", "schema", "5"), true, "not a state that this factory can read (no bucket etags): " + advice},
		{"an older schema", bucket("meta", "schema", "4"), true, "not a state that this factory can read (schema 4 of another version, want 5): " + advice},
		{"a newer schema", bucket("meta", "schema", "1000"), true, "not a state that this factory can read (schema 1000 of another version, want 5): " + advice},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "factory.db")
			tt.make(t, file)
			_, err := Open(file)
			if err == nil || err.Error() != file+": "+tt.want {
				t.Fatalf("Open: %v, want %s", err, tt.want)
			}
			var corrupt *UnusableError
			if errors.As(err, &corrupt) != tt.corrupt {
				t.Errorf("%T, want *UnusableError: %v", err, tt.corrupt)
			}
			// The lock is not kept: the advice can be followed at once.
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			reopen(t, file)
		})
	}
}

func TestOpenFolder(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(dir)
	var corrupt *UnusableError
	if err == nil || errors.As(err, &corrupt) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Open of a folder: %v", err)
	}
}

// filled is the content of a file with pages of every kind.
func filled(t *testing.T) []byte {
	t.Helper()
	s := openTemp(t)
	for i := range 10 {
		var all []Publication
		for j := range 40 {
			all = append(all, publication("c", fmt.Sprintf("r:%d-%d", i, j), i))
		}
		if err := s.Record(all); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetETag("u", "e", make([]byte, 20_000)); err != nil {
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

func TestOpenCutOff(t *testing.T) {
	data := filled(t)
	page := os.Getpagesize()
	for _, size := range []int{1, page, page + 1, 2 * page, 3 * page, 4 * page, len(data) / 2, len(data)/2 + 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "factory.db")
			if err := os.WriteFile(file, data[:size], 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(file)
			var corrupt *UnusableError
			if !errors.As(err, &corrupt) || corrupt.File != file {
				t.Errorf("Open of the first %d of %d bytes: %v, want *UnusableError", size, len(data), err)
			}
		})
	}
}

// TestOpenOverwritten overwrites parts of a sound file. Whatever comes of it
// is an error or is read without one; it never takes the process along.
func TestOpenOverwritten(t *testing.T) {
	data := filled(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for range 60 {
		bad := append([]byte(nil), data...)
		at := rnd.IntN(len(bad))
		if rnd.IntN(2) == 0 { // the header of a page
			at = at/4096*4096 + rnd.IntN(64)
		}
		part := bad[at:min(len(bad), at+1<<rnd.IntN(13))]
		zero := rnd.IntN(2) == 0
		for i := range part {
			part[i] = byte(rnd.Uint32())
			if zero {
				part[i] = 0
			}
		}
		file := filepath.Join(t.TempDir(), "factory.db")
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(file)
		if err != nil {
			var corrupt *UnusableError
			if !errors.As(err, &corrupt) {
				t.Errorf("overwritten at %d: %v, want *UnusableError", at, err)
			}
			refused++
			continue
		}
		for _, err := range readLists(s) {
			var corrupt *UnusableError
			if err != nil && !errors.As(err, &corrupt) {
				t.Errorf("overwritten at %d: %v, want *UnusableError", at, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if refused < 10 {
		t.Errorf("only %d of 60 were found out by Open", refused)
	}
}

func readLists(s *Store) []error {
	_, err1 := s.Publications()
	_, err2 := s.History(Subject{}, 0)
	_, err3 := s.Failures()
	return []error{err1, err2, err3}
}
