package pin

import (
	"strings"
	"testing"
)

var dockerfiles = []spotsCase{
	{name: "stages", in: "FROM --platform=$BUILDPLATFORM ghcr.io/org/nixpkgs-nixos-26.05:OLD AS build\nRUN x\nFROM scratch\nCOPY --from=build / /\nFROM ghcr.io/org/nixpkgs-nixos-26.05:OLD",
		out: "FROM --platform=$BUILDPLATFORM ghcr.io/org/nixpkgs-nixos-26.05:NEW AS build\nRUN x\nFROM scratch\nCOPY --from=build / /\nFROM ghcr.io/org/nixpkgs-nixos-26.05:NEW"},
	{name: "CRLF, tabs and case", in: "# x\r\nfrom\torg/nixpkgs-nixos-26.05:OLD\tas\tb\r\n\r\n", out: "# x\r\nfrom\torg/nixpkgs-nixos-26.05:NEW\tas\tb\r\n\r\n"},
	{name: "digest", images: []string{"h:5000/o/nixpkgs-nixos-26.05:NEW"}, in: "FROM h:5000/o/nixpkgs-nixos-26.05:OLD@DIGEST\n", out: "FROM h:5000/o/nixpkgs-nixos-26.05:NEW@NEWDIGEST\n"},
	{name: "digest alone", images: []string{"org/nixpkgs-nixos-26.05:NEW"}, in: "FROM org/nixpkgs-nixos-26.05@DIGEST\n", out: "FROM org/nixpkgs-nixos-26.05@NEWDIGEST\n"},
	{name: "suffix", in: "FROM org/nixpkgs-nixos-26.05:OLD-slim\n", out: "FROM org/nixpkgs-nixos-26.05:NEW-slim\n"},
	{name: "moving tags", in: "FROM o/nixpkgs-nixos-26.05\nFROM o/nixpkgs-nixos-26.05:latest-slim\nFROM o/nixpkgs-nixos-26.05:2026-05-26-0123456789ab\nFROM o/nixpkgs-nixos-26.05:20260526\n",
		out: "FROM o/nixpkgs-nixos-26.05:NEW\nFROM o/nixpkgs-nixos-26.05:NEW-slim\nFROM o/nixpkgs-nixos-26.05:NEW\nFROM o/nixpkgs-nixos-26.05:NEW\n"},
	{name: "other tag", in: "FROM o/nixpkgs-nixos-26.05:mine\n", out: "FROM o/nixpkgs-nixos-26.05:mine\n", left: []string{"its tag mine"}},
	{name: "arguments", images: []string{"org/nixpkgs-nixos-26.05:NEW"}, in: "ARG REV=OLD\nARG D='DIGEST' X=1\nARG BASE=\"org/nixpkgs-nixos-26.05:${REV}@$D\"\nFROM ${BASE} AS a\nFROM org/nixpkgs-nixos-26.05:$REV\nARG REV=OLD\n",
		out: "ARG REV=NEW\nARG D='NEWDIGEST' X=1\nARG BASE=\"org/nixpkgs-nixos-26.05:${REV}@$D\"\nFROM ${BASE} AS a\nFROM org/nixpkgs-nixos-26.05:$REV\nARG REV=OLD\n"},
	{name: "argument for the channel", channel: "nixos-26.11", in: "ARG C=nixos-26.05\nARG R=OLD\nFROM org/nixpkgs-${C}:${R}\n", out: "ARG C=nixos-26.11\nARG R=NEW\nFROM org/nixpkgs-${C}:${R}\n"},
	{name: "default in place", in: "FROM org/nixpkgs-nixos-26.05:${REV:-OLD}\n", out: "FROM org/nixpkgs-nixos-26.05:${REV:-NEW}\n"},
	{name: "argument without default", in: "ARG REV\nFROM org/nixpkgs-nixos-26.05:$REV\n", out: "ARG REV\nFROM org/nixpkgs-nixos-26.05:$REV\n", left: []string{"REV has no default"}},
	{name: "of two halves", in: "ARG A=" + strings.Repeat("0a", 10) + "\nFROM org/nixpkgs-nixos-26.05:$A$A\n", out: "ARG A=" + strings.Repeat("0a", 10) + "\nFROM org/nixpkgs-nixos-26.05:$A$A\n", left: []string{inParts}},
	{name: "one argument, two uses", channel: "nixos-26.11", in: "ARG T=nixos-26.05\nFROM org/nixpkgs-$T:OLD\nFROM org/nixpkgs-nixos-26.05:OLD\n", out: "ARG T=nixos-26.11\nFROM org/nixpkgs-$T:NEW\nFROM org/nixpkgs-nixos-26.11:NEW\n"},
	{name: "continued, with comments", in: "FROM \\\n # org/nixpkgs-nixos-26.05:OLD\n  org/nixpkgs-nixos-26.05:OLD \\\n AS x\n", out: "FROM \\\n # org/nixpkgs-nixos-26.05:OLD\n  org/nixpkgs-nixos-26.05:NEW \\\n AS x\n"},
	{name: "escape directive", in: "# escape=`\nFROM `\norg/nixpkgs-nixos-26.05:OLD\n", out: "# escape=`\nFROM `\norg/nixpkgs-nixos-26.05:NEW\n"},
	{name: "here-documents", in: "FROM org/nixpkgs-nixos-26.05:OLD\nRUN <<A cat <<-'B'\nFROM org/nixpkgs-nixos-26.05:OLD\nA\nFROM org/nixpkgs-nixos-26.05:OLD\n\tB\nCOPY --from=org/nixpkgs-nixos-26.05:OLD /a /b\n",
		out: "FROM org/nixpkgs-nixos-26.05:NEW\nRUN <<A cat <<-'B'\nFROM org/nixpkgs-nixos-26.05:OLD\nA\nFROM org/nixpkgs-nixos-26.05:OLD\n\tB\nCOPY --from=org/nixpkgs-nixos-26.05:NEW /a /b\n"},
	{name: "mounts", in: "FROM debian\nRUN --mount=type=bind,from=org/nixpkgs-nixos-26.05:OLD,target=/x --mount=from=org/nixpkgs-nixos-26.05:OLD-slim,target=/y echo --mount=from=a\n",
		out: "FROM debian\nRUN --mount=type=bind,from=org/nixpkgs-nixos-26.05:NEW,target=/x --mount=from=org/nixpkgs-nixos-26.05:NEW-slim,target=/y echo --mount=from=a\n"},
	{name: "channels", channel: "nixos-unstable", images: []string{"org/nixpkgs-nixos-unstable:NEW"}, in: "FROM org/nixpkgs-nixos-26.05:OLD@DIGEST\n", out: "FROM org/nixpkgs-nixos-unstable:NEW@NEWDIGEST\n"},
	{name: "other images", in: "FROM nixpkgs/nix:latest\nFROM org/nixpkgs-fmt:OLD\nFROM debian\n", out: "FROM nixpkgs/nix:latest\nFROM org/nixpkgs-fmt:OLD\nFROM debian\n"},
}

func TestDockerfile(t *testing.T) {
	for i := range dockerfiles {
		dockerfiles[i].file = "Dockerfile"
	}
	runAll(t, dockerfiles)
}

func FuzzDockerfile(f *testing.F) { fuzz(f, "Dockerfile", dockerfiles) }

var yamlFiles = []spotsCase{
	{name: "compose", in: "services:\n  a: # x\n    image:   ghcr.io/org/nixpkgs-nixos-26.05:OLD   # why\n  b: {image: 'ghcr.io/org/nixpkgs-nixos-26.05:OLD-slim', x: [1,2]}\n",
		out: "services:\n  a: # x\n    image:   ghcr.io/org/nixpkgs-nixos-26.05:NEW   # why\n  b: {image: 'ghcr.io/org/nixpkgs-nixos-26.05:NEW-slim', x: [1,2]}\n"},
	{name: "compose variable", in: "services: {a: {image: \"org/nixpkgs-nixos-26.05:${REV:-OLD}\"}, b: {image: \"org/nixpkgs-nixos-26.05:${REV}\"}}\n",
		out: "services: {a: {image: \"org/nixpkgs-nixos-26.05:${REV:-NEW}\"}, b: {image: \"org/nixpkgs-nixos-26.05:${REV}\"}}\n", left: []string{"REV has no default"}},
	{name: "GitLab", in: "image:\r\n  name: org/nixpkgs-nixos-26.05:OLD\r\n  entrypoint: ['']\r\nvariables:\r\n  BASE: org/nixpkgs-nixos-26.05:OLD\r\n  NAME: org/nixpkgs-nixos-26.05\r\n",
		out: "image:\r\n  name: org/nixpkgs-nixos-26.05:NEW\r\n  entrypoint: ['']\r\nvariables:\r\n  BASE: org/nixpkgs-nixos-26.05:NEW\r\n  NAME: org/nixpkgs-nixos-26.05\r\n"},
	{name: "Actions", in: "jobs:\n  a:\n    container: org/nixpkgs-nixos-26.05\n  b:\n    container:\n      image: org/nixpkgs-nixos-26.05:latest\n    steps:\n      - uses: docker://org/nixpkgs-nixos-26.05:OLD\n",
		out: "jobs:\n  a:\n    container: org/nixpkgs-nixos-26.05:NEW\n  b:\n    container:\n      image: org/nixpkgs-nixos-26.05:NEW\n    steps:\n      - uses: docker://org/nixpkgs-nixos-26.05:NEW\n"},
	{name: "Kubernetes, two documents", images: []string{"org/nixpkgs-nixos-26.05:NEW"}, in: "kind: Pod\nspec: {containers: [{name: é, image: org/nixpkgs-nixos-26.05:OLD@DIGEST}]}\n---\nspec:\n  containers:\n  - image: &i org/nixpkgs-nixos-26.05:OLD\n  - image: *i\n",
		out: "kind: Pod\nspec: {containers: [{name: é, image: org/nixpkgs-nixos-26.05:NEW@NEWDIGEST}]}\n---\nspec:\n  containers:\n  - image: &i org/nixpkgs-nixos-26.05:NEW\n  - image: *i\n"},
	{name: "escapes and blocks", in: "a:\n  image: \"org/nixpkgs-nixos\\x2d26.05:OLD\"\nb:\n  image: >-\n    org/nixpkgs-nixos-26.05:OLD\nc: org/nixpkgs-nixos-26.05\n",
		out: "a:\n  image: \"org/nixpkgs-nixos\\x2d26.05:OLD\"\nb:\n  image: >-\n    org/nixpkgs-nixos-26.05:OLD\nc: org/nixpkgs-nixos-26.05\n", left: []string{isEscaped, isEscaped}},
}

func TestYAML(t *testing.T) {
	for i := range yamlFiles {
		yamlFiles[i].file = "compose.yaml"
	}
	runAll(t, yamlFiles)
}

func FuzzYAML(f *testing.F) { fuzz(f, "compose.yaml", yamlFiles) }

func TestBadYAML(t *testing.T) {
	text := "image: org/nixpkgs-nixos-26.05:{{ .Values.tag }}\n  x: [\n"
	if spots, err := Find("chart.yaml", []byte(text), Options{}); err == nil {
		t.Errorf("Find = %v, want an error", spots)
	}
}

var devcontainers = []spotsCase{
	{name: "comments", in: "// for {\"editors\"}\n{\n\t\"name\": \"x // y\", /* \"image\": 1 */\n\t\"image\" : \"org/nixpkgs-nixos-26.05:OLD\", // base,\n\t\"features\": {\"a\": [1,],},\n}\n",
		out: "// for {\"editors\"}\n{\n\t\"name\": \"x // y\", /* \"image\": 1 */\n\t\"image\" : \"org/nixpkgs-nixos-26.05:NEW\", // base,\n\t\"features\": {\"a\": [1,],},\n}\n"},
	{name: "escapes", in: `{"image": "org\/nixpkgs-nixos-26.05:OLD"}`, out: `{"image": "org\/nixpkgs-nixos-26.05:OLD"}`, left: []string{isEscaped}},
	{name: "another image", in: `{"image": "mcr.microsoft.com/devcontainers/base", "x": "nixpkgs"}`, out: `{"image": "mcr.microsoft.com/devcontainers/base", "x": "nixpkgs"}`},
}

func TestDevcontainer(t *testing.T) {
	for i := range devcontainers {
		devcontainers[i].file = ".devcontainer/devcontainer.json"
	}
	runAll(t, devcontainers)
}

func FuzzDevcontainer(f *testing.F) { fuzz(f, "devcontainer.json", devcontainers) }
