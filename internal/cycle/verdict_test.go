package cycle

import (
	"context"
	"errors"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

var bothSystems = []config.System{{Nix: "x86_64-linux"}, {Nix: "aarch64-linux"}}

func toolsetOf(i int, nixpkgs bool) evaluated {
	return evaluated{system: bothSystems[i], set: toolset.Toolset{Nixpkgs: &nixpkgs}}
}

// The first system with nixpkgs is enough to know that the image has to be made.
func TestVerdictWithNixpkgs(t *testing.T) {
	v := newVerdict(t.Context(), bothSystems, func([]evaluated) (bool, error) { panic("it is not a question") })
	defer v.end()
	if due, err := v.join(t.Context(), 1, toolsetOf(1, true)); !due || err != nil {
		t.Errorf("join() = %v, %v", due, err)
	}
	if with, err := v.wait(t.Context()); !with || err != nil {
		t.Errorf("wait() = %v, %v", with, err)
	}
	if _, err := v.join(t.Context(), 0, toolsetOf(0, false)); err == nil {
		t.Error("nixpkgs is in the image of one system only")
	}
}

// Without nixpkgs the source is not waited for any longer, and the image has to be made
// if all systems together say so.
func TestVerdictWithoutNixpkgs(t *testing.T) {
	broken := errors.New("registry is gone")
	for _, want := range []struct {
		due bool
		err error
	}{{true, nil}, {false, nil}, {false, broken}} {
		asked := 0
		v := newVerdict(t.Context(), bothSystems, func(sets []evaluated) (bool, error) {
			if asked++; sets[0].system != bothSystems[0] || sets[1].system != bothSystems[1] {
				t.Errorf("asked about %v", sets)
			}
			return want.due, want.err
		})
		ended, stop := context.WithCancel(t.Context())
		stop()
		if due, err := v.join(ended, 0, toolsetOf(0, false)); due || !errors.Is(err, context.Canceled) {
			t.Errorf("join() before all systems are known = %v, %v", due, err)
		}
		if v.wanted.Err() == nil {
			t.Error("the source is still wanted")
		}
		if due, err := v.join(t.Context(), 1, toolsetOf(1, false)); due != want.due || !errors.Is(err, want.err) {
			t.Errorf("join() = %v, %v, want %v", due, err, want)
		}
		if with, err := v.wait(t.Context()); with || err != nil && !errors.Is(err, want.err) {
			t.Errorf("wait() = %v, %v, though nixpkgs is not in the image", with, err)
		}
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
	}
}
