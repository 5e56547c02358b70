package upload

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/nixpkgs-factory/factory/internal/binarycache"
	"github.com/nixpkgs-factory/factory/internal/closure"
	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/source"
	"github.com/nixpkgs-factory/factory/internal/standin"
	"github.com/nixpkgs-factory/factory/internal/upload/attictest"
)

// real is what the factory would have at hand after a publication: the closure
// of a toolset from a binary cache, and a source tree under two names.
type real struct {
	cache   *binarycache.Cache
	key     nix.PublicKey
	url     string // of the cache
	tree    *source.Tree
	closed  []nix.PathInfo
	sources []nix.PathInfo
}

func realThing(t *testing.T, tools ...string) *real {
	t.Helper()
	f, err := standin.Prepare(t.Context(), standin.Options{Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	r := &real{url: "file://" + f.CacheFolder()}
	if r.key, err = nix.ParsePublicKey(f.PublicKey()); err != nil {
		t.Fatal(err)
	}
	r.cache = binarycache.New(fetch.New(fetch.Options{}), []binarycache.Substituter{{URL: r.url, Keys: []nix.PublicKey{r.key}}})
	rev := f.Commit("shared").Rev
	outputs := f.Outputs(rev, "x86_64-linux")
	var roots []nix.StorePath
	for _, tool := range tools {
		if len(outputs[tool]) == 0 {
			t.Fatalf("no tool %q", tool)
		}
		p, err := nix.ParseStorePath(outputs[tool][0])
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, p)
	}
	if r.closed, err = closure.Compute(t.Context(), r.cache, roots); err != nil {
		t.Fatal(err)
	}
	archive, err := os.Open(f.ArchiveFile(rev))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if r.tree, err = source.Read(t.Context(), archive, source.Options{Name: archive.Name(), Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.tree.Close() })
	for _, name := range []string{"nixpkgs-src", "source"} {
		p, err := r.tree.StorePath(name)
		if err != nil {
			t.Fatal(err)
		}
		r.sources = append(r.sources, nix.PathInfo{
			Path: p, NarHash: r.tree.NarHash, NarSize: r.tree.NarSize, CA: "fixed:r:sha256:" + r.tree.NarHash.Base32(),
		})
	}
	return r
}

func (r *real) all() []nix.PathInfo { return slices.Concat(r.closed, r.sources) }

// NAR implements Objects.
func (r *real) NAR(ctx context.Context, info nix.PathInfo) (io.ReadCloser, error) {
	if info.NarHash == r.tree.NarHash {
		return Written(r.tree.WriteNAR), nil
	}
	return r.cache.NAR(ctx, info)
}

// builtHere makes the closure look as if this machine had built one of its
// objects: its signature is gone.
func (r *real) builtHere(t *testing.T, name string) nix.PathInfo {
	t.Helper()
	for i, info := range r.closed {
		if strings.HasPrefix(info.Path.Name(), name+"-") {
			r.closed[i].Sigs, r.closed[i].Ultimate = nil, true
			return info
		}
	}
	t.Fatalf("no %s in %v", name, bases(r.closed))
	return nix.PathInfo{}
}

// debian is a store of Debian's Nix in a folder.
type debian struct {
	dir string
	env []string
}

// newDebian makes an empty store, which this process has as NIX_REMOTE.
func newDebian(t *testing.T) debian {
	t.Helper()
	dir := t.TempDir()
	// Nix leaves folders that only root may change, and this may not be root.
	t.Cleanup(func() {
		filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				return os.Chmod(path, 0o755)
			}
			return err
		})
	})
	d := debian{dir: dir, env: []string{
		"HOME=" + dir, "NIX_CONF_DIR=" + dir, "NIX_USER_CONF_FILES=", "NIX_STATE_DIR=" + dir + "/state",
		"XDG_CACHE_HOME=" + filepath.Join(dir, "cache"), "NIX_REMOTE=local?root=" + dir + "/root",
		"NIX_CONFIG=build-users-group =\nsubstituters =\nexperimental-features = nix-command",
	}}
	return d
}

// adopt gives the environment of the store to this process, as an operator's shell might.
func (d debian) adopt(t *testing.T) {
	t.Helper()
	for _, pair := range d.env {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
}

func (d debian) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := d.try(t, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (d debian) try(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), d.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %v: %w\n%s", name, args, err, &stderr)
	}
	return strings.TrimSpace(stdout.String()), nil
}

// substitute fetches paths from a binary cache, trusting one key.
func (d debian) substitute(t *testing.T, cache string, key nix.PublicKey, infos []nix.PathInfo) {
	t.Helper()
	args := []string{"--realise", "--option", "substituters", cache, "--option", "trusted-public-keys", key.String()}
	for _, info := range infos {
		args = append(args, info.Path.String())
	}
	d.run(t, "nix-store", args...)
}

// check compares what the store has with infos, and every file with the database.
func (d debian) check(t *testing.T, infos []nix.PathInfo) {
	t.Helper()
	type object struct {
		Path       nix.StorePath   `json:"path"`
		NarHash    nix.Hash        `json:"narHash"`
		NarSize    int64           `json:"narSize"`
		References []nix.StorePath `json:"references"`
		CA         string          `json:"ca"`
	}
	var want, got []object
	for _, i := range unique(infos) {
		want = append(want, object{i.Path, i.NarHash, i.NarSize, i.References, i.CA})
	}
	if err := json.Unmarshal([]byte(d.run(t, "nix", "path-info", "--all", "--json")), &got); err != nil {
		t.Fatal(err)
	}
	for _, o := range got {
		slices.SortFunc(o.References, nix.StorePath.Compare)
	}
	slices.SortFunc(got, func(a, b object) int { return a.Path.Compare(b.Path) })
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the store has (-want +got):\n%s", diff)
	}
	d.run(t, "nix-store", "--verify", "--check-contents")
}

// TestAtticAndNix: what was pushed to Attic, Debian's Nix substitutes from it,
// with no other cache and the key of the server alone.
func TestAtticAndNix(t *testing.T) {
	r := realThing(t, "gitMinimal", "hello")
	s := startAttic(t, attictest.Options{Public: true, Upstream: []string{}, Keys: []nix.PublicKey{r.key}})
	report, err := quick(s).Push(t.Context(), r.all(), r)
	if want := (Report{Pushed: len(r.all()), Bytes: size(r.all())}); err != nil || report != want {
		t.Fatalf("Push = %+v, %v, want %+v", report, err, want)
	}
	t.Logf("%+v", report)
	store := newDebian(t)
	store.substitute(t, s.Substituter(), s.PublicKey(), r.all())
	store.check(t, r.all())
}

// TestAtticBesideUpstream: a private cache gets only what upstream lacks, and
// with both of them Nix has everything.
func TestAtticBesideUpstream(t *testing.T) {
	r := realThing(t, "hello")
	hello := r.builtHere(t, "hello")
	s := startAttic(t, attictest.Options{Upstream: []string{r.key.Name()}})
	report, err := quick(s).Push(t.Context(), r.all(), r)
	own := append([]nix.PathInfo{hello}, r.sources...)
	if want := (Report{Pushed: 3, Upstream: len(r.all()) - 3, Bytes: size(own)}); err != nil || report != want {
		t.Fatalf("Push = %+v, %v, want %+v", report, err, want)
	}
	if diff := cmp.Diff(names(own), names(s.Objects())); diff != "" {
		t.Errorf("the cache has (-want +got):\n%s", diff)
	}
	store := newDebian(t)
	netrc := filepath.Join(store.dir, "netrc")
	login := "machine 127.0.0.1 password " + s.Token("*", attictest.Pull) + "\n"
	if err := os.WriteFile(netrc, []byte(login), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, pair := range store.env {
		if strings.HasPrefix(pair, "NIX_CONFIG=") {
			store.env[i] += "\nnetrc-file = " + netrc + "\nextra-trusted-public-keys = " + r.key.String() + " " + s.PublicKey().String()
		}
	}
	args := []string{"--realise", "--option", "substituters", s.Substituter() + " " + r.url}
	for _, info := range r.all() {
		args = append(args, info.Path.String())
	}
	store.run(t, "nix-store", args...)
	store.check(t, r.all())
}
