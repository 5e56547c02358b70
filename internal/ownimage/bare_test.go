package ownimage

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

// certified is a base with a store object that has a file, and is a tool of the name.
func certified(t *testing.T, tool, file string) v1.ImageIndex {
	t.Helper()
	system, err := config.ParseSystem("x86_64-linux")
	if err != nil {
		t.Fatal(err)
	}
	path, err := nix.ParseStorePathBase(strings.Repeat("0", 32) + "-" + tool + "-1")
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layers.Packer{Dir: t.TempDir()}.Files([]layers.File{{Path: path.String() + "/" + file, Mode: 0o444, Data: []byte("certificates")}}, "")
	if err != nil {
		t.Fatal(err)
	}
	layer.Key, layer.Paths = "sha256:certificates", []string{path.Base()}
	img, err := image.Assemble(
		image.Facts{Recipe: "sha256:1", Nixpkgs: &image.Nixpkgs{Channel: "nixos-26.05", Rev: gittest.Rev("ab"), Date: time.Unix(1780221600, 0), NarHash: nix.Hash{1}, Repository: "NixOS/nixpkgs"}},
		image.Settings{System: system, Set: toolset.Toolset{Tools: []toolset.Tool{{Attr: "cacert", Name: tool, Version: "1", Path: path}}, Env: map[string]string{"NIX_PATH": "x"}, Cmd: []string{"bash"}}},
		[]*layers.Layer{layer})
	if err != nil {
		t.Fatal(err)
	}
	index, err := image.Index([]image.Part{{System: system, Image: img}})
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// A bare image has the factory, and of the base the certificates.
func TestBare(t *testing.T) {
	base := pushed(t, registry.Layout(t.TempDir(), "base"), certified(t, "nss-cacert", "etc/ssl/certs/ca-bundle.crt"))
	to := registry.Layout(t.TempDir(), "factory")
	o := options(t, base, to)
	o.Bare = true
	if _, err := Publish(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	index, err := to.Index(t.Context(), "latest")
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	conf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"HOME=/var/lib/factory", "PATH=/usr/local/bin", "FACTORY_CONFIG=/etc/factory/channels.yaml", "FACTORY_STATE=/var/lib/factory/factory.db",
		"FACTORY_CACHE_DIR=/var/lib/factory/work", "FACTORY_REVISION=c0ffee", "FACTORY_IMAGE_SOURCE=https://example.org/fork",
	}
	if diff := cmp.Diff(want, conf.Config.Env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if conf.Config.Labels["org.opencontainers.image.base.digest"] != "" || conf.Config.Labels["org.opencontainers.image.created"] == "" {
		t.Errorf("labels: %v", conf.Config.Labels)
	}
	stack, err := img.Layers()
	if err != nil || len(stack) != 1 {
		t.Fatalf("%d layers, %v", len(stack), err)
	}
	entries := unpack(t, stack[0], t.TempDir())
	for name, want := range map[string]string{
		"usr/local/bin/factory":             "-rwxr-xr-x factory for x86_64-linux",
		"etc/ssl/certs/ca-certificates.crt": "-rw-r--r-- certificates",
		"tmp/":                              "dtrwxrwxrwx ",
		"var/lib/factory/":                  "dtrwxrwxrwx ",
		"bin/sleep":                         "",
		"etc/factory/images/base/image.nix": "-rw-r--r-- …",
	} {
		if got := entries[name]; got != want {
			t.Errorf("entry %q is %q, want %q", name, got, want)
		}
	}
}

// A base whose certificates are not where they should be is refused.
func TestBareWithoutCertificates(t *testing.T) {
	for want, index := range map[string]v1.ImageIndex{
		"has no nss-cacert":       certified(t, "other", "etc/ssl/certs/ca-bundle.crt"),
		"etc/ssl/certs/ca-bundle": certified(t, "nss-cacert", "etc/other"),
	} {
		o := options(t, pushed(t, registry.Layout(t.TempDir(), "base"), index), registry.Layout(t.TempDir(), "factory"))
		o.Bare = true
		if _, err := Publish(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Publish() = %v, want an error that says %q", err, want)
		}
	}
}
