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

func TestSourcesThatGoTogether(t *testing.T) {
	for _, c := range []struct {
		flags buildFlags
		args  string
		want  string // "": they do
	}{
		{buildFlags{}, "", "name what to push"},
		{buildFlags{}, "- ./result", ""},
		{buildFlags{attr: "x"}, "", ""},
		{buildFlags{file: "a.nix"}, "attr:x attr:y", ""},
		{buildFlags{file: "a.nix", attr: "x"}, "", ""},
		{buildFlags{attr: "x"}, "./result", "--attr x and a source are both named"},
		{buildFlags{file: "a.nix"}, "./result", "--file a.nix and a source are both named"},
		{buildFlags{}, "a.tar - docker-archive:-", "read but once"},
	} {
		err := c.flags.check(strings.Fields(c.args))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: check(%q) = %v, want %q", c.flags, c.args, err, c.want)
		}
	}
}

func TestCutTag(t *testing.T) {
	for ref, want := range map[string]string{
		"host:5000/app":            "host:5000/app ",
		"host:5000/app:v{rev:7}":   "host:5000/app v{rev:7}",
		"http://host:5000/app:1":   "http://host:5000/app 1",
		"oci:dir:app:1":            "oci:dir:app 1",
		"host/app@sha256:0":        "has a digest",
		"user:pa55word@host/app:1": "a user and a password do not belong there",
		"http://user@host/app:1":   "a user and a password do not belong there",
		"host/{rev}/app":           "only a tag may be a template",
	} {
		at, tag, err := cutTag(ref)
		got := at + " " + tag
		if err != nil {
			got = err.Error()
		}
		if got != want && (err == nil || !strings.Contains(got, want)) || strings.Contains(got, "pa55word") {
			t.Errorf("cutTag(%q) = %s, want %s", ref, got, want)
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
