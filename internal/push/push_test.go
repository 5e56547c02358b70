package push_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/archive"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/progress"
	"github.com/nixpkgs-factory/factory/internal/push"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
	"github.com/nixpkgs-factory/factory/internal/reuse"
)

func sum(data []byte) v1.Hash {
	s := sha256.Sum256(data)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(s[:])}
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// pack writes an archive of pairs of a name and what is in it.
func pack(t testing.TB, members ...[2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if err := w.WriteHeader(&tar.Header{Name: m[0], Mode: 0o755, Size: int64(len(m[1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// config is that of an image with layers.
func config(t testing.TB, arch string, layers ...[]byte) []byte {
	var ids []string
	for _, l := range layers {
		ids = append(ids, sum(l).String())
	}
	c := map[string]any{"os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": ids}}
	if arch != "" {
		c["architecture"] = arch
	}
	return marshal(t, c)
}

// dockerArchive is one with layers that are named by their diffIDs, the manifest
// last.
func dockerArchive(t testing.TB, conf []byte, layers ...[]byte) []byte {
	var members [][2]string
	var names []string
	for _, l := range layers {
		names = append(names, sum(l).Hex+"/layer.tar")
		members = append(members, [2]string{names[len(names)-1], string(l)})
	}
	manifest := marshal(t, []any{map[string]any{"Config": "config.json", "Layers": names}})
	return pack(t, append(members, [2]string{"config.json", string(conf)}, [2]string{"manifest.json", string(manifest)})...)
}

// noise is a layer that compresses badly.
func noise(t testing.TB, seed uint64, size int) []byte {
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	r.Read(data)
	return pack(t, [2]string{"file", string(data)})
}

// file is an archive as a file, stream the same as a stream.
func file(t testing.TB, data []byte) push.Source {
	t.Helper()
	at := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(at, data, 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := archive.File(at, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return push.Source{Name: at, Source: s}
}

func stream(_ testing.TB, data []byte) push.Source {
	return push.Source{Name: "-", Source: archive.Stream("-", io.NopCloser(bytes.NewReader(data)), archive.Options{})}
}

// place is a repository of a registry that an Odd one is.
type place struct {
	registry.Repository
	client *registry.Client
	host   string
	sent   *atomic.Int64
}

func serve(t testing.TB, host string) place {
	t.Helper()
	p := place{host: host, sent: new(atomic.Int64)}
	p.client = registry.NewClient(registry.Options{Sent: p.sent, Push: true, Backoff: time.Millisecond})
	p.Repository = p.open(t, "app")
	return p
}

func (p place) open(t testing.TB, repository string) registry.Repository {
	t.Helper()
	repo, err := name.NewRepository(p.host + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.client.Repository(repo)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func pusher(t testing.TB, to registry.Repository, tags ...string) push.Pusher {
	t.Helper()
	return push.Pusher{To: to, Tags: tags, Encoding: layers.Gzip, Dir: t.TempDir(), Date: time.Unix(0, 0), Progress: progress.Silent{}, Log: slog.New(slog.DiscardHandler)}
}

// must pushes what has to work.
func must(t testing.TB, p push.Pusher, sources ...push.Source) push.Result {
	t.Helper()
	result, err := p.Push(t.Context(), sources)
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(p.Dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the working folder: %v, %v", left, err)
	}
	return result
}

func states(img push.Image) string {
	var list []string
	for _, l := range img.Layers {
		list = append(list, string(l.State))
	}
	return strings.Join(list, " ")
}

func TestSecondPushSendsWhatChanged(t *testing.T) {
	for how, source := range map[string]func(testing.TB, []byte) push.Source{"file": file, "stream": stream} {
		t.Run(how, func(t *testing.T) {
			odd := &registrytest.Odd{}
			to := serve(t, odd.Serve(t))
			base, before, after := noise(t, 1, 300_000), noise(t, 2, 1000), noise(t, 3, 1000)
			first := must(t, pusher(t, to, "main"), source(t, dockerArchive(t, config(t, "amd64", base, before), base, before)))[0]
			if got := states(first); got != "sent sent" || first.Sent < 300_000 || first.Sent != to.sent.Load()-manifestAgain(t, to, first) {
				t.Errorf("first push: %s, %d bytes, %d by the client", got, first.Sent, to.sent.Load())
			}
			to.sent.Store(0)
			second := must(t, pusher(t, to, "main"), source(t, dockerArchive(t, config(t, "amd64", base, after), base, after)))[0]
			if got := states(second); got != "reused sent" || second.Layers[0].Digest != first.Layers[0].Digest {
				t.Errorf("second push: %s, layer %s, want %s", got, second.Layers[0].Digest, first.Layers[0].Digest)
			}
			if got := to.sent.Load(); got > 4000 || second.Sent != got-manifestAgain(t, to, second) {
				t.Errorf("second push sent %d bytes, says %d", got, second.Sent)
			}
			to.sent.Store(0)
			third := must(t, pusher(t, to, "main"), source(t, dockerArchive(t, config(t, "amd64", base, after), base, after)))[0]
			if third.Digest != second.Digest || third.Sent != 0 || states(third) != "reused reused" {
				t.Errorf("third push: %+v, want nothing sent and digest %s", third, second.Digest)
			}
		})
	}
}

// manifestAgain is the size of a manifest: it is sent once more with its tag.
func manifestAgain(t *testing.T, to place, img push.Image) int64 {
	t.Helper()
	desc, err := to.Describe(t.Context(), img.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return desc.Size
}

// TestQuestions counts what a push asks for whose image is there under several tags.
func TestQuestions(t *testing.T) {
	odd := &registrytest.Odd{}
	host := odd.Serve(t)
	one, two := noise(t, 1, 1000), noise(t, 2, 1000)
	data := dockerArchive(t, config(t, "amd64", one, two), one, two)
	must(t, pusher(t, serve(t, host), "main", "latest"), file(t, data))
	blobs := func() int {
		return len(odd.Asked(func(s string) bool { return strings.HasPrefix(s, "HEAD /v2/app/blobs/") }))
	}
	before := blobs()
	must(t, pusher(t, serve(t, host), "main", "latest"), file(t, data))
	// Both layers and the configuration: what is there, what is to be there, and
	// the configuration as it is pushed.
	if got := blobs() - before; got != 7 {
		t.Errorf("%d questions for blobs, want 7", got)
	}
}

func TestStates(t *testing.T) {
	to := serve(t, (&registrytest.Odd{}).Serve(t))
	one, two := noise(t, 1, 1000), noise(t, 2, 2000)
	data := dockerArchive(t, config(t, "amd64", one, two), one, two)
	first := must(t, pusher(t, to, "main"), file(t, data))[0]

	p := pusher(t, to, "other") // nothing is under this tag
	if got := must(t, p, file(t, data))[0]; states(got) != "present present" || got.Digest != first.Digest {
		t.Errorf("another tag: %s", states(got))
	}
	p.Tags, p.Like = []string{"third"}, []reuse.Place{{Repository: to.Repository, Tags: []string{"main"}}}
	if got := must(t, p, file(t, data))[0]; states(got) != "reused reused" {
		t.Errorf("like another tag: %s", states(got))
	}
	for _, source := range []push.Source{file(t, data), stream(t, data)} {
		p = pusher(t, to.open(t, "copy"+fmt.Sprint(len(source.Name))), "main")
		p.Like = []reuse.Place{{Repository: to.Repository, Tags: []string{"main"}}}
		if got := must(t, p, source)[0]; states(got) != "mounted mounted" || got.Digest != first.Digest {
			t.Errorf("like another repository: %s", states(got))
		}
	}
	p = pusher(t, to.open(t, "dry"), "main")
	p.DryRun = true
	to.sent.Store(0)
	if got := must(t, p, file(t, data))[0]; states(got) != "sent sent" || got.Sent != first.Sent || to.sent.Load() != 0 {
		t.Errorf("dry run: %s, %d bytes, %d sent", states(got), got.Sent, to.sent.Load())
	}
	if _, err := p.To.Digest(t.Context(), "main"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("dry run: the tag is there: %v", err)
	}
}

// TestLostLayer is about a registry whose clean-up took a layer and left the
// image: it is made again.
func TestLostLayer(t *testing.T) {
	host := registrytest.Start(t, registrytest.Options{})
	one, two := noise(t, 1, 1000), noise(t, 2, 2000)
	data := dockerArchive(t, config(t, "amd64", one, two), one, two)
	first := must(t, pusher(t, serve(t, host), "main"), file(t, data))[0]
	remove := func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+host+"/v2/app/blobs/"+first.Layers[0].Digest, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusAccepted {
			t.Fatalf("DELETE: %v, %v", resp, err)
		}
		resp.Body.Close()
	}
	remove()
	if got := must(t, pusher(t, serve(t, host), "main", "{digest:12}"), file(t, data))[0]; states(got) != "sent reused" || got.Digest != first.Digest {
		t.Errorf("%s, digest %s, want %s", states(got), got.Digest, first.Digest)
	}
	// The tag that says what it leads to does not say that it is whole.
	remove()
	if got := must(t, pusher(t, serve(t, host), "{digest:12}"), file(t, data))[0]; states(got) != "sent present" {
		t.Errorf("under the content's tag: %s", states(got))
	}
}

// TestLayerUnderAnothersName is about a stream in which a layer is called what one
// that is there is.
func TestLayerUnderAnothersName(t *testing.T) {
	to := serve(t, (&registrytest.Odd{}).Serve(t))
	one, two := noise(t, 1, 1000), noise(t, 2, 1000)
	must(t, pusher(t, to, "main"), file(t, dockerArchive(t, config(t, "amd64", one), one)))
	for _, conf := range [][]byte{config(t, "amd64", one), config(t, "amd64", two)} {
		at := sum(one).Hex + "/layer.tar"
		data := pack(t, [2]string{at, string(two)}, [2]string{"c", string(conf)},
			[2]string{"manifest.json", string(marshal(t, []any{map[string]any{"Config": "c", "Layers": []string{at}}}))})
		_, err := pusher(t, to, "main").Push(t.Context(), []push.Source{stream(t, data)})
		if want := "its bytes have the diffID " + sum(two).String(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Push() = %v, want %s", err, want)
		}
	}
}

func TestTagsInOrder(t *testing.T) {
	odd := &registrytest.Odd{}
	to := serve(t, odd.Serve(t))
	p := pusher(t, to, "latest", "1.2", "{digest:12}", "main", "1.2")
	one := noise(t, 1, 1000)
	conf := config(t, "amd64", one)
	img := must(t, p, file(t, dockerArchive(t, conf, one)))[0]
	puts := odd.Asked(func(s string) bool { return strings.HasPrefix(s, "PUT /v2/app/manifests/") })
	var tags []string
	for _, put := range puts {
		tags = append(tags, strings.TrimPrefix(put, "PUT /v2/app/manifests/"))
	}
	want := img.Digest + " " + sum(conf).Hex[:12] + " 1.2 main latest"
	if got := strings.Join(tags, " "); got != want || img.Image != to.Ref("latest") {
		t.Errorf("PUT of %s, want %s; image %s", got, want, img.Image)
	}
	// The content's tag is there: no blob is asked for but by the check, and none is sent.
	to.sent.Store(0)
	p.Tags = []string{"{digest:12}", "new"}
	if got := must(t, p, file(t, dockerArchive(t, conf, one)))[0]; states(got) != "present" || got.Digest != img.Digest || to.sent.Load() != manifestAgain(t, to, img)*2 {
		t.Errorf("once more: %+v, %d bytes sent", got, to.sent.Load())
	}
}

// TestImageForNoPlatform is about one that does not say what it is for, twice.
func TestImageForNoPlatform(t *testing.T) {
	to := serve(t, (&registrytest.Odd{}).Serve(t))
	one := noise(t, 1, 1000)
	conf := marshal(t, map[string]any{"rootfs": map[string]any{"type": "layers", "diff_ids": []v1.Hash{sum(one)}}})
	p := pusher(t, to, "{digest:12}", "main")
	for _, want := range []string{"sent", "present"} {
		if got := must(t, p, file(t, dockerArchive(t, conf, one)))[0]; states(got) != want || got.Platform != "" {
			t.Errorf("Push() = %+v, want a layer that is %s", got, want)
		}
	}
}

func TestNoTagAfterAFailure(t *testing.T) {
	one, two := noise(t, 1, 100_000), noise(t, 2, 100_000)
	good := dockerArchive(t, config(t, "amd64", one, two), one, two)
	lying := dockerArchive(t, config(t, "amd64", one, noise(t, 3, 10)), one, two)
	refuse := func(method, part string) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, r *http.Request, _ int) bool {
			return r.Method == method && strings.Contains(r.URL.Path, part) && registrytest.Refuse(w, http.StatusForbidden, "DENIED", "no room left")
		}
	}
	for name, test := range map[string]struct {
		data   []byte
		before func(http.ResponseWriter, *http.Request, int) bool
		want   string
	}{
		"truncated":                   {good[:len(good)-3000], nil, "unexpected EOF"},
		"a layer that is not its own": {lying, nil, "its diffID is " + sum(two).String()},
		"a registry without room":     {good, refuse(http.MethodPut, "/blobs/"), "no room left"},
		"a registry that loses layers": {good, func(w http.ResponseWriter, r *http.Request, _ int) bool {
			return r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/blobs/") && registrytest.Refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "")
		}, "pushed, but the registry does not have sha256:"},
		"a manifest that is refused": {good, refuse(http.MethodPut, "/manifests/sha256:"), "no room left"},
	} {
		for how, source := range map[string]func(testing.TB, []byte) push.Source{"file": file, "stream": stream} {
			odd := &registrytest.Odd{Before: test.before}
			p := pusher(t, serve(t, odd.Serve(t)), "main", "latest")
			result, err := p.Push(t.Context(), []push.Source{source(t, test.data)})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s, %s: Push() = %v, %v, want %s", name, how, result, err, test.want)
			}
			if tags := odd.Asked(func(s string) bool {
				return strings.HasPrefix(s, "PUT") && !strings.Contains(s, "/uploads/") && !strings.Contains(s, "sha256:")
			}); len(tags) > 0 {
				t.Errorf("%s, %s: %v", name, how, tags)
			}
			if left, err := os.ReadDir(p.Dir); err != nil || len(left) > 0 {
				t.Errorf("%s, %s: left in the working folder: %v, %v", name, how, left, err)
			}
		}
	}
}

// quitter gives up on the first blob, and nobody has told it to.
type quitter struct {
	registry.Repository
	quit sync.Once
}

func (q *quitter) PushBlob(ctx context.Context, layer v1.Layer) (registry.Outcome, error) {
	err := error(nil)
	if q.quit.Do(func() { err = context.Canceled }); err != nil {
		return "", err
	}
	return q.Repository.PushBlob(ctx, layer)
}

func TestLayerThatWasGivenUp(t *testing.T) {
	odd := &registrytest.Odd{}
	one := noise(t, 1, 1000)
	p := pusher(t, &quitter{Repository: serve(t, odd.Serve(t))}, "main")
	_, err := p.Push(t.Context(), []push.Source{stream(t, dockerArchive(t, config(t, "amd64", one), one))})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Push() = %v, want %v", err, context.Canceled)
	}
	if asked := odd.Asked(func(s string) bool { return strings.HasPrefix(s, "PUT") }); len(asked) > 0 {
		t.Errorf("it went on: %v", asked)
	}
}

// TestScriptThatFailsAtItsEnd is about one that has written a good image before.
func TestScriptThatFailsAtItsEnd(t *testing.T) {
	odd := &registrytest.Odd{}
	one := noise(t, 1, 1000)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "image.tar"), dockerArchive(t, config(t, "amd64", one), one), 0o644); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "stream")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ncat '"+dir+"/image.tar'\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := pusher(t, serve(t, odd.Serve(t)), "main")
	_, err := p.Push(t.Context(), []push.Source{{Name: script, Source: archive.Script(script, archive.Options{})}})
	if err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("Push() = %v, want the exit status", err)
	}
	if puts := odd.Asked(func(s string) bool { return strings.HasPrefix(s, "PUT /v2/app/manifests/") }); len(puts) > 0 {
		t.Errorf("it went on: %v", puts)
	}
}

func TestPlatforms(t *testing.T) {
	to := serve(t, (&registrytest.Odd{}).Serve(t))
	shared, other := noise(t, 1, 1000), noise(t, 2, 1000)
	amd := file(t, dockerArchive(t, config(t, "amd64", shared), shared))
	bare := file(t, dockerArchive(t, config(t, "", shared, other), shared, other))
	p := pusher(t, to, "main")
	p.Platforms = []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64", Variant: "v8"}}
	result := must(t, p, amd, bare)
	if len(result) != 3 || result[0].Platform != "" || result[1].Platform != "linux/amd64" || result[2].Platform != "linux/arm64" || states(result[1]) != "sent" || states(result[2]) != "present sent" {
		t.Fatalf("Push() = %+v", result)
	}
	if result[0].Sent != result[1].Sent+result[2].Sent || result[0].Image != to.Ref("main") || result[2].Image != to.Ref(result[2].Digest) {
		t.Errorf("Push() = %+v", result)
	}
	digest, err := to.Digest(t.Context(), "main")
	if err != nil || digest.String() != result[0].Digest {
		t.Errorf("main is %s, %v, want %s", digest, err, result[0].Digest)
	}
	images, _, err := registry.Images(t.Context(), to, "main")
	if err != nil || len(images) != 2 {
		t.Fatalf("Images() = %v, %v", images, err)
	}
	conf, err := images[1].ConfigFile()
	if err != nil || conf.Architecture != "arm64" || conf.Variant != "v8" || conf.OS != "linux" {
		t.Errorf("the configuration of what did not say its platform: %+v, %v", conf, err)
	}

	// An index needs to know, and has one image for each.
	p.Platforms = nil
	for _, test := range []struct {
		second push.Source
		want   string
	}{
		{bare, bare.Name + ": the image does not say what platform"},
		{push.Source{Name: "again", Source: amd.Source}, amd.Name + " and again are both for linux/amd64"},
	} {
		if _, err := p.Push(t.Context(), []push.Source{amd, test.second}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Push() = %v, want %s", err, test.want)
		}
	}

	// One platform does not replace it.
	_, err = p.Push(t.Context(), []push.Source{amd})
	var lost *push.IndexError
	if !errors.As(err, &lost) || strings.Join(lost.Others, " ") != "linux/arm64" {
		t.Errorf("Push() = %v, want an *IndexError", err)
	}

	// That is also so where the index leaves it to the images what they are for.
	bareIndex := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, img := range result[1:] {
		desc, err := to.Describe(t.Context(), img.Digest)
		if err != nil {
			t.Fatal(err)
		}
		bareIndex.Manifests = append(bareIndex.Manifests, v1.Descriptor{MediaType: desc.MediaType, Size: desc.Size, Digest: desc.Digest})
	}
	if err := to.Tag(t.Context(), registry.RawManifest(marshal(t, bareIndex), types.OCIImageIndex), "bare"); err != nil {
		t.Fatal(err)
	}
	p.Tags = []string{"bare"}
	if _, err = p.Push(t.Context(), []push.Source{amd}); !errors.As(err, &lost) || strings.Join(lost.Others, " ") != "linux/arm64" {
		t.Errorf("Push() = %v, want an *IndexError", err)
	}
	p.Tags = []string{"main"}
	p.Single = true
	if got := must(t, p, amd); len(got) != 1 || states(got[0]) != "reused" {
		t.Errorf("Push() = %+v", got)
	}
}

// TestIndexStaysAsItIs is about what buildx makes: an index with attestations.
func TestIndexStaysAsItIs(t *testing.T) {
	layer := noise(t, 1, 1000)
	dir := t.TempDir()
	blob := func(media types.MediaType, data []byte) v1.Descriptor {
		at := filepath.Join(dir, "blobs", "sha256", sum(data).Hex)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return v1.Descriptor{MediaType: media, Size: int64(len(data)), Digest: sum(data)}
	}
	manifest := func(conf []byte, layers ...v1.Descriptor) v1.Descriptor {
		return blob(types.OCIManifestSchema1, marshal(t, v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: blob(types.OCIConfigJSON, conf), Layers: layers}))
	}
	made, err := layers.Packer{Dir: t.TempDir(), Encoding: layers.Zstd}.Foreign(bytes.NewReader(layer))
	if err != nil {
		t.Fatal(err)
	}
	rc, err := made.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	compressed, err := io.ReadAll(rc)
	if err != nil || rc.Close() != nil {
		t.Fatal(err)
	}
	img := manifest(config(t, "amd64", layer), blob(types.OCILayerZStd, compressed))
	img.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	statement := []byte(`{"_type":"https://in-toto.io/Statement/v0.1"}`)
	about := manifest([]byte(`{"os":"unknown","architecture":"unknown","rootfs":{"type":"layers","diff_ids":["`+sum(statement).String()+`"]}}`), blob("application/vnd.in-toto+json", statement))
	about.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
	about.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": img.Digest.String()}
	index := blob(types.OCIImageIndex, marshal(t, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{img, about}}))
	if err := os.WriteFile(filepath.Join(dir, "index.json"), marshal(t, v1.IndexManifest{SchemaVersion: 2, Manifests: []v1.Descriptor{index}}), 0o644); err != nil {
		t.Fatal(err)
	}

	to := serve(t, registrytest.Start(t, registrytest.Options{}))
	source := push.Source{Name: dir, Source: archive.Folder(dir, archive.Options{})}
	result := must(t, pusher(t, to, "main"), source)
	if len(result) != 2 || result[0].Digest != index.Digest.String() || result[1].Digest != img.Digest.String() || states(result[1]) != "sent" || result[1].Layers[0].Digest != sum(compressed).String() {
		t.Errorf("Push() = %+v, want index %s as it is", result, index.Digest)
	}
	if missing, err := to.Missing(t.Context(), index.Digest); err != nil || len(missing) > 0 {
		t.Errorf("Missing() = %v, %v", missing, err)
	}
	// With another platform the images stay as they are, and what is attached to them.
	arm := file(t, dockerArchive(t, config(t, "arm64", layer), layer))
	result = must(t, pusher(t, to, "both"), source, arm)
	both, err := to.Index(t.Context(), "both")
	if err != nil {
		t.Fatal(err)
	}
	list, err := both.IndexManifest()
	if err != nil || len(list.Manifests) != 3 || list.Manifests[0].Digest != img.Digest || list.Manifests[2].Digest != about.Digest || list.Manifests[2].Annotations["vnd.docker.reference.digest"] != img.Digest.String() {
		t.Errorf("%+v, %v; Push() = %+v", list, err, result)
	}
	// A blob that has the right diffID, and not its digest.
	if err := os.WriteFile(filepath.Join(dir, "blobs", "sha256", sum(compressed).Hex), layer, 0o644); err != nil {
		t.Fatal(err)
	}
	odd := &registrytest.Odd{}
	_, err = pusher(t, serve(t, odd.Serve(t)), "main").Push(t.Context(), []push.Source{source})
	var unlike *archive.DigestError
	if !errors.As(err, &unlike) || unlike.Want != sum(compressed) || len(odd.Asked(func(s string) bool { return strings.HasPrefix(s, "PUT /v2/app/manifests/") })) > 0 {
		t.Errorf("Push() = %v, want that the digest is wrong, and no manifest", err)
	}
}

// TestDiskIsBounded is about a stream of many layers: those that are being sent,
// and the next one, are all that is in the working folder.
func TestDiskIsBounded(t *testing.T) {
	var all [][]byte
	for i := range 12 {
		all = append(all, noise(t, uint64(i), 50_000))
	}
	p := pusher(t, nil, "main")
	most := 0
	odd := &registrytest.Odd{Before: func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		if left, err := os.ReadDir(p.Dir); r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/") && err == nil {
			most = max(most, len(left))
		}
		return false
	}}
	p.To = serve(t, odd.Serve(t))
	img := must(t, p, stream(t, dockerArchive(t, config(t, "amd64", all...), all...)))[0]
	if len(img.Layers) != len(all) || most < 1 || most > 4 {
		t.Errorf("%d layers, at most %d at once in the working folder, want at most 4", len(img.Layers), most)
	}
}

// TestUncompressedLayout is about layers that are not compressed in an OCI layout:
// they are compressed, and have the manifest made anew.
func TestUncompressedLayout(t *testing.T) {
	layer := noise(t, 1, 1000)
	conf := config(t, "amd64", layer)
	desc := func(media types.MediaType, data []byte) v1.Descriptor {
		return v1.Descriptor{MediaType: media, Size: int64(len(data)), Digest: sum(data)}
	}
	manifest := marshal(t, v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: desc(types.OCIConfigJSON, conf), Layers: []v1.Descriptor{desc(types.OCIUncompressedLayer, layer)}})
	index := marshal(t, v1.IndexManifest{SchemaVersion: 2, Manifests: []v1.Descriptor{desc(types.OCIManifestSchema1, manifest)}})
	var members [][2]string
	for _, data := range [][]byte{conf, layer, manifest} {
		members = append(members, [2]string{"blobs/sha256/" + sum(data).Hex, string(data)})
	}
	data := pack(t, append(members, [2]string{"index.json", string(index)})...)
	var digest string
	for i, source := range []push.Source{file(t, data), stream(t, data)} {
		to := serve(t, (&registrytest.Odd{}).Serve(t))
		img := must(t, pusher(t, to, "main"), source)[0]
		if states(img) != "sent" || img.Layers[0].Digest == sum(layer).String() || img.Layers[0].DiffID != sum(layer).String() {
			t.Errorf("source %d: %+v", i, img)
		}
		if digest == "" {
			digest = img.Digest
		}
		if img.Digest != digest {
			t.Errorf("source %d: digest %s, want %s", i, img.Digest, digest)
		}
	}
}

func TestExpand(t *testing.T) {
	v := push.Values{Digest: strings.Repeat("d", 64), Rev: strings.Repeat("a", 40), Date: time.Date(2026, 11, 26, 23, 0, 0, 0, time.FixedZone("", -7200))}
	for _, test := range []struct {
		templates []string
		values    push.Values
		want      string // tags in order, or an error
		content   bool   // of the first
	}{
		{[]string{"latest", "main", "{rev:7}"}, v, "aaaaaaa main latest", false},
		{[]string{"v{date}-{rev:12}", "{digest}"}, v, "v20261127-aaaaaaaaaaaa " + v.Digest, false},
		{[]string{"{digest:8}", "{digest:8}"}, v, "dddddddd", true},
		{[]string{"{digest:6}"}, v, "bad placeholder {digest:6}", false},
		{[]string{"{digest:65}"}, v, "bad placeholder {digest:65}", false},
		{[]string{"{date:8}"}, v, "bad placeholder {date:8}", false},
		{[]string{"{name}"}, v, "unknown placeholder {name}", false},
		{[]string{"a b"}, v, "want at most 128", false},
		{[]string{""}, v, "want at most 128", false},
		{[]string{"{rev}"}, push.Values{Digest: v.Digest}, "no git checkout", false},
	} {
		tags, err := push.Expand(test.templates, test.values)
		var names []string
		for _, tag := range tags {
			names = append(names, tag.Name)
		}
		got := strings.Join(names, " ")
		if err != nil {
			got = err.Error()
		}
		if got != test.want && (err == nil || !strings.Contains(got, test.want)) || err == nil && tags[0].Content != test.content {
			t.Errorf("Expand(%q) = %s, want %s", test.templates, got, test.want)
		}
	}
}
