// Package provenance says where an image comes from: an in-toto statement
// (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md) with SLSA
// provenance (https://slsa.dev/spec/v1.0/provenance) in it.
//
// It has no times and no number of a run in it: the same builder says the same of
// the same image, however often it is asked.
package provenance

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Types of the statement and of what it says.
const (
	MediaType     = "application/vnd.in-toto+json"
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://slsa.dev/provenance/v1"
)

const pages = "https://github.com/nixpkgs-factory/factory/blob/main/docs/supply-chain.md"

// BuildType says how an image is built, and what the parameters mean.
const BuildType = pages + "#build-type"

// Elsewhere is the builder where the environment tells of none.
const Elsewhere = pages + "#builder"

// Image is what is said of an image.
type Image struct {
	Name   string // of the repository, as in nixpkgs-nixos-26.05
	Digest string // of the index, as in sha256:…

	Repository string // of nixpkgs on GitHub, as in NixOS/nixpkgs
	Channel    string
	Revision   string // the commit of nixpkgs
	Tree       string // its git tree; "" if it is not known
	NarHash    nix.Hash
	ImageName  string // of the image folder
	Recipe     string
	Systems    []string // as in x86_64-linux
	Keys       []string // public keys that narinfos were trusted by
	Builder    string
}

type statement struct {
	Type          string       `json:"_type"`
	Subject       []descriptor `json:"subject"`
	PredicateType string       `json:"predicateType"`
	Predicate     predicate    `json:"predicate"`
}

// descriptor is a resource
// (https://github.com/in-toto/attestation/blob/main/spec/v1/resource_descriptor.md).
type descriptor struct {
	Name      string            `json:"name,omitempty"`
	URI       string            `json:"uri,omitempty"`
	Digest    map[string]string `json:"digest"`
	MediaType string            `json:"mediaType,omitempty"`
}

type predicate struct {
	Definition definition `json:"buildDefinition"`
	Run        runDetails `json:"runDetails"`
}

type definition struct {
	BuildType    string       `json:"buildType"`
	External     external     `json:"externalParameters"`
	Internal     internal     `json:"internalParameters"`
	Dependencies []descriptor `json:"resolvedDependencies"`
}

// external is what was asked for.
type external struct {
	Repository string   `json:"repository"`
	Channel    string   `json:"channel"`
	Revision   string   `json:"revision"`
	Image      string   `json:"image"`
	Systems    []string `json:"systems"`
}

// internal is what the builder was set up with.
type internal struct {
	Recipe string   `json:"recipe"`
	Keys   []string `json:"trustedKeys"`
}

type runDetails struct {
	Builder builder `json:"builder"`
}

type builder struct {
	ID string `json:"id"`
}

// Statement returns the statement in JSON.
func (i Image) Statement() ([]byte, error) {
	algo, sum, _ := strings.Cut(i.Digest, ":")
	data, err := json.Marshal(statement{
		Type:          StatementType,
		Subject:       []descriptor{{Name: i.Name, Digest: map[string]string{algo: sum}}},
		PredicateType: PredicateType,
		Predicate: predicate{
			Definition: definition{
				BuildType:    BuildType,
				External:     external{i.Repository, i.Channel, i.Revision, i.ImageName, append([]string{}, i.Systems...)},
				Internal:     internal{i.Recipe, append([]string{}, i.Keys...)},
				Dependencies: i.dependencies(),
			},
			Run: runDetails{builder{i.Builder}},
		},
	})
	return append(data, '\n'), err
}

// dependencies are nixpkgs, as git knows it and as Nix does.
func (i Image) dependencies() []descriptor {
	commit := map[string]string{"gitCommit": i.Revision}
	if i.Tree != "" {
		commit["gitTree"] = i.Tree
	}
	list := []descriptor{{Name: "nixpkgs", URI: "git+https://github.com/" + i.Repository + "@" + i.Revision, Digest: commit}}
	if !i.NarHash.IsZero() {
		list = append(list, descriptor{Name: "nixpkgs, unpacked, as a NAR", Digest: map[string]string{"sha256": i.NarHash.Base16()}, MediaType: "application/x-nix-nar"})
	}
	return list
}

// Builder names who builds, by what a CI service says in the environment: the
// workflow, or the project of one that does not say it.
func Builder(env func(string) string) string {
	server := env("GITHUB_SERVER_URL")
	for _, at := range []struct{ base, path string }{
		{server, env("GITHUB_WORKFLOW_REF")},
		{server, env("GITHUB_REPOSITORY")},
		{env("CI_PROJECT_URL"), "-/pipelines"},
	} {
		if id := join(at.base, at.path); id != "" {
			return id
		}
	}
	return Elsewhere
}

// join is an address below another one, without whoever is named in it; "" where a
// part is missing.
func join(base, path string) string {
	u, err := url.Parse(base)
	if err != nil || path == "" || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	clean := url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, "/") + "/" + path}
	return clean.String()
}
