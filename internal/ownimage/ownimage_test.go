package ownimage

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/recipe"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

const imageFolder = "../../images/base"

// write makes a file with content and mode, whatever the umask.
func write(t *testing.T, file, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(file, []byte(text), mode), os.Chmod(file, mode)); err != nil {
		t.Fatal(err)
	}
	return file
}

// baseIndex makes an image as the factory publishes it, with little in it.
func baseIndex(t *testing.T) v1.ImageIndex {
	t.Helper()
	dir := t.TempDir()
	var parts []image.Part
	for _, systemName := range []string{"x86_64-linux", "aarch64-linux"} {
		system, err := config.ParseSystem(systemName)
		if err != nil {
			t.Fatal(err)
		}
		var stack []*layers.Layer
		for _, text := range []string{"tools of " + systemName, "shared"} {
			layer, err := layers.Packer{Dir: dir}.Files([]layers.File{{Path: "/" + strings.Fields(text)[0], Mode: 0o644, Data: []byte(text)}}, text)
			if err != nil {
				t.Fatal(err)
			}
			layer.Key = layers.Key("sha256:" + text)
			stack = append(stack, layer)
		}
		img, err := image.Assemble(
			image.Facts{Recipe: "sha256:1", Nixpkgs: &image.Nixpkgs{Channel: "nixos-26.05", Rev: gittest.Rev("ab"), Date: time.Unix(1780221600, 0), NarHash: nix.Hash{1}, Repository: "NixOS/nixpkgs"}},
			image.Settings{System: system, Set: toolset.Toolset{Env: map[string]string{"PATH": "/nix/profile/bin:/usr/local/bin", "FACTORY_STATE": "x"}, Cmd: []string{"bash"}, WorkDir: "/root"}},
			stack)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, image.Part{System: system, Image: img})
	}
	index, err := image.Index(parts)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// compile stands in for the compiler.
func compile(_ context.Context, system config.System, to string) error {
	return os.WriteFile(to, []byte("factory for "+system.Nix), 0o600)
}

// pushed pushes an index and tags it latest.
func pushed(t *testing.T, repo registry.Repository, index v1.ImageIndex) registry.Repository {
	t.Helper()
	if err := errors.Join(repo.Push(t.Context(), index), repo.Tag(t.Context(), index, "latest")); err != nil {
		t.Fatal(err)
	}
	return repo
}

func remote(t *testing.T, at string, sent *atomic.Int64) registry.Repository {
	t.Helper()
	repo, err := name.NewRepository(at)
	if err != nil {
		t.Fatal(err)
	}
	r, err := registry.Remote(repo, registry.Options{Backoff: time.Millisecond, Sent: sent})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func options(t *testing.T, base, to registry.Repository) Options {
	return Options{
		Base:    base,
		BaseTag: "latest",
		Facts:   Facts{BaseName: "registry.example.org/nixpkgs-nixos-26.05:latest", Source: "https://example.org/fork", Revision: "c0ffee"},
		Images:  []string{imageFolder},
		Config:  "../../channels.yaml",
		Compile: compile,
		Places:  []Place{{Repository: to, Bases: base}},
		Tags:    []string{"latest", "c0ffee"},
	}
}

func TestPublish(t *testing.T) {
	kinds := map[string]func(t *testing.T) func(string) registry.Repository{
		"layout": func(t *testing.T) func(string) registry.Repository {
			dir := filepath.Join(t.TempDir(), "registry")
			return func(name string) registry.Repository { return registry.Layout(dir, name) }
		},
		"docker-registry": func(t *testing.T) func(string) registry.Repository {
			host := registrytest.Start(t, registrytest.Options{})
			return func(name string) registry.Repository { return remote(t, host+"/org/"+name, nil) }
		},
	}
	digests := make(map[v1.Hash]bool)
	for kind, open := range kinds {
		t.Run(kind, func(t *testing.T) {
			open := open(t)
			base := pushed(t, open("nixpkgs-nixos-26.05"), baseIndex(t))
			o := options(t, base, open("factory"))
			got, err := Publish(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			digests[got[0].Digest] = true
			want := []Published{{Image: open("factory").Ref("latest"), Digest: got[0].Digest, New: true}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Publish() mismatch (-want +got):\n%s", diff)
			}
			index, err := open("factory").Index(t.Context(), "c0ffee")
			if err != nil {
				t.Fatal(err)
			}
			checkImage(t, index)

			want[0].New = false
			if got, err = Publish(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the second Publish() mismatch (-want +got):\n%s", diff)
			}
		})
	}
	if len(digests) != 1 {
		t.Errorf("the same image has %d digests: %v", len(digests), digests)
	}
}

// checkImage looks at everything that the image promises.
func checkImage(t *testing.T, index v1.ImageIndex) {
	t.Helper()
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	base := baseIndex(t)
	baseDigest, err := base.Digest()
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{
		"org.opencontainers.image.title":       "factory",
		"org.opencontainers.image.description": "Follows NixOS channels and publishes a base image for every new commit",
		"org.opencontainers.image.licenses":    "MIT",
		"org.opencontainers.image.source":      "https://example.org/fork",
		"org.opencontainers.image.revision":    "c0ffee",
		"org.opencontainers.image.created":     "2026-05-31T10:00:00Z",
		"org.opencontainers.image.base.name":   "registry.example.org/nixpkgs-nixos-26.05:latest",
		"org.opencontainers.image.base.digest": baseDigest.String(),
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, desc := range manifest.Manifests {
		if desc.ArtifactType != "" {
			t.Errorf("the descriptor has the artifact type %q", desc.ArtifactType)
		}
	}
	if diff := cmp.Diff(labels, manifest.Annotations); diff != "" {
		t.Errorf("annotations of the index mismatch (-want +got):\n%s", diff)
	}
	var platforms []string
	for i, desc := range manifest.Manifests {
		platforms = append(platforms, desc.Platform.String())
		img, err := index.Image(desc.Digest)
		if err != nil {
			t.Fatal(err)
		}
		conf, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		want := v1.Config{
			Entrypoint: []string{"/usr/local/bin/factory"},
			Cmd:        []string{"run"},
			WorkingDir: "/var/lib/factory",
			Env: []string{
				"FACTORY_STATE=/var/lib/factory/factory.db", "PATH=/nix/profile/bin:/usr/local/bin",
				"FACTORY_CONFIG=/etc/factory/channels.yaml", "FACTORY_CACHE_DIR=/var/lib/factory/work",
				"FACTORY_REVISION=" + labels["org.opencontainers.image.revision"],
				"FACTORY_IMAGE_SOURCE=" + labels["org.opencontainers.image.source"],
			},
			Labels: labels,
		}
		if diff := cmp.Diff(want, conf.Config); diff != "" {
			t.Errorf("%s: config mismatch (-want +got):\n%s", desc.Platform, diff)
		}
		if conf.Platform().String() != desc.Platform.String() {
			t.Errorf("config is for %s, the index says %s", conf.Platform(), desc.Platform)
		}
		checkLayers(t, img, baseImage(t, base, i), map[int]string{0: "x86_64-linux", 1: "aarch64-linux"}[i])
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64/v8"}, platforms); diff != "" {
		t.Errorf("platforms mismatch (-want +got):\n%s", diff)
	}
}

func baseImage(t *testing.T, base v1.ImageIndex, i int) *v1.Manifest {
	t.Helper()
	index, err := base.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	img, err := base.Image(index.Manifests[i].Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	return manifest
}

// checkLayers checks that the base's layers are there as they were, and what is
// in the layer on top of them.
func checkLayers(t *testing.T, img v1.Image, base *v1.Manifest, system string) {
	t.Helper()
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	top := len(manifest.Layers) - 1
	if diff := cmp.Diff(base.Layers, manifest.Layers[:top]); diff != "" {
		t.Errorf("%s: layers of the base mismatch (-want +got):\n%s", system, diff)
	}
	conf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	var history []string
	for _, h := range conf.History {
		history = append(history, h.CreatedBy)
	}
	if diff := cmp.Diff([]string{"tools of " + system, "shared", "factory, image folder, configuration"}, history); diff != "" {
		t.Errorf("%s: history mismatch (-want +got):\n%s", system, diff)
	}
	stack, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	entries := unpack(t, stack[top], root)
	for name, want := range map[string]string{
		"usr/local/bin/factory": "-rwxr-xr-x factory for " + system,
		"var/lib/factory/":      "dtrwxrwxrwx ",
		"bin/sleep":             "L /nix/profile/bin/sleep",
		"etc/":                  "drwxr-xr-x ",
		"etc/factory/images/base/bin/start-tmate": "-rwxr-xr-x …",
		"etc/factory/images/base/image.nix":       "-rw-r--r-- …",
		"etc/factory/channels.yaml":               "-rw-r--r-- …",
	} {
		if got := entries[name]; got != want {
			t.Errorf("%s: entry %q is %q, want %q", system, name, got, want)
		}
	}
	for name := range entries {
		if strings.HasSuffix(name, ".md") || strings.HasSuffix(name, ".go") || strings.Contains(name, "testdata") {
			t.Errorf("%s: %s is no part of the image folder's recipe", system, name)
		}
	}
	// What the image makes is what a checkout makes.
	want, err := recipe.Identify(imageFolder, recipe.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := recipe.Identify(filepath.Join(root, ConfigDir, "images/base"), recipe.Settings{}); err != nil || got != want {
		t.Errorf("%s: the image folder's recipe is %s, %v, want %s", system, got, err, want)
	}
	file := filepath.Join(root, ConfigDir, "channels.yaml")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := config.Parse(file, data); err != nil || c.Images[0].Folder != filepath.Join(root, ConfigDir, "images/base") {
		t.Errorf("%s: the configuration's image folder is %s, %v", system, c.Images[0].Folder, err)
	}
}

// unpack writes a layer's files below root and describes its entries. Long
// contents are left out.
func unpack(t *testing.T, layer v1.Layer, root string) map[string]string {
	t.Helper()
	rc, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	entries := make(map[string]string)
	for archive := tar.NewReader(rc); ; {
		h, err := archive.Next()
		if err == io.EOF {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.ModTime.Unix() != 1 {
			t.Errorf("%s: owner %d:%d %q, time %v", h.Name, h.Uid, h.Gid, h.Uname, h.ModTime)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeSymlink:
			entries[h.Name] = "L " + h.Linkname
		case tar.TypeDir:
			entries[h.Name] = h.FileInfo().Mode().String() + " "
		default:
			write(t, filepath.Join(root, h.Name), string(data), h.FileInfo().Mode())
			text := string(data)
			if len(text) > 40 {
				text = "…"
			}
			entries[h.Name] = h.FileInfo().Mode().String() + " " + text
		}
	}
}

// Times, owners, modes and folders of the machine leave no trace.
func TestSameBytesEverywhere(t *testing.T) {
	base := pushed(t, registry.Layout(t.TempDir(), "base"), baseIndex(t))
	folder := filepath.Join(t.TempDir(), "elsewhere", "base")
	if err := os.CopyFS(folder, os.DirFS(imageFolder)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(folder, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return errors.Join(err, os.Chmod(name, info.Mode()&0o100|0o640), os.Chtimes(name, time.Time{}, time.Unix(1e9, 0)))
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("../../channels.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var digests []string
	for i, o := range []Options{
		options(t, base, registry.Layout(t.TempDir(), "factory")),
		options(t, base, registry.Layout(t.TempDir(), "factory")),
	} {
		if i == 1 {
			o.Images = []string{folder}
			o.Config = write(t, filepath.Join(t.TempDir(), "other.yaml"), string(data), 0o600)
		}
		got, err := Publish(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, got[0].Digest.String())
	}
	if digests[0] != digests[1] {
		t.Errorf("the same image has the digests %v", digests)
	}
}

// Nothing of the base is sent when the registry has it in another repository.
func TestBaseIsMounted(t *testing.T) {
	var sent, mounts atomic.Int64
	behind := &url.URL{Scheme: "http", Host: registrytest.Start(t, registrytest.Options{})}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(behind)
		r.Out.Host = r.In.Host // so that the registry's answers lead back here
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if from := r.URL.Query().Get("from"); from != "" {
			if from != "org/nixpkgs-nixos-26.05" {
				t.Errorf("asked to mount from %s", from)
			}
			mounts.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	base := pushed(t, remote(t, host+"/org/nixpkgs-nixos-26.05", nil), baseIndex(t))
	// The base that is named is in a layout: found by its digest, the one that is
	// near is taken.
	far := pushed(t, registry.Layout(t.TempDir(), "base"), baseIndex(t))
	o := options(t, far, remote(t, host+"/org/factory", &sent))
	o.Places[0].Bases = base
	if _, err := Publish(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if mounts.Load() != 3 { // two layers of tools and the shared one
		t.Errorf("%d blobs were asked to be mounted, want the 3 of the base", mounts.Load())
	}
	before := sent.Load()
	if _, err := Publish(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if again := sent.Load() - before; again != 0 {
		t.Errorf("%d bytes sent for an image that is there, want none", again)
	}
}

// One place that cannot be asked keeps every tag from being set.
func TestPublishFails(t *testing.T) {
	base := pushed(t, registry.Layout(t.TempDir(), "base"), baseIndex(t))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer server.Close()
	forbidden := remote(t, strings.TrimPrefix(server.URL, "http://")+"/org/factory", nil)
	boom := errors.New("boom")
	cases := map[string]struct {
		change func(*Options)
		want   string
	}{
		"a registry says no":     {func(o *Options) { o.Places = append(o.Places, Place{Repository: forbidden}) }, "403"},
		"no base":                {func(o *Options) { o.BaseTag = "none" }, "base: "},
		"does not compile":       {func(o *Options) { o.Compile = func(context.Context, config.System, string) error { return boom } }, "boom"},
		"no image folder":        {func(o *Options) { o.Images = []string{t.TempDir()} }, "image.nix"},
		"no configuration":       {func(o *Options) { o.Config = filepath.Join(t.TempDir(), "none.yaml") }, "none.yaml"},
		"another program's base": {func(o *Options) { o.Base = pushed(t, registry.Layout(t.TempDir(), "base"), foreign(t)) }, "the factory did not make this image"},
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		t.Run(name, func(t *testing.T) {
			to := registry.Layout(t.TempDir(), "factory")
			o := options(t, base, to)
			cases[name].change(&o)
			if _, err := Publish(t.Context(), o); err == nil || !strings.Contains(err.Error(), cases[name].want) {
				t.Errorf("Publish() = %v, want an error with %q", err, cases[name].want)
			}
			if _, err := to.Digest(t.Context(), "latest"); !errors.Is(err, registry.ErrNotFound) {
				t.Errorf("Digest(latest) after a failure = %v, want ErrNotFound", err)
			}
		})
	}
}

// foreign is an index that the factory did not make.
func foreign(t *testing.T) v1.ImageIndex {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	return mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: img})
}
