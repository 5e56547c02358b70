package evaluator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/binarycache"
	"github.com/nixpkgs-factory/factory/internal/fetch"
)

// The Nix on PATH stands in where the tree's own cannot be had, and only then.
func TestChoose(t *testing.T) {
	named := func(system, name string) File {
		return says(fmt.Sprintf("{ %s = \"/nix/store/%s-%s\"; }", system, digestA, name))
	}
	absent := File(func() ([]byte, bool, error) { return nil, false, nil })
	for name, tt := range map[string]struct {
		file File
		want string // why it is not the tree's
	}{
		"no file":              {absent, "it names none"},
		"not for this machine": {named("aarch64-darwin", "nix-2.31.2"), "it names none for "},
		"not of the shape":     {says("{ }\nx"), FallbackFile + ":2: "},
		"no cache has it":      {named(hostSystem(t), "nix-2.31.2"), "-nix-2.31.2: not found in file://"},
		"no Nix":               {named(hostSystem(t), "hello-2.31.2"), "-hello-2.31.2 is no release of Nix"},
		"too old":              {named(hostSystem(t), "nix-2.3.16"), "-nix-2.3.16 is older than 2.8"},
	} {
		t.Run(name, func(t *testing.T) {
			installed := tried("2.28.3")
			var log bytes.Buffer
			c := chooser(t, Auto)
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
			c.Installed = func(context.Context) (Nix, error) { return installed, nil }
			for range 2 {
				n, release, err := c.For(t.Context(), tt.file, t.TempDir(), "test")
				if err != nil || n.Version != installed.Version {
					t.Fatalf("auto: %+v, %v", n, err)
				}
				release()
			}
			if strings.Count(log.String(), "the Nix on PATH evaluates") != 1 || !strings.Contains(log.String(), tt.want) {
				t.Errorf("it is not said once and why: %s", &log)
			}

			c.Choice = Tree
			_, _, err := c.For(t.Context(), tt.file, t.TempDir(), "test")
			if !errors.As(err, new(*UnfitError)) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("tree: %v, want an error that says %q", err, tt.want)
			}

			c.Choice = Auto
			c.Installed = func(context.Context) (Nix, error) { return Nix{}, &MissingError{errors.New("nowhere")} }
			_, _, err = c.For(t.Context(), tt.file, t.TempDir(), "test")
			if !errors.As(err, new(*MissingError)) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("auto without one on PATH: %v, want an error that says both", err)
			}
		})
	}
}

// tried is a Nix of which it is known how it evaluates.
func tried(version string) Nix { return Nix{Version: version, trial: &trial{mode: new(Mode)}} }

func hostSystem(t *testing.T) string {
	t.Helper()
	s, err := system()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A cache that cannot be asked is no reason to take another Nix than the day before.
func TestChooseAsksCaches(t *testing.T) {
	c := chooser(t, Auto)
	c.Keep.Source = binarycache.New(fetch.New(fetch.Options{Attempts: 1}), []binarycache.Substituter{{URL: "http://127.0.0.1:1"}})
	c.Installed = func(context.Context) (Nix, error) { t.Error("the one on PATH was asked for"); return Nix{}, nil }
	if _, _, err := c.For(t.Context(), naming(t), t.TempDir(), "test"); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("For() = %v", err)
	}
}

// Who asks for the one on PATH gets that, without a look at the tree.
func TestChoosePath(t *testing.T) {
	c := chooser(t, Path)
	c.Installed = func(context.Context) (Nix, error) { return tried("2.28.3"), nil }
	n, release, err := c.For(t.Context(), func() ([]byte, bool, error) { t.Error("the tree was looked at"); return nil, false, nil }, t.TempDir(), "test")
	if err != nil || n.Version != "2.28.3" {
		t.Fatalf("For() = %+v, %v", n, err)
	}
	release()
}

func TestOlder(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"2.8.0", "2.8", false}, {"2.8", "2.18", true}, {"2.31.2", "2.8", false}, {"2.4pre20201205_a5d85d0", "2.8", true}, {"3", "2.8", false},
	} {
		if got := Older(tt.a, tt.b); got != tt.want {
			t.Errorf("Older(%q, %q) = %v", tt.a, tt.b, got)
		}
	}
}
