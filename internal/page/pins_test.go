package page

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/nixpkgs-factory/factory/internal/pin"
)

// pinsOf are the texts of the sample's first image, by their titles.
func pinsOf(t *testing.T) (image published, texts map[string]string) {
	t.Helper()
	image = sample(t).site(Options{}).Channels[0].Images[0]
	texts = make(map[string]string)
	for _, p := range image.Pins {
		texts[p.Title] = p.Text
	}
	return image, texts
}

// Where a pin is pasted, factory pin finds the image's commit with nothing to change.
func TestPinsAreUnderstood(t *testing.T) {
	image, texts := pinsOf(t)
	rev := image.Publication.Rev
	target := pin.Target{
		Channel: "nixos-26.05", Rev: rev, NarHash: image.Contents.NarHash, LastModified: image.Contents.Date.Unix(),
		Digests: map[string]string{"ghcr.io/nixpkgs-factory/nixpkgs-nixos-26.05:" + rev.String(): image.Publication.Digest.String()},
	}
	for file, text := range map[string]string{
		"Dockerfile":         texts["Dockerfile"] + "\n",
		"default.nix":        "import (" + texts["fetchTarball"] + ") { }\n",
		"nix/sources.json":   "{\n" + texts["niv: nix/sources.json"] + "\n}\n",
		"npins/sources.json": `{ "pins": {` + "\n" + texts["npins: npins/sources.json, version 6 and newer"] + "\n" + `}, "version": 6 }` + "\n",
	} {
		spots, err := pin.Find(file, []byte(text), pin.Options{})
		if err != nil || len(spots) != 1 {
			t.Errorf("%s: %v, %v, want one spot in\n%s", file, spots, err, text)
			continue
		}
		if s := spots[0]; s.Left != "" || s.Rev != rev.String() {
			t.Errorf("%s: it names %q, want %s; left alone: %q", file, s.Rev, rev, s.Left)
		}
		edits, err := spots[0].Edits(target)
		if err != nil || len(edits) > 0 {
			t.Errorf("%s: to be changed: %v, %v, in\n%s", file, edits, err, text)
		}
	}
}

// Nix reads the pins, and an engine the references.
func TestPinsAreValid(t *testing.T) {
	image, texts := pinsOf(t)
	program, err := exec.LookPath("nix-instantiate")
	if err != nil {
		t.Skip("Nix is not installed (Debian package nix-bin)")
	}
	for title, expression := range map[string]string{
		"fetchTarball": texts["fetchTarball"],
		"flake.nix":    "{ " + texts["flake.nix"] + " outputs = _: { }; }",
	} {
		if out, err := exec.Command(program, "--parse", "--expr", expression).CombinedOutput(); err != nil || !strings.Contains(string(out), image.Publication.Rev.String()) {
			t.Errorf("%s: %v\n%s", title, err, out)
		}
	}
	for title, before := range map[string]string{"Dockerfile": "FROM ", "Pull": "docker pull "} {
		text, ok := strings.CutPrefix(texts[title], before)
		ref, err := name.NewDigest(text)
		if !ok || err != nil || ref.DigestStr() != image.Publication.Digest.String() {
			t.Errorf("%s: %q: %v", title, texts[title], err)
		}
	}
}
