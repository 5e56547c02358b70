package workflows

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
)

// renovateConfig is what of Renovate's configuration the example uses.
type renovateConfig struct {
	Schema         string `json:"$schema"`
	Description    string `json:"description"`
	CustomManagers []struct {
		CustomType          string   `json:"customType"`
		ManagerFilePatterns []string `json:"managerFilePatterns"`
		MatchStrings        []string `json:"matchStrings"`
		DatasourceTemplate  string   `json:"datasourceTemplate"`
		VersioningTemplate  string   `json:"versioningTemplate"`
	} `json:"customManagers"`
	PackageRules []struct {
		MatchManagers     []string `json:"matchManagers"`
		MatchPackageNames []string `json:"matchPackageNames"`
		Enabled           *bool    `json:"enabled"`
		GroupName         string   `json:"groupName"`
		PostUpgradeTasks  *struct {
			Commands      []string `json:"commands"`
			FileFilters   []string `json:"fileFilters"`
			ExecutionMode string   `json:"executionMode"`
		} `json:"postUpgradeTasks"`
	} `json:"packageRules"`
}

// The expressions of the example for Renovate find what the document tells people to
// write, and what a channel has for tags. Renovate's own are RE2, as Go's.
func TestRenovate(t *testing.T) {
	data, err := os.ReadFile(examples + "/renovate.json")
	if err != nil {
		t.Fatal(err)
	}
	var c renovateConfig
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		t.Fatal(err)
	}
	m := c.CustomManagers[0]
	files := regexp.MustCompile(strings.Trim(m.ManagerFilePatterns[0], "/"))
	for name, want := range map[string]bool{"Dockerfile": true, "a/Containerfile": true, "docker/Dockerfile.dev": true, "Dockerfile/x": false, "README.md": false} {
		if files.MatchString(name) != want {
			t.Errorf("%s: is looked into: %t, want %t", name, !want, want)
		}
	}

	page, err := os.ReadFile(root + "/docs/pinning.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(m.MatchStrings[0])
	match := found.FindStringSubmatch(string(page))
	if match == nil {
		t.Fatalf("docs/pinning.md has nothing that %s finds", found)
	}
	name, date := match[found.SubexpIndex("depName")], match[found.SubexpIndex("currentValue")]
	if name != "ghcr.io/org/nixpkgs-nixos-26.05" || !strings.Contains(string(page), match[0]+"FROM "+name+":<commit>") {
		t.Errorf("the document's comment is for %q, and what follows is no FROM of it", name)
	}

	pattern, ok := strings.CutPrefix(m.VersioningTemplate, "regex:")
	versions := regexp.MustCompile(pattern)
	tags := config.Tags{Templates: []string{"latest", "{date}", "{date}-{rev:7}"}}.For(config.TagValues{
		Rev: gittest.Rev("a"), Date: time.Date(2026, 11, 20, 23, 0, 0, 0, time.UTC),
	})
	if !ok || versions.MatchString(tags[0]) || !versions.MatchString(tags[1]) || versions.MatchString(tags[2]) || !versions.MatchString(date) || tags[1] != "20261120" {
		t.Errorf("%s does not tell the tag of a day among %v, and %s", versions, tags, date)
	}
	packages := regexp.MustCompile(strings.Trim(c.PackageRules[1].MatchPackageNames[0], "/"))
	if !packages.MatchString(name) || !packages.MatchString("nixpkgs-nixos-26.05") || packages.MatchString("ghcr.io/org/my-nixpkgs-tool") {
		t.Errorf("%s does not tell images of nixpkgs", packages)
	}
	if c.PackageRules[0].Enabled == nil || *c.PackageRules[0].Enabled || c.PackageRules[1].PostUpgradeTasks.Commands[0] != "factory pin" {
		t.Error("Renovate would change images by itself, or does not run factory pin")
	}
}
