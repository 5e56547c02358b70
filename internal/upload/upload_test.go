package upload

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

func TestForeign(t *testing.T) {
	s := few(t)
	twice := slices.Concat(s.infos, s.infos)
	slices.Reverse(twice)
	tests := []struct {
		name   string
		infos  []nix.PathInfo
		keys   []string
		want   []string // sorted by name
		others int
	}{
		{"nothing", nil, []string{"cache.nixos.org-1"}, nil, 0},
		{"one key", s.infos, []string{"cache.nixos.org-1"}, []string{"nixpkgs-src", "tool-1"}, 2},
		{"each path once", twice, []string{"cache.nixos.org-1"}, []string{"nixpkgs-src", "tool-1"}, 2},
		{"one of several keys", s.infos, []string{"other-1", "cache.nixos.org-1"}, []string{"nixpkgs-src", "tool-1"}, 2},
		{"other key", s.infos, []string{"other-1"}, []string{"bash-5.2", "glibc-2.40", "nixpkgs-src", "tool-1"}, 0},
		{"no key", s.infos, nil, []string{"bash-5.2", "glibc-2.40", "nixpkgs-src", "tool-1"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(tt.infos)
			got, others := foreign(tt.infos, tt.keys)
			if !slices.IsSortedFunc(got, func(a, b nix.PathInfo) int { return a.Path.Compare(b.Path) }) {
				t.Errorf("not sorted: %v", bases(got))
			}
			names := bases(got)
			slices.Sort(names)
			if diff := cmp.Diff(tt.want, names); diff != "" || others != tt.others {
				t.Errorf("%d others, want %d; chosen (-want +got):\n%s", others, tt.others, diff)
			}
			if diff := cmp.Diff(before, tt.infos); diff != "" {
				t.Errorf("the argument changed:\n%s", diff)
			}
		})
	}
}

func TestWithReferences(t *testing.T) {
	s := newShelf()
	libc := s.add(t, "libc", "1")
	zlib := s.add(t, "zlib", "2", libc.Path)
	src := s.add(t, "src", "3")
	tool := s.add(t, "tool", "4", zlib.Path, libc.Path)
	tool.References = append(tool.References, tool.Path)
	for _, tt := range []struct {
		name   string
		chosen []nix.PathInfo
		want   []string
	}{
		{"none", nil, nil},
		{"leaf", []nix.PathInfo{src}, []string{"src"}},
		{"deep, with a reference to itself", []nix.PathInfo{tool}, []string{"libc", "tool", "zlib"}},
		{"overlapping", []nix.PathInfo{zlib, tool, src}, []string{"libc", "src", "tool", "zlib"}},
	} {
		got := bases(withReferences(tt.chosen, s.infos))
		slices.Sort(got)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
