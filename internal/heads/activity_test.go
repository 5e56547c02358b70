package heads

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/git/gittest"
)

const activityPath = "/repos/NixOS/nixpkgs/activity"

func TestMoves(t *testing.T) {
	s := start(t, map[string]reply{activityPath: {file: "activity.json"}})
	c := client(t, Options{API: s.URL})
	got, err := c.Moves(t.Context(), "nixos-unstable", 3)
	if err != nil {
		t.Fatal(err)
	}
	want := []Move{
		{Rev: gittest.Rev(rev), Time: time.Date(2026, 5, 2, 9, 12, 44, 0, time.UTC)},
		{Rev: gittest.Rev("b"), Time: time.Date(2026, 5, 1, 20, 3, 0, 0, time.UTC)},
		{Rev: gittest.Rev("a"), Time: time.Date(2026, 4, 30, 3, 0, 0, 0, time.UTC)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Moves (-want +got):\n%s", diff)
	}
	query := s.requests[0].URL.Query()
	if query.Get("ref") != "refs/heads/nixos-unstable" || query.Get("per_page") != "3" {
		t.Errorf("asked with %v", query)
	}
	if got, err := c.Moves(t.Context(), "nixos-unstable", 1); err != nil || len(got) != 1 {
		t.Errorf("Moves with limit 1 = %v, %v, want one movement", got, err)
	}
}

func TestMovesRefusesWrongAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"another branch": `[{"ref": "refs/heads/master", "after": "` + rev + `"}]`,
		"no revision":    `[{"ref": "refs/heads/nixos-unstable", "after": "HEAD"}]`,
		"no list":        `{"message": "hello"}`,
	} {
		s := start(t, map[string]reply{activityPath: {body: body}})
		if got, err := client(t, Options{API: s.URL}).Moves(t.Context(), "nixos-unstable", 5); err == nil {
			t.Errorf("%s: Moves = %v, want an error", name, got)
		}
	}
	s := start(t, nil)
	for _, limit := range []int{0, 101} {
		if _, err := client(t, Options{API: s.URL}).Moves(t.Context(), "nixos-unstable", limit); err == nil {
			t.Errorf("limit %d: no error", limit)
		}
	}
}
