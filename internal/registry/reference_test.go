package registry_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/registry"
)

func TestParseReference(t *testing.T) {
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	tests := []struct{ ref, dir, name, remote, scheme, tag string }{
		{ref: "ghcr.io/org/image:latest", remote: "ghcr.io/org/image", scheme: "https", tag: "latest"},
		{ref: "ghcr.io/org/image", remote: "ghcr.io/org/image", scheme: "https", tag: "latest"},
		{ref: "ghcr.io/org/image@" + digest, remote: "ghcr.io/org/image", scheme: "https", tag: digest},
		{ref: "http://registry.example:5000/image:1", remote: "registry.example:5000/image", scheme: "http", tag: "1"},
		{ref: "http://registry/org/image:1", remote: "registry:80/org/image", scheme: "http", tag: "1"}, // docker.io/registry/org/image otherwise
		{ref: "http://registry:5000/image:1", remote: "registry:5000/image", scheme: "http", tag: "1"},
		{ref: "localhost/image:1", remote: "localhost/image", scheme: "https", tag: "1"},
		{ref: "org/image:1", remote: "index.docker.io/org/image", scheme: "https", tag: "1"},
		{ref: "alpine:3.20", remote: "index.docker.io/library/alpine", scheme: "https", tag: "3.20"},
		{ref: "oci:./a:b:image:latest", dir: "./a:b", name: "image", tag: "latest"},
		{ref: "oci:/a:image@" + digest, dir: "/a", name: "image", tag: digest},
	}
	for _, test := range tests {
		got, err := registry.ParseReference(test.ref)
		if err != nil || got.Dir != test.dir || got.Name != test.name || got.Tag != test.tag {
			t.Errorf("ParseReference(%q) = %+v, %v, want %+v", test.ref, got, err, test)
		}
		if test.dir == "" && (got.Remote.Name() != test.remote || got.Remote.Scheme() != test.scheme) {
			t.Errorf("ParseReference(%q).Remote = %s by %s, want %s by %s", test.ref, got.Remote, got.Remote.Scheme(), test.remote, test.scheme)
		}
	}
	for ref, incomplete := range map[string]bool{
		"oci:": true, "oci:a": true, "oci:a:b": true, "oci::b:c": true, "oci:a::c": true, "oci:a:b:": true, "oci:a@" + digest: true,
		"oci:a:b@sha256:0": false, "UPPER/case:1": false, "": false,
	} {
		if _, err := registry.ParseReference(ref); err == nil || errors.Is(err, registry.ErrNoLayoutReference) != incomplete {
			t.Errorf("ParseReference(%q) = %v, want an error, ErrNoLayoutReference: %v", ref, err, incomplete)
		}
	}
}

// The host of a registry is no image of Docker Hub.
func TestParseReferenceOfHostAlone(t *testing.T) {
	for _, ref := range []string{
		"ghcr.io", "ghcr.io:main", "ghcr.io@sha256:" + strings.Repeat("0", 64),
		"localhost", "localhost:5000", "127.0.0.1:5000", "http://registry", "http://registry:5000",
	} {
		want := fmt.Sprintf("%q names a registry and no image in it", strings.TrimPrefix(ref, "http://"))
		if got, err := registry.ParseReference(ref); err == nil || err.Error() != want {
			t.Errorf("ParseReference(%q) = %+v, %v, want %s", ref, got, err, want)
		}
	}
}
