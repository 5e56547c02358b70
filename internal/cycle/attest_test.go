package cycle_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdxlib"

	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/provenance"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
	"github.com/nixpkgs-factory/factory/internal/sbom"
	"github.com/nixpkgs-factory/factory/internal/sign"
)

// attests has everything said of images that can be.
func (w *world) attests() {
	w.t.Helper()
	w.config.Attest = true
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.key, err = sign.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil); err != nil {
		w.t.Fatal(err)
	}
}

// said returns what is said of a manifest at a destination, by its type. All of it
// has to be signed, and the manifest, too.
func (w *world) said(destination int, channel string, of v1.Hash) map[string]string {
	w.t.Helper()
	repo, err := w.repository(w.config.Publish[destination], "nixpkgs-"+channel)
	if err != nil {
		w.t.Fatal(err)
	}
	list, err := repo.Referrers(w.t.Context(), of)
	if err != nil {
		w.t.Fatal(err)
	}
	all := make(map[string]string)
	for _, desc := range list {
		if _, twice := all[desc.ArtifactType]; twice {
			w.t.Errorf("%s: there are two of %s", of, desc.ArtifactType)
		}
		all[desc.ArtifactType] = content(w.t, repo, desc.Digest)
		if missing, err := repo.Missing(w.t.Context(), desc.Digest); err != nil || len(missing) > 0 {
			w.t.Errorf("of %s there is missing %v, %v", desc.ArtifactType, missing, err)
		}
		w.signed(repo, desc.Digest)
	}
	w.signed(repo, of)
	return all
}

func (w *world) signed(repo registry.Repository, digest v1.Hash) {
	w.t.Helper()
	list, err := sign.List(w.t.Context(), repo, digest)
	if err != nil || len(list) != 1 || !list[0].By(w.key.Public()) {
		w.t.Errorf("%s has the signatures %v, %v, want one by the key", repo.Ref(digest.String()), list, err)
	}
}

func content(t testing.TB, repo registry.Repository, digest v1.Hash) string {
	t.Helper()
	img, err := repo.Image(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	stack, err := img.Layers()
	if err != nil || len(stack) != 1 {
		t.Fatalf("%d blobs, %v, want one", len(stack), err)
	}
	rc, err := stack[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	text, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What is said of an image goes beside it, wherever it is published, and the image is
// the one that it is without.
func TestAttest(t *testing.T) {
	t.Parallel()
	plain := newWorld(t, settings{channels: onlyRelease})
	want := plain.expect(release + ": build (new commit)")[0].Published[0].Digest

	w := newWorld(t, settings{channels: onlyRelease, publish: []string{registrytest.Start(t, registrytest.Options{}) + "/org", "oci:registry"}})
	w.attests()
	published := w.expect(release + ": build (new commit)")[0].Published
	if len(published) != 2 || published[0].Digest != want || published[1].Digest != want {
		t.Fatalf("published %v, want %s: it is to be the same image", published, want)
	}
	_, index := w.index(release, "latest")
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	system := manifest.Manifests[0].Digest
	bills, origins := w.said(0, release, system), w.said(0, release, want)
	if !slices.Equal([]int{len(bills), len(origins)}, []int{1, 1}) {
		t.Fatalf("there are %d things said of the image of a system and %d of all, want the SBOM and the provenance", len(bills), len(origins))
	}
	isBillOf(t, bills[sbom.MediaType], system)
	for _, text := range []string{want.Hex, w.upstream.Head(release), "https://example.org/builder", `"gitTree":"` + w.fixture.Commit("release-doc").Tree, foreign} {
		if !strings.Contains(origins[provenance.MediaType], text) {
			t.Errorf("the provenance does not say %s:\n%s", text, origins[provenance.MediaType])
		}
	}
	if a, b := fmt.Sprint(bills, origins), fmt.Sprint(w.said(1, release, system), w.said(1, release, want)); a != b {
		t.Errorf("the layout says otherwise than the registry:\n%s\n%s", a, b)
	}

	w.mark()
	w.expect(release + ": none (up to date)")
	w.polledOnly(1)
	heads, others := w.wire.count("HEAD", "/manifests/"), w.wire.count("GET", "/v2/o")+w.wire.count("PUT", "")+w.wire.count("POST", "")
	if heads != 2 || others != 0 {
		t.Errorf("%d HEAD and %d other requests to the registry with nothing to do, want one for each tag, as without", heads, others)
	}

	w.mark()
	if r := w.rebuild(release, ""); r.Err != nil {
		t.Fatal(r.Err)
	}
	if n := w.wire.count("PUT", "/blobs/"); n != 0 {
		t.Errorf("%d blobs were sent again", n)
	}
	// The tag of the commit, and latest.
	if n := w.wire.count("PUT", "/manifests/"); n != 2 {
		t.Errorf("%d manifests were sent again", n)
	}
	w.said(0, release, want)
}

// isBillOf fails the test unless a text is a sound SPDX document of an image.
func isBillOf(t testing.TB, text string, of v1.Hash) {
	t.Helper()
	doc, err := spdxjson.Read(bytes.NewReader([]byte(text)))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if err := spdxlib.ValidateDocument(doc); err != nil {
		t.Error(err)
	}
	names := make(map[string]string)
	for _, p := range doc.Packages {
		names[p.PackageName] = p.PackageVersion
	}
	if names["nixpkgs-"+release] != of.String() || names["nixpkgs"] == "" || names["jq"] == "" || len(names) < 20 {
		t.Errorf("the packages are %v, want the image, nixpkgs and its tools", names)
	}
}

// Machines that have each made one system's image say together what one says that has
// made all.
func TestAttestInParts(t *testing.T) {
	t.Parallel()
	whole, parts := newWorld(t, settings{channels: onlyRelease}), newWorld(t, settings{channels: onlyRelease})
	whole.attests()
	parts.config.Attest, parts.key = true, whole.key
	digest := whole.expect(release + ": build (new commit)")[0].Published[0].Digest
	part := parts.part(foreign)
	if part.Bill == (v1.Hash{}) {
		t.Error("the part has no SBOM")
	}
	if r := parts.join([]cycle.Part{part}); r.Err != nil || r.Published[0].Digest != digest {
		t.Fatalf("joined %v, %v, want %s", r.Published, r.Err, digest)
	}
	_, index := whole.index(release, "latest")
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []v1.Hash{digest, manifest.Manifests[0].Digest} {
		if a, b := fmt.Sprint(whole.said(0, release, of)), fmt.Sprint(parts.said(0, release, of)); a != b {
			t.Errorf("of %s one says\n%s\nand several\n%s", of, a, b)
		}
	}
}

// An image of which not all can be said gets no tag, wherever it fails, and the next
// cycle tries again.
func TestAttestFails(t *testing.T) {
	t.Parallel()
	for what, isPart := range map[string]func(path string) bool{
		"SBOM or provenance": func(path string) bool { return !strings.HasSuffix(path, ".sig") },
		"signature":          func(path string) bool { return strings.HasSuffix(path, ".sig") },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, settings{channels: onlyRelease, publish: []string{"oci:registry", registrytest.Start(t, registrytest.Options{}) + "/org"}})
			w.attests()
			w.wire.fails(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/sha256-") && isPart(r.URL.Path) {
					return nil, errors.New("the line is cut")
				}
				return nil, nil
			})
			result := w.cycle()[0]
			if result.Err == nil || !strings.Contains(result.Err.Error(), "attest: ") || !strings.Contains(result.Err.Error(), "the line is cut") {
				t.Errorf("the cycle ends with %v", result.Err)
			}
			if len(result.Published) != 0 || w.tag(0, release, "latest") != "" || w.tag(1, release, "latest") != "" {
				t.Errorf("published %v, and latest is %q and %q", result.Published, w.tag(0, release, "latest"), w.tag(1, release, "latest"))
			}
			w.wire.fails(nil)
			w.now = w.now.Add(time.Hour)
			again := w.cycle()[0]
			if again.Err != nil || len(again.Published) != 2 {
				t.Fatalf("published %v, %v", again.Published, again.Err)
			}
			for destination := range 2 {
				w.said(destination, release, again.Published[0].Digest)
			}
		})
	}
}

// A key that cannot be read is told before anything is made.
func TestAttestWithoutTheKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	f := w.open()
	defer f.Store.Close()
	f.Sign = func() (*sign.Key, error) { return nil, sign.ErrPassword }
	results, err := f.Cycle(t.Context(), cycle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if !errors.Is(r.Err, sign.ErrPassword) || len(r.Published) > 0 {
			t.Errorf("%s: %v, %v, want nothing for want of the password", r.Channel, r.Published, r.Err)
		}
	}
	if n := len(w.asked()["archive"]); n > 0 {
		t.Errorf("nixpkgs was fetched %d times", n)
	}
}
