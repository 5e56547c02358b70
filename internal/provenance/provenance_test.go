package provenance

import (
	"encoding/json"
	"strings"
	"testing"

	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

func image() Image {
	return Image{
		Name: "nixpkgs-nixos-26.05", Digest: "sha256:" + strings.Repeat("1", 64),
		Repository: "NixOS/nixpkgs", Channel: "nixos-26.05", Revision: strings.Repeat("2", 40), Tree: strings.Repeat("3", 40),
		NarHash: nix.Hash{4}, ImageName: "base", Recipe: "r1", Systems: []string{"x86_64-linux"}, Keys: []string{"k:x"}, Builder: Elsewhere,
	}
}

// The library of those who made both formats reads it, and finds it whole.
func TestStatement(t *testing.T) {
	for name, change := range map[string]func(*Image){
		"with nixpkgs": func(*Image) {},
		"without":      func(i *Image) { i.NarHash, i.Tree, i.Keys = nix.Hash{}, "", nil },
	} {
		i := image()
		change(&i)
		data, err := i.Statement()
		if err != nil {
			t.Fatal(err)
		}
		var s intoto.Statement
		if err := protojson.Unmarshal(data, &s); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, data)
		}
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, data)
		}
		if s.GetPredicateType() != "https://slsa.dev/provenance/v1" || s.GetSubject()[0].GetDigest()["sha256"] != strings.Repeat("1", 64) {
			t.Errorf("%s: the statement is of %v, %s", name, s.GetSubject(), s.GetPredicateType())
		}
		inner, err := json.Marshal(s.GetPredicate().AsMap())
		if err != nil {
			t.Fatal(err)
		}
		var p slsa.Provenance
		if err := protojson.Unmarshal(inner, &p); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, inner)
		}
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, inner)
		}
		deps := p.GetBuildDefinition().GetResolvedDependencies()
		if deps[0].GetDigest()["gitCommit"] != i.Revision || deps[0].GetUri() != "git+https://github.com/NixOS/nixpkgs@"+i.Revision {
			t.Errorf("%s: it depends on %v", name, deps)
		}
		if want := !i.NarHash.IsZero(); (len(deps) == 2) != want {
			t.Errorf("%s: %d dependencies, want the NAR among them: %v", name, len(deps), want)
		}
	}
}

func TestBuilder(t *testing.T) {
	for want, env := range map[string]map[string]string{
		"https://github.com/o/r/.github/workflows/publish.yml@refs/heads/main": {
			"GITHUB_SERVER_URL": "https://github.com", "GITHUB_WORKFLOW_REF": "o/r/.github/workflows/publish.yml@refs/heads/main", "GITHUB_REPOSITORY": "o/r"},
		"https://git.example.org/sub/o/r":            {"GITHUB_SERVER_URL": "https://git.example.org/sub/", "GITHUB_REPOSITORY": "o/r"},
		"https://gitlab.example.org/o/r/-/pipelines": {"CI_PROJECT_URL": "https://user:secret@gitlab.example.org/o/r"},
		Elsewhere:                           {},
		"http://forge.example.org:3000/o/r": {"GITHUB_SERVER_URL": "http://forge.example.org:3000", "GITHUB_REPOSITORY": "o/r", "CI_PROJECT_URL": "https://other.example.org"},
	} {
		if got := Builder(func(name string) string { return env[name] }); got != want {
			t.Errorf("Builder(%v) = %s, want %s", env, got, want)
		}
	}
}
