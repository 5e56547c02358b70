package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/archive"
	"github.com/nixpkgs-factory/factory/internal/layers"
)

// one and two are the layers of the images here.
func both(t testing.TB) (one, two []byte) {
	return layer(t, "one", strings.Repeat("1", 2000)), layer(t, "two", "2")
}

// streamed is what streamLayeredImage writes: layers, configuration, manifest last.
func streamed(t testing.TB) []entry {
	one, two := both(t)
	conf := config(t, nil, one, two)
	a, b, c := sum(one).Hex+"/layer.tar", sum(two).Hex+"/layer.tar", sum(conf).Hex+".json"
	return []entry{{name: a, data: one}, {name: b, data: two}, {name: c, data: conf},
		{name: "manifest.json", data: marshal(t, []any{map[string]any{"Config": c, "RepoTags": []string{"app:1"}, "Layers": []string{a, b}}})}}
}

// saved is what docker save writes since engine 25: an OCI layout, too.
func saved(t testing.TB) []entry {
	one, two := both(t)
	conf := config(t, nil, one, two)
	blob := func(data []byte) string { return "blobs/sha256/" + sum(data).Hex }
	return []entry{
		{name: blob(one), data: one}, {name: blob(two), data: two}, {name: blob(conf), data: conf},
		{name: "index.json", data: []byte(`{"schemaVersion":2,"manifests":[]}`)},
		{name: "manifest.json", data: marshal(t, []any{map[string]any{"Config": blob(conf), "RepoTags": nil, "Layers": []string{blob(one), blob(two)}}})},
		{name: "oci-layout", data: []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{name: "repositories", data: []byte(`{}`)},
	}
}

// old is what engines before 25 write: a folder for each layer, and where two are
// the same a link.
func old(t testing.TB, kind byte) []entry {
	one, _ := both(t)
	conf := config(t, map[string]any{"history": []any{map[string]any{"created_by": "x", "empty_layer": true}}}, one, one)
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	link := entry{name: b + "/layer.tar", link: "../" + a + "/layer.tar", kind: tar.TypeSymlink}
	if kind == tar.TypeLink {
		link = entry{name: b + "/layer.tar", link: a + "/layer.tar", kind: tar.TypeLink}
	}
	return []entry{
		{name: "manifest.json", data: marshal(t, []any{map[string]any{"Config": "./conf.json", "RepoTags": []string{"app:1"}, "Layers": []string{a + "/layer.tar", b + "/layer.tar"}}})},
		{name: "conf.json", data: conf},
		{name: a + "/VERSION", data: []byte("1.0")}, {name: a + "/json", data: []byte(`{"id":"a"}`)},
		{name: "./" + a + "/layer.tar", data: one}, link,
	}
}

// compressed has layers that are compressed, whatever their names say.
func compressed(t testing.TB) []entry {
	one, two := both(t)
	conf := config(t, nil, one, two)
	return []entry{{name: "one.tar", data: gzipped(t, one)}, {name: "two.tar.gz", data: zstded(t, two)}, {name: "c", data: conf},
		{name: "manifest.json", data: marshal(t, []any{map[string]any{"Config": "c", "Layers": []string{"one.tar", "two.tar.gz"}}})}}
}

// collect reads a source, and its layers, wherever they are given.
func collect(t testing.TB, s archive.Source) (archive.Set, map[v1.Hash][]byte, error) {
	t.Helper()
	defer s.Close()
	got := map[v1.Hash][]byte{}
	set, err := s.Images(t.Context(), func(_ context.Context, _ string, _ v1.Hash, r io.Reader) (archive.Taken, error) {
		data, err := io.ReadAll(r)
		if err != nil {
			return archive.Taken{}, err
		}
		id, err := layers.Identify(bytes.NewReader(data))
		got[id.DiffID] = data
		return archive.Taken{Digest: id.Digest, DiffID: id.DiffID}, err
	})
	for _, img := range set.Images {
		for _, l := range img.Layers {
			if l.Open == nil {
				continue
			}
			rc, err := l.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			data := readAll(t, rc)
			id, err := layers.Identify(bytes.NewReader(data))
			if err != nil || id.DiffID != l.DiffID {
				t.Errorf("%s: diffID %s, %v, want %s", l.From, id.DiffID, err, l.DiffID)
			}
			got[l.DiffID] = data
		}
	}
	return set, got, err
}

// ways are how an archive may be given.
func ways(t testing.TB, data []byte, o archive.Options) map[string]archive.Source {
	t.Helper()
	sources := map[string]archive.Source{"stdin": archive.Stream("-", io.NopCloser(bytes.NewReader(data)), o)}
	for name, bytes := range map[string][]byte{"file": data, "file.gz": gzipped(t, data), "file.zst": zstded(t, data)} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, bytes, 0o644); err != nil {
			t.Fatal(err)
		}
		source, err := archive.File(file, o)
		if err != nil {
			t.Fatal(err)
		}
		sources[name] = source
	}
	return sources
}

func TestDockerArchives(t *testing.T) {
	one, two := both(t)
	first := func(entries []entry) []entry { // manifest.json first
		return append(entries[len(entries)-1:], entries[:len(entries)-1]...)
	}
	tests := []struct {
		name    string
		entries []entry
		layers  []v1.Hash
		names   string
	}{
		{"streamLayeredImage", streamed(t), []v1.Hash{sum(one), sum(two)}, "app:1"},
		{"manifest first", first(streamed(t)), []v1.Hash{sum(one), sum(two)}, "app:1"},
		{"docker save, engine 25", saved(t), []v1.Hash{sum(one), sum(two)}, ""},
		{"docker save, symbolic links", old(t, tar.TypeSymlink), []v1.Hash{sum(one), sum(one)}, "app:1"},
		{"docker save, hard links", old(t, tar.TypeLink), []v1.Hash{sum(one), sum(one)}, "app:1"},
		{"compressed layers", compressed(t), []v1.Hash{sum(one), sum(two)}, ""},
	}
	for _, test := range tests {
		for way, source := range ways(t, pack(t, test.entries...), archive.Options{}) {
			t.Run(test.name+" as "+way, func(t *testing.T) {
				set, got, err := collect(t, source)
				if err != nil {
					t.Fatal(err)
				}
				img := set.Images[0]
				if len(set.Images) != 1 || set.Index != nil || img.Manifest != nil || img.Platform.String() != "linux/amd64" || strings.Join(img.Names, " ") != test.names {
					t.Errorf("%d images, index %s, manifest %s, platform %s, names %v", len(set.Images), set.Index, img.Manifest, img.Platform, img.Names)
				}
				if !slices.ContainsFunc(test.entries, func(e entry) bool { return bytes.Equal(e.data, img.Config) }) {
					t.Errorf("configuration %s is not as its maker wrote it", img.Config)
				}
				for i, want := range test.layers {
					if img.Layers[i].DiffID != want || got[want] == nil {
						t.Errorf("layer %d is %s, want %s; read: %v", i, img.Layers[i].DiffID, want, got[want] != nil)
					}
				}
			})
		}
	}
}

func TestSelect(t *testing.T) {
	one, two := both(t)
	a, b := config(t, nil, one), config(t, nil, two)
	data := pack(t, entry{name: "a", data: a}, entry{name: "b", data: b}, entry{name: "1.tar", data: one}, entry{name: "2.tar", data: two},
		entry{name: "manifest.json", data: marshal(t, []any{
			map[string]any{"Config": "a", "RepoTags": []string{"a:1", "docker.io/library/more:latest"}, "Layers": []string{"1.tar"}},
			map[string]any{"Config": "b", "RepoTags": []string{"b:1"}, "Layers": []string{"2.tar"}},
		})})
	for selected, want := range map[string]string{"b:1": string(b), "more": string(a), "": "there are 2 images: choose one with --select (a:1, docker.io/library/more:latest, b:1)", "c": `no image is called "c"; there are a:1`} {
		for way, source := range ways(t, data, archive.Options{Select: selected}) {
			set, _, err := collect(t, source)
			if err != nil {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s: --select %q: %v, want %s", way, selected, err, want)
				}
			} else if got := string(set.Images[0].Config); got != want {
				t.Errorf("%s: --select %q: configuration %s, want %s", way, selected, got, want)
			}
		}
	}
}

// endless never ends.
type endless struct{ n int64 }

func (e *endless) Read(p []byte) (int, error) {
	clear(p)
	e.n += int64(len(p))
	return len(p), nil
}

func TestBadArchives(t *testing.T) {
	one, two := both(t)
	good := streamed(t)
	replaced := func(i int, e entry) []entry { list := slices.Clone(good); list[i] = e; return list }
	manifest := func(v any) []entry { return replaced(3, entry{name: "manifest.json", data: marshal(t, []any{v})}) }
	whole := pack(t, good...)
	tests := []struct {
		name string
		data []byte
		want string
		late bool // only who reads the layers of a file sees it
	}{
		{"empty", make([]byte, 1024), "neither a manifest.json", false},
		{"no archive", bytes.Repeat([]byte("x"), 2000), "invalid tar header", false},
		{"truncated", whole[:700], fmt.Sprintf("member %q", good[0].name), false},
		{"no configuration", pack(t, append(slices.Clone(good[:2]), good[3])...), `.json": the archive does not have it`, false},
		{"no layer", pack(t, good[1:]...), `/layer.tar": the archive does not have it`, false},
		{"name that leads out", pack(t, append(good, entry{name: "../../etc/passwd"})...), `member "../../etc/passwd": its name leads out`, false},
		{"absolute name", pack(t, append(good, entry{name: "/etc/passwd"})...), `member "/etc/passwd": its name leads out`, false},
		{"configuration that leads out", pack(t, manifest(map[string]any{"Config": "../c", "Layers": []string{}})...), `member "../c"`, false},
		{"link that leads out", pack(t, append(good, entry{name: "x", link: "../../shadow", kind: tar.TypeSymlink})...), `member "x": a link to member "../../shadow"`, false},
		{"links in a circle", pack(t, replaced(0, entry{name: good[0].name, link: "layer.tar", kind: tar.TypeSymlink})...), "links go round in a circle", false},
		{"another layer", pack(t, replaced(1, entry{name: good[1].name, data: one})...), fmt.Sprintf("member %q: its diffID is %s, the image says %s", good[1].name, sum(one), sum(two)), true},
		{"fewer layers than diffIDs", pack(t, manifest(map[string]any{"Config": good[2].name, "Layers": []string{good[0].name}})...), "the configuration has 2 diffIDs, the manifest 1 layers", false},
		{"no JSON", pack(t, replaced(3, entry{name: "manifest.json", data: []byte("[}")})...), `member "manifest.json": invalid character`, false},
		{"no image", pack(t, replaced(3, entry{name: "manifest.json", data: []byte("[]")})...), "there is no image", false},
	}
	for _, test := range tests {
		for way, source := range ways(t, test.data, archive.Options{}) {
			if test.late && way == "file" {
				continue
			}
			_, _, err := collect(t, source)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "file") && !strings.Contains(err.Error(), "-: ") {
				t.Errorf("%s as %s: error %v, want %s", test.name, way, err, test.want)
			}
		}
	}
}

func TestStreamsEnd(t *testing.T) {
	whole := pack(t, streamed(t)...)
	cut := gzipped(t, whole)
	var large bytes.Buffer
	if err := tar.NewWriter(&large).WriteHeader(&tar.Header{Name: "x", Size: 1 << 60, Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		from io.Reader
		want string
	}{
		"that never began":           {strings.NewReader(""), "it is empty"},
		"that goes on":               {io.MultiReader(bytes.NewReader(whole), &endless{}), "goes on behind the end"},
		"of nothing":                 {&endless{}, "goes on behind the end"},
		"with a member without end":  {io.MultiReader(&large, &endless{}), "bytes are too many"},
		"compressed and truncated":   {bytes.NewReader(cut[:len(cut)-4]), "unexpected EOF"},
		"compressed with more to it": {io.MultiReader(bytes.NewReader(cut), strings.NewReader(strings.Repeat("more", 10))), "gzip"},
	} {
		_, _, err := collect(t, archive.Stream("-", io.NopCloser(test.from), archive.Options{}))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("a stream %s: error %v, want %s", name, err, test.want)
		}
	}
}

func TestScript(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "image.tar"), pack(t, streamed(t)...), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("REGISTRY_PASSWORD", "pa55word")
	script := func(text string) archive.Source {
		file := filepath.Join(dir, "stream")
		if err := os.WriteFile(file, []byte("#!/bin/sh\ncd "+dir+"\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
		if kind, err := archive.Find(file); kind != archive.IsScript {
			t.Errorf("Find() = %s, %v", kind, err)
		}
		return archive.Script(file, archive.Options{})
	}
	set, _, err := collect(t, script("echo progress >&2\ncat image.tar\ntest -z \"$REGISTRY_PASSWORD\""))
	if err != nil || set.Images[0].Names[0] != "app:1" {
		t.Errorf("Images() = %v, %v", set.Images, err)
	}
	for name, text := range map[string]string{
		"half way":   "head -c 3000 image.tar; echo the disk is gone >&2; exit 3",
		"at its end": "cat image.tar; echo the disk is gone >&2; exit 3",
		"at once":    "echo the disk is gone >&2; exit 3",
	} {
		if _, _, err := collect(t, script(text)); err == nil || !strings.Contains(err.Error(), "the disk is gone") || !strings.Contains(err.Error(), "exit status 3") {
			t.Errorf("a script that fails %s: error %v", name, err)
		}
	}
}

// TestStreamsOfMore is about what is in an archive beside the image, such as all
// that else was in the folder that somebody has packed.
func TestStreamsOfMore(t *testing.T) {
	secret := []byte(strings.Repeat("PASSWORD=pa55word\n", 100))
	more := append([]entry{{name: "secrets.env", data: secret}}, streamed(t)...)
	for way, source := range ways(t, pack(t, more...), archive.Options{}) {
		if _, got, err := collect(t, source); err != nil || got[sum(secret)] != nil || len(got) != 2 {
			t.Errorf("%s: %d layers, %v, want the 2 of the image", way, len(got), err)
		}
	}
	one, _ := both(t)
	conf := config(t, nil, one)
	odd := []entry{{name: "c", data: conf}, {name: "first layer", data: one},
		{name: "manifest.json", data: marshal(t, []any{map[string]any{"Config": "c", "Layers": []string{"first layer"}}})}}
	for way, source := range ways(t, pack(t, odd...), archive.Options{}) {
		_, _, err := collect(t, source)
		if want := `member "first layer": in a stream the name of a layer`; way == "file" && err != nil || way != "file" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("an odd name, %s: error %v, want %s but for the file", way, err, want)
		}
	}
}

// TestLastMemberCounts is about two members of one name, as tar has it.
func TestLastMemberCounts(t *testing.T) {
	list := streamed(t)
	list = append(list, entry{name: list[0].name, data: []byte(`{"not": "the layer"}`)})
	for name, source := range ways(t, pack(t, list...), archive.Options{}) {
		set, err := source.Images(t.Context(), func(_ context.Context, _ string, _ v1.Hash, r io.Reader) (archive.Taken, error) {
			id, err := layers.Identify(r)
			return archive.Taken{Digest: id.Digest, DiffID: id.DiffID}, err
		})
		if err != nil || set.Images[0].Layers[0].Open == nil {
			t.Fatalf("%s: %+v, %v, want a layer to be opened", name, set, err)
		}
		rc, err := set.Images[0].Layers[0].Open(t.Context())
		if err != nil || string(readAll(t, rc)) != `{"not": "the layer"}` {
			t.Errorf("%s: not the last member, %v", name, err)
		}
		source.Close()
	}
}

// TestNamesAreBounded is about names, which are kept until the archive ends.
func TestNamesAreBounded(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range 80 {
		h := &tar.Header{Name: fmt.Sprint(i), Linkname: strings.Repeat("x", 500_000), Typeflag: tar.TypeSymlink}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	for way, source := range ways(t, b.Bytes(), archive.Options{}) {
		if _, _, err := collect(t, source); err == nil || !strings.Contains(err.Error(), "the names of its members have more than") {
			t.Errorf("%s: error %v", way, err)
		}
	}
}

var errTaken = errors.New("taken")

func TestTakeEndsTheReading(t *testing.T) {
	s := archive.Stream("-", io.NopCloser(bytes.NewReader(pack(t, streamed(t)...))), archive.Options{})
	one, _ := both(t)
	var guessed v1.Hash
	_, err := s.Images(t.Context(), func(_ context.Context, _ string, guess v1.Hash, _ io.Reader) (archive.Taken, error) {
		guessed = guess
		return archive.Taken{}, errTaken
	})
	if !errors.Is(err, errTaken) || guessed != sum(one) {
		t.Errorf("Images() = %v, want %v; guessed %s, want %s", err, errTaken, guessed, sum(one))
	}
}

// FuzzStream reads what may be an archive, as a stream and as a file.
func FuzzStream(f *testing.F) {
	for _, entries := range [][]entry{streamed(f), saved(f), old(f, tar.TypeSymlink), compressed(f), buildxLayout(f), plainLayout(f), partLayout(f)} {
		f.Add(pack(f, entries...))
		f.Add(gzipped(f, pack(f, entries...)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		plain, err := archive.File(file, archive.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, source := range []archive.Source{plain, archive.Stream("-", io.NopCloser(bytes.NewReader(data)), archive.Options{})} {
			set, err := source.Images(t.Context(), func(_ context.Context, _ string, _ v1.Hash, r io.Reader) (archive.Taken, error) {
				id, err := layers.Identify(io.LimitReader(r, 1<<20))
				return archive.Taken{Digest: id.Digest, DiffID: id.DiffID}, err
			})
			source.Close()
			if err == nil && len(set.Images) == 0 {
				t.Error("no error and no image")
			}
		}
	})
}
