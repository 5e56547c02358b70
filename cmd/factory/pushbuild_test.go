package main

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/nixbuild"
)

func TestWhatIsBuilt(t *testing.T) {
	o := buildFlags{file: "images.nix"}
	for source, want := range map[string]nixbuild.Target{
		".#image":             {Flake: ".#image"},
		"github:a/b#image":    {Flake: "github:a/b#image"},
		"flake:.":             {Flake: "."},
		"attr:image":          {File: "images.nix", Attr: "image"},
		"./image.tar.gz":      {},
		"oci:./app":           {},
		"docker-archive:x":    {},
		"-":                   {},
		"pushbuild_test.go":   {},
		"stream:./result":     {},
		"nix2container:./out": {},
	} {
		got, ok := o.target(source)
		if got != want || ok != (want != nixbuild.Target{}) {
			t.Errorf("target(%q) = %v, %v, want %v", source, got, ok, want)
		}
	}
	for _, c := range []struct {
		flags buildFlags
		args  []string
		want  []input
	}{
		{buildFlags{}, nil, nil},
		{buildFlags{file: "a.nix"}, nil, []input{{target: nixbuild.Target{File: "a.nix"}, build: true}}},
		{buildFlags{attr: "x"}, nil, []input{{target: nixbuild.Target{Attr: "x"}, build: true}}},
		{buildFlags{file: "a.nix"}, []string{"attr:x", "-"}, []input{{"attr:x", nixbuild.Target{File: "a.nix", Attr: "x"}, true}, {arg: "-"}}},
	} {
		if got := c.flags.inputs(c.args); !slices.Equal(got, c.want) {
			t.Errorf("%+v: inputs(%q) = %+v, want %+v", c.flags, c.args, got, c.want)
		}
	}
}

func TestCachesToFill(t *testing.T) {
	a := &app{env: func(string) string { return "" }}
	targets, err := a.targets(cacheFlags{attic: []string{"https://cache.example.org/team/ci/"}, cachix: []string{"mine"}, stores: []string{"s3://bucket?region=eu"}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, to := range targets {
		names = append(names, to.Name())
	}
	if got, want := strings.Join(names, "\n"), "attic https://cache.example.org/team/ci\ncachix mine\nstore s3://bucket"; !strings.HasPrefix(got, want) {
		t.Errorf("targets\n%s\nwant\n%s", got, want)
	}
	_, err = a.targets(cacheFlags{attic: []string{"ci", "ftp://x/ci"}, cachix: []string{"A"}, stores: []string{"-x"}})
	for _, want := range []string{`--attic: endpoint "" is not an http or https URL`, `--attic: endpoint "ftp://x"`, `--cachix: cache name "A"`, "--store: store URL starts with a hyphen"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// TestNarrator: each line is shown once, without what a terminal would obey.
func TestNarrator(t *testing.T) {
	var log bytes.Buffer
	n := &narrator{log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key != slog.MessageKey {
			return slog.Attr{}
		}
		return a
	}}))}
	for _, part := range []string{"buil", "ding\nsecond\n\n\x1b[31mred\x1b[0m\nnot whole", strings.Repeat("x", longestLine)} {
		if k, err := n.Write([]byte(part)); k != len(part) || err != nil {
			t.Errorf("Write = %d, %v, want %d", k, err, len(part))
		}
	}
	want := "msg=building\nmsg=second\nmsg=red\nmsg=\"not whole" + strings.Repeat("x", 291) + "…\"\n"
	if got := log.String(); got != want {
		t.Errorf("log\n%s\nwant\n%s", got, want)
	}
}
