package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/config"
)

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "channels.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestExitCodes(t *testing.T) {
	tagged := write(t, "publish: [ { to: oci:./registry } ]\nchannels: [ { name: nixos-26.05, tags: [ latest ] } ]\n")
	untagged := write(t, "channels: [ { name: nixos-26.05, tags: [ '{rev:12}' ] } ]\n")
	wrong := write(t, "chanels: []\n")
	cases := map[string]struct {
		args   []string
		code   int
		output string
	}{
		"help":                {[]string{"--help"}, 0, "on top of an image that"},
		"unknown flag":        {[]string{"--bsae", "x"}, 2, "unknown flag: --bsae"},
		"an argument":         {[]string{"ghcr.io/org"}, 2, "there are only flags"},
		"no configuration":    {[]string{"--config", tagged + ".none"}, 2, "no such file"},
		"wrong configuration": {[]string{"--config", wrong}, 2, "chanels"},
		"bad destination":     {[]string{"--config", tagged, "--to", "https://ghcr.io/org"}, 2, "has no scheme"},
		"no moving tag":       {[]string{"--config", untagged}, 2, "say which image to build on with --base"},
		"bad base":            {[]string{"--config", tagged, "--base", "oci:x"}, 2, "want oci:DIR:NAME:TAG"},
		"bad reference":       {[]string{"--config", tagged, "--base", "A B"}, 2, "--base"},
		"bad name":            {[]string{"--config", tagged, "--to", "ghcr.io/org", "--name", "A B"}, 2, "repository"},
		"base is not there":   {[]string{"--config", tagged}, 1, "base: "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), c.args, &stdout, &stderr)
			if all := stdout.String() + stderr.String(); code != c.code || !strings.Contains(all, c.output) {
				t.Errorf("run(%q) = %d and %q, want %d and %q", c.args, code, all, c.code, c.output)
			}
			if c.code != 0 && stdout.Len() > 0 {
				t.Errorf("a failure printed %q to stdout", &stdout)
			}
		})
	}
}

// Flags come before the environment, and that before the configuration.
func TestDestinations(t *testing.T) {
	file := write(t, "publish: [ { to: ghcr.io/file } ]\nchannels: [ { name: nixos-26.05 } ]\n")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(file, data)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		flags []string
		env   string
		want  []string
	}{
		"file":        {nil, "", []string{"ghcr.io/file"}},
		"environment": {nil, " ghcr.io/env  docker.io/env ", []string{"ghcr.io/env", "docker.io/env"}},
		"flags":       {[]string{"ghcr.io/flag"}, "ghcr.io/env", []string{"ghcr.io/flag"}},
	} {
		t.Run(name, func(t *testing.T) {
			dests, err := options{to: test.flags}.destinations(func(string) string { return test.env }, c)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range dests {
				got = append(got, d.Registry)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("destinations() mismatch (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFindBase(t *testing.T) {
	file := write(t, "channels: [ { name: nixos-unstable, tags: [ '{date}' ] }, { name: nixos-26.05, tags: [ '{rev:12}', latest ] } ]\n")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(file, data)
	if err != nil {
		t.Fatal(err)
	}
	registry, err := config.ParseDestination("ghcr.io/org", ".")
	if err != nil {
		t.Fatal(err)
	}
	layout, err := config.ParseDestination("oci:registry", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		base             string
		dest             config.Destination
		name, everywhere string
	}{
		"of the configuration": {"", registry, "ghcr.io/org/nixpkgs-nixos-26.05:latest", "nixpkgs-nixos-26.05"},
		"in a layout":          {"", layout, "", "nixpkgs-nixos-26.05"},
		"named":                {"quay.io/org/nixpkgs-x:latest", registry, "quay.io/org/nixpkgs-x:latest", ""},
		"named in a layout":    {"oci:dir:nixpkgs-x:latest", registry, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := options{base: test.base}.findBase(c, []config.Destination{test.dest})
			if err != nil || got.name() != test.name || got.everywhere != test.everywhere {
				t.Errorf("findBase() = %q, %q, %v, want %q, %q", got.name(), got.everywhere, err, test.name, test.everywhere)
			}
		})
	}
}
