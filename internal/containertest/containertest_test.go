package containertest

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// layer makes a layer of headers; those of files say what is in them after a "|" in the name.
func layer(t *testing.T, headers ...tar.Header) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		name, text, _ := strings.Cut(h.Name, "|")
		h.Name, h.Size = name, int64(len(text))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// probe is the program of testdata/probe, without libraries.
var probe = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "containertest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "probe")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return os.ReadFile(program)
})

// probeImage publishes an image that has the probe and a text.
func probeImage(t *testing.T) (ref string) {
	t.Helper()
	data, err := probe()
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image,
		layer(t, tar.Header{Name: "bin/probe|" + string(data), Mode: 0o755}, tar.Header{Name: "bin/tail", Linkname: "probe", Typeflag: tar.TypeSymlink},
			tar.Header{Name: "bin/sh", Linkname: "probe", Typeflag: tar.TypeSymlink},
			tar.Header{Name: "dev", Mode: 0o755, Typeflag: tar.TypeDir}),
		layer(t, tar.Header{Name: "text|of the image", Mode: 0o600, Uid: 7}))
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config = v1.Config{Env: []string{"PATH=/bin", "NAME=image"}, WorkingDir: "/dev", Cmd: []string{"probe", "args", "cmd"}}
	if img, err = mutate.ConfigFile(img, file); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	ref = strings.TrimPrefix(server.URL, "http://") + "/probe:1"
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, img); err != nil {
		t.Fatal(err)
	}
	return ref
}

// TestEngines is about what both engines do alike.
func TestEngines(t *testing.T) {
	engines := Engines(t)
	ref := probeImage(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	here := listener.Addr().String()

	folder := t.TempDir()
	write(t, filepath.Join(folder, "here"), "of this machine")
	open := Options{HostNetwork: true, Env: []string{"NAME=container"}, Mounts: []Mount{{Source: folder, Target: "/mnt"}}}
	closed := Options{Mounts: []Mount{{Source: folder, Target: "/mnt", ReadOnly: true}}, Tmpfs: []string{"/bin/new"}}
	ask := func(args ...string) Command { return Command{Args: append([]string{"probe"}, args...)} }
	tests := []struct {
		name    string
		o       Options
		c       Command
		code    int
		stdout  string
		trouble string // in stderr
		alone   bool   // also in a container of its own
	}{
		{"arguments", closed, ask("args", "a b", "", "'$X'"), 0, "[\"a b\" \"\" \"'$X'\"]\n", "", false},
		{"exit code", closed, ask("exit", "3"), 3, "", "", true},
		{"both outputs and standard input", closed, Command{Args: []string{"probe", "copy"}, Stdin: "in\n"}, 0, "in\n", "in\n", true},
		{"the image's environment", closed, ask("env", "NAME"), 0, "image\n", "", false},
		{"the container's environment", open, ask("env", "NAME"), 0, "container\n", "", true},
		{"the command's environment", open, Command{Args: []string{"probe", "env", "NAME"}, Env: []string{"NAME=a command"}}, 0, "a command\n", "", false},
		{"the image's user and folder", closed, ask("who"), 0, "0 /dev\n", "", false},
		{"another user and folder", closed, Command{Args: []string{"probe", "who"}, User: "1000", WorkDir: "/bin"}, 0, "1000 /bin\n", "", true},
		{"the user counts", closed, Command{Args: []string{"probe", "read", "/text"}, User: "1000"}, 1, "", "permission denied", false},
		{"network", open, ask("dial", here), 0, "", "", false},
		{"no network", closed, ask("dial", here), 1, "", "dial tcp " + here, true},
		{"mount", closed, ask("read", "/mnt/here"), 0, "of this machine", "", true},
		{"read-only mount", closed, ask("write", "/mnt/new", "x"), 1, "", "read-only file system", false},
		{"new and empty", closed, Command{Args: []string{"probe", "write", "/bin/new/x", "x"}, User: "1000"}, 0, "", "", true},
		{"mount to write to", open, ask("write", "/mnt/new", "x"), 0, "", "", false},
		{"a change", closed, ask("write", "/text", "changed"), 0, "", "", false},
	}
	for _, e := range engines {
		t.Run(e.String(), func(t *testing.T) {
			t.Parallel()
			image := e.Pull(t, ref)
			started := map[bool]Container{true: e.Start(t, image, open), false: e.Start(t, image, closed)}
			for _, tt := range tests {
				check := func(how string, r Result) {
					t.Helper()
					if r.Code != tt.code || r.Stdout != tt.stdout || !strings.Contains(r.Stderr, tt.trouble) || (tt.trouble == "" && r.Stderr != "") {
						t.Errorf("%s, %s: exit code %d, stdout %q, stderr %q, want %d, %q, %q", how, tt.name, r.Code, r.Stdout, r.Stderr, tt.code, tt.stdout, tt.trouble)
					}
				}
				check("Exec", started[tt.o.HostNetwork].Exec(t, tt.c))
				if tt.alone {
					check("Run", e.Run(t, image, tt.o, tt.c))
				}
			}
			read := ask("read", "/text")
			if r := started[false].Exec(t, read); r.Stdout != "changed" {
				t.Errorf("after the change: %+v", r)
			}
			if r := e.Run(t, image, closed, read); r.Stdout != "of the image" {
				t.Errorf("in another container: %+v", r)
			}
		})
	}
}

func TestReadOnly(t *testing.T) {
	d, ok := findDocker(t)
	if !ok {
		t.Skip("no Docker engine answers")
	}
	image := d.Pull(t, probeImage(t))
	r := d.Run(t, image, Options{ReadOnly: true}, Command{Args: []string{"probe", "write", "/text", "x"}})
	if r.Code != 1 || !strings.Contains(r.Stderr, "read-only file system") {
		t.Errorf("writing to a container that is read-only: %+v", r)
	}
}

const dockerfile = `ARG BASE
FROM $BASE AS first
RUN ["probe", "write", "/new", "by RUN"]
FROM scratch
COPY --from=first /bin/probe /new /there/
ENV PATH=/there
RUN ["probe", "write", "/there/last", "ran"]
`

func TestBuildAndRead(t *testing.T) {
	engines := Engines(t)
	ref := probeImage(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "Dockerfile"), dockerfile)
	for _, e := range engines {
		t.Run(e.String(), func(t *testing.T) {
			t.Parallel()
			base := e.Pull(t, ref)
			got := e.Read(t, base)
			text, _ := got.Find("/text")
			if want := (File{Path: "/text", Mode: 0o600, UID: 7, Size: 12}); text != want {
				t.Errorf("/text is %+v, want %+v", text, want)
			}
			link, _ := got.Find("/bin/tail")
			if link.Mode.Type() != fs.ModeSymlink || link.Target != "probe" {
				t.Errorf("/bin/tail is %+v", link)
			}
			program, _ := got.Find("/bin/probe")
			if want := program.Size + 12; got.Size != want || program.Size < 1e6 {
				t.Errorf("size is %d, want %d", got.Size, want)
			}
			if diff := cmp.Diff([]string{"PATH=/bin", "NAME=image"}, got.Config.Env); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}

			image := e.Build(t, dir, "BASE="+base)
			final := e.Read(t, image)
			if f, _ := final.Find("/there/new"); f.Size != int64(len("by RUN")) {
				t.Errorf("/there/new is %+v", f)
			}
			if final.Size != program.Size+int64(len("by RUN")+len("ran")) {
				t.Errorf("size is %d, but the program's %d", final.Size, program.Size)
			}
			if r := e.Run(t, image, Options{}, Command{Args: []string{"probe", "read", "/there/new"}}); r.Stdout != "by RUN" {
				t.Errorf("in the new image: %+v", r)
			}
		})
	}
}

// TestNothingIsLeft asks the engines themselves after a test has ended.
func TestNothingIsLeft(t *testing.T) {
	d, ok := findDocker(t)
	if !ok {
		t.Skip("no Docker engine answers")
	}
	ref := probeImage(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "Dockerfile"), dockerfile)
	all := func() []string {
		return strings.Fields(do(t, "docker", "image", "ls", "--all", "--quiet", "--no-trunc"))
	}
	before := all()
	var made []string
	t.Run("made", func(t *testing.T) {
		base := d.Pull(t, ref)
		c := d.Start(t, base, Options{})
		image := d.Build(t, dir, "BASE="+base)
		made = []string{ref, base, image, c.(dockerContainer).id}
		for _, id := range all() {
			// those that have the probe, as opposed to what else goes on here
			r, err := run(t.Context(), "", "docker", "image", "inspect", id)
			if err == nil && !slices.Contains(before, id) && strings.Contains(r.Stdout, `"NAME=image"`) {
				made = append(made, id)
			}
		}
		if len(made) < 5 {
			t.Errorf("only %q were made", made)
		}
	})
	for _, id := range made {
		if r, err := run(t.Context(), "", "docker", "inspect", id); err != nil || r.Code != 1 {
			t.Errorf("docker still knows %s: exit code %d, %v", id, r.Code, err)
		}
	}
}

func TestSweep(t *testing.T) {
	d, ok := findDocker(t)
	if !ok {
		t.Skip("no Docker engine answers")
	}
	ref := probeImage(t)
	image := d.Pull(t, ref)
	left := fmt.Sprintf("%s:%d-left", mark, time.Now().Add(-2*keep).Unix())
	do(t, "docker", "image", "tag", image, left)
	id := do(t, "docker", "run", "--detach", "--network", "none", "--label", fmt.Sprintf("%s=%d-left", mark, time.Now().Add(-2*keep).Unix()), image, "tail")
	t.Cleanup(func() { // if sweep has not
		run(context.Background(), "", "docker", "image", "rm", "--force", left)
		run(context.Background(), "", "docker", "container", "rm", "--force", id)
	})
	sweep(t, time.Now().Add(-keep))
	for _, gone := range []string{left, id} {
		if r, _ := run(t.Context(), "", "docker", "inspect", gone); r.Code != 1 {
			t.Errorf("%s is still there", gone)
		}
	}
	do(t, "docker", "image", "inspect", image)
}

func TestReadHidesWhatALayerRemoves(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Name: name, Mode: 0o644} }
	folder := func(name string) tar.Header {
		return tar.Header{Name: name, Mode: 0o755, Typeflag: tar.TypeDir}
	}
	img, err := mutate.AppendLayers(empty.Image,
		layer(t, folder("./"), folder("a"), file("a/gone|1"), file("a/stays|22"), folder("b"), file("b/old|333"), folder("c"), file("c/inner|4444"), file("ab|5")),
		layer(t, file("a/.wh.gone|"), file("b/new|x"), file("b/.wh..wh..opq|"), file("c|now a file"),
			tar.Header{Name: "d", Linkname: "a/stays", Typeflag: tar.TypeLink}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(img)
	if err != nil {
		t.Fatal(err)
	}
	want := Contents{
		Size: 1 + 2 + 3 + 4 + 1 + 1 + 10,
		Files: []File{
			{Path: "/a", Mode: fs.ModeDir | 0o755},
			{Path: "/a/stays", Mode: 0o644, Size: 2},
			{Path: "/ab", Mode: 0o644, Size: 1},
			{Path: "/b", Mode: fs.ModeDir | 0o755},
			{Path: "/b/new", Mode: 0o644, Size: 1},
			{Path: "/c", Mode: 0o644, Size: 10},
			{Path: "/d", Target: "/a/stays"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Read() (-want +got):\n%s", diff)
	}
	if below := got.Below("/a"); len(below) != 1 || below[0].Path != "/a/stays" {
		t.Errorf("Below(/a) is %v", below)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
