package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/record"
)

var (
	rev     = gittest.Rev("a")
	older   = gittest.Rev("b")
	errDown = errors.New("registry.example.org/nixpkgs-nixos-unstable: 503 Service Unavailable")
	errSlow = errors.New("ghcr.io/org/nixpkgs-nixos-unstable: timeout")

	absent     = Published{}
	current    = Published{Found: true, Digest: digest("1"), Rev: rev, Recipe: "new"}
	outdated   = Published{Found: true, Digest: digest("2"), Rev: rev, Recipe: "old"}
	unlabelled = Published{Found: true, Digest: digest("3")}
	foreign    = Published{Found: true, Digest: digest("4"), Rev: older, Recipe: "new"}
	down       = Published{Err: errDown}
	slow       = Published{Err: errSlow}
	broken     = Published{Found: true, Digest: digest("1"), Rev: rev, Recipe: "new", Incomplete: true}
	arrived    = Published{Found: true, Digest: digest("1"), Rev: rev, Recipe: "new", Arrived: true}
	kept       = Published{Found: true, Digest: digest("2"), Rev: rev, Recipe: "old", Kept: true}
	// A destination that cannot be asked is not believed either.
	downButFound = Published{Found: true, Rev: rev, Recipe: "new", Err: errDown}
)

// digest is one of a digit, repeated.
func digest(digit string) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat(digit, 64)}
}

// channel is one whose destinations give these answers.
func channel(answers ...Published) Channel {
	ch := Channel{
		Name:      "nixos-unstable",
		ImageName: "base",
		Head:      heads.Head{Channel: "nixos-unstable", Commit: heads.Commit{Rev: rev, Tree: gittest.TreeID("c"), Date: time.Unix(1, 0)}},
		Recipe:    "new",
		Systems:   []config.System{{Nix: "x86_64-linux"}, {Nix: "aarch64-linux"}},
		Published: answers,
	}
	for i := range answers {
		ch.Images = append(ch.Images, fmt.Sprintf("r%d/nixpkgs-nixos-unstable:%s", i, rev))
	}
	return ch
}

func (ch Channel) with(p record.Publication) Channel {
	ch.Recorded = &p
	return ch
}

func TestMake(t *testing.T) {
	tests := []struct {
		name   string
		ch     Channel
		action Action
		reason Reason
		err    string
	}{
		{"published", channel(current), None, UpToDate, ""},
		{"published in all places", channel(current, current), None, UpToDate, ""},
		{"published, state lost or of another commit", channel(current).with(record.Publication{Rev: older}), None, UpToDate, ""},
		{"not published", channel(absent), Build, NewCommit, ""},
		{"not published anywhere", channel(absent, absent), Build, NewCommit, ""},
		{"not published, another commit was", channel(absent).with(record.Publication{Rev: older, Recipe: "new"}), Build, NewCommit, ""},
		{"lost", channel(absent).with(record.Publication{Rev: rev, Recipe: "new"}), Build, Missing, ""},
		{"lost, and the recipe is another", channel(absent).with(record.Publication{Rev: rev, Recipe: "old"}), Build, Missing, ""},
		{"a new destination", channel(current, absent), Build, Missing, ""},
		{"a new destination in front", channel(absent, current), Build, Missing, ""},
		{"another recipe", channel(outdated), Rebuild, RecipeChanged, ""},
		{"no recipe on it", channel(unlabelled), Rebuild, RecipeChanged, ""},
		{"another recipe in one place", channel(current, outdated), Rebuild, RecipeChanged, ""},
		{"another recipe, and lost in one place", channel(absent, outdated).with(record.Publication{Rev: rev, Recipe: "old"}), Rebuild, RecipeChanged, ""},
		{"another commit under the tag", channel(foreign), Rebuild, Missing, ""},
		{"another commit under one tag", channel(current, foreign, outdated), Rebuild, Missing, ""},
		{"something below it is gone", channel(broken), Rebuild, Incomplete, ""},
		{"something below it is gone in one place", channel(current, broken), Rebuild, Incomplete, ""},
		{"something is gone, and another recipe", channel(broken, outdated), Rebuild, RecipeChanged, ""},
		{"something is gone, and lost elsewhere", channel(broken, absent), Build, Missing, ""},
		{"something is gone, and one cannot be asked", channel(broken, down), None, "", errDown.Error()},
		{"a system came", channel(arrived), Rebuild, SystemCame, ""},
		{"a system came, to one place", channel(current, arrived), Rebuild, SystemCame, ""},
		{"a system came, and something is gone", channel(arrived, broken), Rebuild, Incomplete, ""},
		{"kept though the recipe changed", channel(kept), None, UpToDate, ""},
		{"kept in one place", channel(current, kept), None, UpToDate, ""},
		{"kept in one place, outdated in another", channel(kept, outdated), Rebuild, RecipeChanged, ""},
		{"its branch is gone", Channel{Name: "c", Frozen: true, Gone: true}, None, Gone, ""},
		{"cannot be asked", channel(down), None, "", errDown.Error()},
		{"one cannot be asked, it is in the other", channel(current, down), None, "", errDown.Error()},
		{"one cannot be asked, it is not in the other", channel(absent, down), None, "", errDown.Error()},
		{"one cannot be asked, another recipe in the other", channel(down, outdated), None, "", errDown.Error()},
		{"none can be asked", channel(down, current, slow), None, "", errDown.Error() + "; " + errSlow.Error()},
		{"cannot be asked, and says that it is there", channel(downButFound), None, "", errDown.Error()},
		{"no destination", channel(), None, "", "0 destinations and 0 answers from them"},
		{"an answer is missing", Channel{Name: "c", Images: []string{"a", "b"}, Published: []Published{current}}, None, "", "2 destinations and 1 answers from them"},
		{"no head", Channel{Name: "c", HeadErr: errDown, Images: []string{"a"}, Published: []Published{absent}}, None, "", errDown.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			jobs := Make([]Channel{tt.ch})
			if len(jobs) != 1 {
				t.Fatalf("%d jobs, want 1", len(jobs))
			}
			check(t, jobs[0], tt.ch, tt.action, tt.reason, tt.err)
		})
	}
}

// check holds a job against what is wanted of it.
func check(t *testing.T, job Job, ch Channel, action Action, reason Reason, message string) {
	t.Helper()
	if job.Action != action || job.Reason != reason {
		t.Errorf("%s / %s, want %s / %s", job.Action, job.Reason, action, reason)
	}
	if got := fmt.Sprint(job.Err); message == "" && job.Err != nil || message != "" && got != message {
		t.Errorf("error %s, want %q", got, message)
	}
	if errors.Is(job.Err, errDown) != strings.Contains(message, errDown.Error()) {
		t.Errorf("the cause of %v cannot be told", job.Err)
	}
	if job.Channel != ch.Name || job.Rev != ch.Head.Rev || job.Head != ch.Head || !slices.Equal(job.Systems, ch.Systems) || !slices.Equal(job.Images, ch.Images) {
		t.Errorf("job %+v is not that of %+v", job, ch)
	}
}

func TestRequest(t *testing.T) {
	const refused = " is not the head of nixos-unstable, and another image has its tag: the tag of an outdated commit never changes"
	tests := []struct {
		name   string
		ch     Channel
		isHead bool
		action Action
		reason Reason
		err    string
	}{
		{"head, published", channel(current), true, Rebuild, Requested, ""},
		{"head, not published", channel(absent, absent), true, Build, Requested, ""},
		{"head, in one place", channel(absent, current), true, Rebuild, Requested, ""},
		{"head, another recipe", channel(outdated), true, Rebuild, Requested, ""},
		{"head, another commit under the tag", channel(foreign), true, Rebuild, Requested, ""},
		{"head, cannot be asked", channel(current, down), true, None, "", errDown.Error()},
		{"older, not published", channel(absent, absent), false, Build, Requested, ""},
		{"older, published", channel(current, current), false, None, UpToDate, ""},
		{"older, something below it is gone", channel(current, broken), false, Rebuild, Requested, ""},
		{"older, in one place", channel(current, absent), false, Build, Requested, ""},
		{"older, another recipe in one place", channel(absent, outdated), false, None, "", rev.String() + refused},
		{"older, another recipe", channel(outdated), false, None, "", rev.String() + refused},
		{"older, another recipe in one of two", channel(current, outdated), false, None, "", rev.String() + refused},
		{"older, another commit under the tag", channel(foreign), false, None, "", rev.String() + refused},
		{"older, cannot be asked", channel(down), false, None, "", errDown.Error()},
		{"no such commit", Channel{Name: "c", HeadErr: errDown, Images: []string{"a"}, Published: []Published{absent}}, false, None, "", errDown.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			check(t, Request(tt.ch, tt.isHead), tt.ch, tt.action, tt.reason, tt.err)
		})
	}
}

// TestMakeShuffled mixes channels and destinations: each channel's job stands
// where the channel stands and is the same among others as alone, and the
// order of destinations decides nothing.
func TestMakeShuffled(t *testing.T) {
	answers := []Published{absent, current, outdated, unlabelled, foreign, down}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		var channels []Channel
		for i := range 1 + rnd.IntN(6) {
			var picked []Published
			for range 1 + rnd.IntN(3) {
				picked = append(picked, answers[rnd.IntN(len(answers))])
			}
			ch := channel(picked...)
			ch.Name = fmt.Sprint("c", i)
			channels = append(channels, ch)
		}
		rnd.Shuffle(len(channels), func(i, j int) { channels[i], channels[j] = channels[j], channels[i] })
		jobs := Make(channels)
		if len(jobs) != len(channels) {
			t.Fatalf("%d jobs for %d channels", len(jobs), len(channels))
		}
		for i, ch := range channels {
			alone := Make([]Channel{ch})[0]
			mixed := ch
			mixed.Published = slices.Clone(ch.Published)
			rnd.Shuffle(len(mixed.Published), func(i, j int) {
				mixed.Published[i], mixed.Published[j] = mixed.Published[j], mixed.Published[i]
			})
			other := Make([]Channel{mixed})[0]
			if jobs[i].Channel != ch.Name || jobs[i].Action != alone.Action || jobs[i].Reason != alone.Reason ||
				other.Action != alone.Action || other.Reason != alone.Reason || (other.Err == nil) != (alone.Err == nil) {
				t.Fatalf("%+v among others, %+v alone, %+v with destinations mixed", jobs[i], alone, other)
			}
			if jobs[i].Err != nil && jobs[i].Action != None {
				t.Fatalf("an error and an action: %+v", jobs[i])
			}
		}
	}
}

func TestMakeCopies(t *testing.T) {
	ch := channel(absent)
	job := Make([]Channel{ch})[0]
	job.Systems[0].Nix, job.Images[0] = "changed", "changed"
	if ch.Systems[0].Nix != "x86_64-linux" || ch.Images[0] == "changed" {
		t.Error("a change of the job shows in the channel")
	}
}

func TestJSON(t *testing.T) {
	jobs := Make([]Channel{
		channel(absent),
		{Name: "nixos-26.05", HeadErr: errors.New("no such channel")},
	})
	got, err := json.MarshalIndent(jobs, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want := `[
  {
    "channel": "nixos-unstable",
    "imageName": "base",
    "rev": "` + rev.String() + `",
    "action": "build",
    "reason": "new commit",
    "systems": [
      "x86_64-linux",
      "aarch64-linux"
    ],
    "images": [
      "r0/nixpkgs-nixos-unstable:` + rev.String() + `"
    ],
    "tags": []
  },
  {
    "channel": "nixos-26.05",
    "imageName": "",
    "rev": "",
    "action": "none",
    "reason": "",
    "systems": [],
    "images": [],
    "tags": [],
    "error": "no such channel"
  }
]`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	none, err := json.Marshal(Make(nil))
	if err != nil || string(none) != "[]" {
		t.Errorf("no channels give %s, %v, want []", none, err)
	}
}
