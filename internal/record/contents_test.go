package record

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/image"
)

func TestContents(t *testing.T) {
	s := openTemp(t)
	if c, err := s.Contents(digest("0")); err != nil || c != nil {
		t.Errorf("Contents = %v, %v, want nothing", c, err)
	}
	want := image.Contents{Digest: digest("0"), Date: epoch, Systems: []image.SystemContent{{
		System: system("x86_64-linux"), Digest: digest("1"), Size: 7, Layers: 2, Tools: []image.Tool{{Name: "nix", Version: "2.31"}},
	}}}
	want.NarHash[0] = 1
	if err := s.SetContents(want); err != nil {
		t.Fatal(err)
	}
	got, err := s.Contents(digest("0"))
	if diff := cmp.Diff(&want, got); err != nil || diff != "" {
		t.Errorf("Contents: %v (-want +got):\n%s", err, diff)
	}
}

// The history has what led to a publication and what it took.
func TestHistoryOfPublication(t *testing.T) {
	s := openTemp(t)
	p := publication("c", "r:1", 30)
	p.Since, p.Moved = epoch.In(time.FixedZone("", 3600)), Moved{Fetched: 3, Pushed: 4}
	if err := s.Record([]Publication{p}); err != nil {
		t.Fatal(err)
	}
	events, err := s.History(of("c"), 0)
	want := []Event{{
		Time: p.Time, Subject: of("c"), Rev: p.Rev, Image: "r:1", Digest: p.Digest, Action: "build", Reason: "new commit",
		Since: epoch, Moved: Moved{Fetched: 3, Pushed: 4},
	}}
	if diff := cmp.Diff(want, events); err != nil || diff != "" {
		t.Errorf("History: %v (-want +got):\n%s", err, diff)
	}
}

func TestState(t *testing.T) {
	head := &heads.Head{Channel: "c", Commit: heads.Commit{Rev: rev("b")}, Since: epoch}
	old, late := publication("c", "r:a", 10), publication("c", "r:a", 50)
	current := publication("c", "r:b", 20)
	current.Rev = rev("b")
	other := publication("d", "r:b", 60)
	for _, tt := range []struct {
		name string
		list []Publication
		want *Publication
		lag  time.Duration
	}{
		{"nothing", nil, nil, time.Hour},
		{"another channel's", []Publication{other}, nil, time.Hour},
		{"the last one", []Publication{old, late}, &late, time.Hour},
		{"the head's", []Publication{old, current, late}, &current, 20 * time.Minute},
	} {
		got := Newest(tt.list, of("c"), head)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: Newest (-want +got):\n%s", tt.name, diff)
		}
		if lag, known := Lag(head, got, epoch.Add(time.Hour)); !known || lag != tt.lag {
			t.Errorf("%s: Lag = %v, %t, want %v", tt.name, lag, known, tt.lag)
		}
	}
	if lag, known := Lag(&heads.Head{}, &current, epoch); known {
		t.Errorf("Lag of a head of which nobody knows since when = %v", lag)
	}
	failures := []Failure{
		{Subject: of("c"), Rev: rev("a"), Time: epoch.Add(time.Hour), Error: "late"},
		{Subject: of("c"), Rev: rev("b"), Time: epoch, Error: "head"},
		{Subject: of("d"), Rev: rev("b"), Time: epoch, Error: "another"},
	}
	for head, want := range map[string]string{"b": "head", "": "late", "c": "late"} {
		if got := Foremost(failures, of("c"), rev(head)); got == nil || got.Error != want {
			t.Errorf("Foremost for head %q = %v, want %s", head, got, want)
		}
	}
	if got := Foremost(failures[2:], of("c"), rev("b")); got != nil {
		t.Errorf("Foremost = %v, want none", got)
	}
}
