package upload

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

func TestCheckedNAR(t *testing.T) {
	s := newShelf()
	info := s.add(t, "x", strings.Repeat("content ", 100))
	data := s.nars[info.Path]
	broken := errors.New("the connection broke")
	other := bytes.Clone(data)
	other[300] ^= 1
	for _, tt := range []struct {
		name string
		src  io.Reader
		want string // error behind the name; "": none
	}{
		{"as it should be", bytes.NewReader(data), ""},
		{"in single bytes", iotest.OneByteReader(bytes.NewReader(data)), ""},
		{"with its end at once", iotest.DataErrReader(bytes.NewReader(data)), ""},
		{"too short", bytes.NewReader(data[:len(data)-1]), "NAR ends after 911 of 912 bytes: unexpected EOF"},
		{"empty", strings.NewReader(""), "NAR ends after 0 of 912 bytes: unexpected EOF"},
		{"too long", bytes.NewReader(append(bytes.Clone(data), 0)), "NAR is longer than 912 bytes"},
		{"too long, in single bytes", iotest.OneByteReader(bytes.NewReader(append(bytes.Clone(data), 0))), "NAR is longer than 912 bytes"},
		{"another", bytes.NewReader(other), "NAR hash is " + sum(other).String() + " (want " + info.NarHash.String() + ")"},
		{"broken off", io.MultiReader(bytes.NewReader(data[:500]), iotest.ErrReader(broken)), "the connection broke"},
		{"broken at the end", io.MultiReader(bytes.NewReader(data), iotest.ErrReader(broken)), "the connection broke"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := openNAR(t.Context(), given{tt.src}, info)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if tt.want == "" {
				if err != nil || !bytes.Equal(got, data) || r.broken() != nil {
					t.Errorf("%d bytes, %v, %v", len(got), err, r.broken())
				}
				return
			}
			if want := info.Path.Base() + ": " + tt.want; err == nil || err.Error() != want || r.broken() != err {
				t.Errorf("error %v, want %q", err, want)
			}
			if len(got) >= len(data) {
				t.Errorf("all %d bytes were given", len(got))
			}
		})
	}
}

func sum(data []byte) nix.Hash { return nix.Hash(sha(data)) }

func TestWritten(t *testing.T) {
	long := strings.Repeat("0123456789", 50_000)
	failure := errors.New("disk is gone")
	for _, tt := range []struct {
		name string
		err  error
	}{{"whole", nil}, {"failing", failure}} {
		r := Written(func(w io.Writer) error {
			for i := range len(long) / 10 {
				if _, err := io.WriteString(w, long[i*10:i*10+10]); err != nil {
					return err
				}
			}
			return tt.err
		})
		got, err := io.ReadAll(r)
		if !errors.Is(err, tt.err) || err == nil && string(got) != long {
			t.Errorf("%s: %d bytes, %v", tt.name, len(got), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Close waits for the function, which learns by its writes that nobody reads on.
func TestWrittenClosedEarly(t *testing.T) {
	returned := false
	r := Written(func(w io.Writer) error {
		defer func() { returned = true }()
		for {
			if _, err := io.WriteString(w, "more"); err != nil {
				return err
			}
		}
	})
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if !returned {
		t.Error("the function is still at work")
	}
}
