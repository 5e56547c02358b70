package cycle_test

import (
	"bytes"
	"os/exec"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// What the repositories of a registry have in common is sent once, in the first
// cycle too; skopeo copies it all to another registry, digests and all.
func TestOneRegistryForAllChannels(t *testing.T) {
	t.Parallel()
	from, to := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	w := newWorld(t, settings{
		publish:  []string{from + "/org"},
		channels: "[ { name: nixos-26.05, tags: [ latest ] }, { name: nixos-unstable, tags: [ latest ] } ]",
	})
	w.expect(release+": build (new commit)", unstable+": build (new commit)")

	blobs, all := map[v1.Hash]bool{}, 0
	for _, channel := range []string{release, unstable} {
		_, index := w.index(channel, "latest")
		list, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, desc := range list.Manifests {
			img, err := index.Image(desc.Digest)
			if err != nil {
				t.Fatal(err)
			}
			m, err := img.Manifest()
			if err != nil {
				t.Fatal(err)
			}
			for _, blob := range append(m.Layers, m.Config) {
				blobs[blob.Digest] = true
				all++
			}
		}
	}
	if sent := w.wire.count("PUT", "/blobs/"); sent != len(blobs) || all == len(blobs) {
		t.Errorf("%d blobs sent, want %d: the images name %d", sent, len(blobs), all)
	}

	repo, index := w.index(release, "latest")
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	copied := to + "/group/nixpkgs-" + release
	out, err := exec.Command("skopeo", "copy", "--all", "--preserve-digests", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false",
		"docker://"+repo.Ref("latest"), "docker://"+copied+":latest").CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo copy: %v: %s", err, out)
	}
	out, err = exec.Command("skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+copied+":latest").CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo inspect: %v: %s", err, out)
	}
	if got, _, err := v1.SHA256(bytes.NewReader(out)); err != nil || got != digest {
		t.Errorf("the copy's digest is %s, %v, want %s", got, err, digest)
	}
}
