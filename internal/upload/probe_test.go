package upload

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/upload/attictest"
)

// A probe finds what a push would fail of, and leaves the cache as it was.
func TestAtticProbe(t *testing.T) {
	s := startAttic(t, attictest.Options{})
	for _, tt := range []struct {
		name, token, cache, want string
	}{
		{"may push", s.Token("*", attictest.Pull, attictest.Push), "factory", ""},
		{"may pull only", s.Token("*", attictest.Pull), "factory", "get-missing-paths: 403 Forbidden"},
		{"of another cache", s.Token("other", attictest.Pull, attictest.Push), "factory", "cache-config/factory: "},
		{"that has expired", s.ExpiredToken("*", attictest.Pull, attictest.Push), "factory", "cache-config/factory: 401 Unauthorized"},
		{"for a cache that is not there", s.Token("*", attictest.Pull, attictest.Push), "nonesuch", "cache-config/nonesuch: 404 Not Found"},
		{"no token", "", "factory", "ATTIC_TOKEN is not set"},
		{"two tokens", "a b", "factory", "ATTIC_TOKEN is not a token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			attic := quick(s)
			attic.Token, attic.Cache = tt.token, tt.cache
			found, err := attic.Probe(t.Context())
			if tt.want == "" && (err != nil || !strings.Contains(found, "may push")) {
				t.Errorf("Probe() = %q, %v", found, err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Probe() = %q, %v, want an error with %q", found, err, tt.want)
			}
			if err != nil && len(tt.token) > 9 && strings.Contains(err.Error(), tt.token) {
				t.Errorf("the token is in the error: %v", err)
			}
		})
	}
	if objects := s.Objects(); len(objects) > 0 {
		t.Errorf("the cache has %v", objects)
	}
	for _, call := range calls(s) {
		if strings.HasPrefix(call, "PUT ") {
			t.Errorf("a probe sent %s", call)
		}
	}
}

func TestProbesOfPrograms(t *testing.T) {
	program(t, "cachix", "exit 1\n")
	program(t, "nix", "exit 1\n")
	notice := new(NotPushed)
	if found, err := (Cachix{Cache: "c"}).Probe(t.Context()); !errors.As(err, &notice) {
		t.Errorf("Probe() = %q, %v without a token, want a notice", found, err)
	}
	for name, target := range map[string]Prober{"cachix": Cachix{Cache: "c", Token: cachixToken}, "nix": Store{URL: "file:///nowhere"}} {
		if found, err := target.Probe(t.Context()); err != nil || !strings.Contains(found, name+" on PATH; whether") {
			t.Errorf("%s: Probe() = %q, %v, want what was looked for", name, found, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	got := map[string]string{}
	for name, target := range map[string]Prober{"cachix": Cachix{Cache: "c", Token: cachixToken}, "nix": Store{URL: "file:///nowhere"}, "bad": Cachix{Cache: "C"}} {
		_, err := target.Probe(t.Context())
		if err == nil {
			t.Fatalf("%s: no error", name)
		}
		got[name] = err.Error()
	}
	if d := cmp.Diff(map[string]string{
		"cachix": "nothing pushed: cachix is not on PATH",
		"nix":    "nix copy writes to it, and there is no nix on PATH",
		"bad":    `cache name "C": want lower-case letters, digits and hyphens`,
	}, got); d != "" {
		t.Errorf("errors (-want +got):\n%s", d)
	}
}
