package push_test

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/archive"
	"github.com/nixpkgs-factory/factory/internal/containertest"
	"github.com/nixpkgs-factory/factory/internal/push"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// dockerfile puts a program and a text into layers of their own, without folders,
// which would have the time of the build.
const dockerfile = `FROM scratch
COPY probe /probe
COPY text /text
CMD ["/probe", "read", "/text"]
`

// buildContext is a folder with the Dockerfile and what it copies.
func buildContext(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "Dockerfile"), dockerfile)
	put(t, filepath.Join(dir, "text"), "one")
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "probe"), "../containertest/testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func skopeo(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("skopeo", "--insecure-policy", "copy", "--quiet", from, to).CombinedOutput(); err != nil {
		t.Fatalf("skopeo copy %s %s: %v\n%s", from, to, err, out)
	}
}

// opened opens an archive or a layout by what it is.
func opened(t *testing.T, name string) push.Source {
	t.Helper()
	kind, err := archive.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	if kind == archive.IsLayout {
		return push.Source{Name: name, Source: archive.Folder(name, archive.Options{})}
	}
	s, err := archive.File(name, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return push.Source{Name: name, Source: s}
}

// TestEngines pushes what Docker, buildah and skopeo make, and has the engines run
// it.
func TestEngines(t *testing.T) {
	engines := containertest.Engines(t)
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Skip("skopeo is not installed")
	}
	dir, work := buildContext(t), t.TempDir()
	made := map[string]string{} // files by the repository that they go to
	for _, e := range engines {
		file := filepath.Join(work, e.String()+".tar")
		e.Save(t, e.Build(t, dir), file)
		made[e.String()] = file
	}
	first := filepath.Join(work, engines[0].String()+".tar")
	for name, to := range map[string]string{"docker-archive": ":app:1", "oci-archive": "", "oci": ":latest"} {
		made["skopeo-"+name] = filepath.Join(work, name)
		skopeo(t, "docker-archive:"+first, name+":"+made["skopeo-"+name]+to)
	}

	made["no-history"] = handmade(t, dir, filepath.Join(work, "none.tar"), nil)
	made["short-history"] = handmade(t, dir, filepath.Join(work, "short.tar"), []any{map[string]any{"created_by": "ENV", "empty_layer": true}, map[string]any{"created_by": "COPY"}})

	to := serve(t, registrytest.Start(t, registrytest.Options{}))
	for name, file := range made {
		result := must(t, pusher(t, to.open(t, name), "main"), opened(t, file))
		check(t, engines, name, result[0].Image, "one")
		again := must(t, pusher(t, to.open(t, name), "main"), opened(t, file))
		if again[0].Digest != result[0].Digest || again[0].Sent != 0 {
			t.Errorf("%s, once more: %+v, want digest %s and nothing sent", name, again, result[0].Digest)
		}
	}

	// A file of an image changes.
	put(t, filepath.Join(dir, "text"), "two")
	e := engines[0]
	changed := filepath.Join(work, "changed.tar")
	e.Save(t, e.Build(t, dir), changed)
	f, err := os.Open(changed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	to.sent.Store(0)
	source := push.Source{Name: "-", Source: archive.Stream("-", io.NopCloser(f), archive.Options{})}
	result := must(t, pusher(t, to.open(t, e.String()), "changed", "main"), source) // buildah does not pull a tag again
	if got := states(result[0]); got != "reused sent" || to.sent.Load() > 10_000 {
		t.Errorf("after a change: %s, %d bytes sent", got, to.sent.Load())
	}
	check(t, engines, "a change", result[0].Image, "two")
}

// handmade is an archive with the history that it is given, and as many layers as
// the Dockerfile makes.
func handmade(t *testing.T, dir, file string, history []any) string {
	t.Helper()
	var tars [][]byte
	for _, name := range []string{"probe", "text"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		tars = append(tars, pack(t, [2]string{name, string(data)}))
	}
	var conf map[string]any
	if err := json.Unmarshal(config(t, runtime.GOARCH, tars...), &conf); err != nil {
		t.Fatal(err)
	}
	if conf["config"] = map[string]any{"Cmd": []string{"/probe"}}; history != nil {
		conf["history"] = history
	}
	put(t, file, string(dockerArchive(t, marshal(t, conf), tars...)))
	return file
}

// check has every engine pull an image and run it.
func check(t *testing.T, engines []containertest.Engine, name, image, want string) {
	t.Helper()
	for _, e := range engines {
		pulled := e.Pull(t, image)
		r := e.Run(t, pulled, containertest.Options{}, containertest.Command{Args: strings.Fields("/probe read /text")})
		if r.Stdout != want || r.Code != 0 {
			t.Errorf("%s in %s: %+v, want %q", name, e, r, want)
		}
	}
}
