package archive

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
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// TestBytesOfNix2container holds archives against digests that nix2container's
// own tests have of the same files.
func TestBytesOfNix2container(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file1"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	mode, err := recipePerm{Regex: ".*file1", Mode: "0641"}.rule()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		rules []rule
		want  string
	}{
		{"as it is", nil, "cc45bd46eca903b0900ebb997dffd5778904dca9ec02e7375dd1e653dfb61e2e"},
		{"with a mode", []rule{mode}, "adf74a52f9e1bcd7dab77193455fa06743b979cf5955148010e5becedba4f72d"},
	} {
		folder := entry{mode: fs.ModeDir | 0o755}
		files := map[string]entry{"..": folder, "../data": folder, "../data/layer1": folder, "../data/layer1/file1": {source: "file1", mode: 0o644, of: &object{rules: c.rules}}}
		sum := sha256.New()
		if err := write(t.Context(), sum, root, files); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

const (
	app = "/nix/store/0000000000000000000000000000000a-app"
	lib = "/nix/store/0000000000000000000000000000000b-lib"
)

// testStore is a folder with a store of two paths in it.
func testStore(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{
		app + "/bin/run": "#!run\n", app + "/bin-x": "x", app + "/etc/conf": "conf", lib: "a single file",
	} {
		file := filepath.Join(root, name)
		mode := fs.FileMode(0o444)
		if strings.HasSuffix(name, "run") {
			mode = 0o555
		}
		err := os.MkdirAll(filepath.Dir(file), 0o755)
		if err := errors.Join(err, os.WriteFile(file, []byte(content), 0o644), os.Chmod(file, mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(lib, filepath.Join(root, app, "link")); err != nil {
		t.Fatal(err)
	}
	return root
}

const anyDiffID = "sha256:00000000000000000000000000000000000000000000000000000000000000ff"

// recipeOf is the JSON of an image with one layer, of these paths.
func recipeOf(paths string) string {
	return recipeWith(`"paths":` + paths + `,"digest":"` + anyDiffID + `","mediatype":"application/vnd.oci.image.layer.v1.tar"`)
}

func recipeWith(layer string) string {
	return fmt.Sprintf(`{"version":1,"image-config":{"Cmd":["/bin/run"]},"arch":"amd64","created":"2026-05-22T14:03:09Z",
		"layers":[{"diff_ids":%q,"size":10,%s,"History":{"created_by":"nix2container"}}]}`, anyDiffID, layer)
}

func imageOf(t *testing.T, root, recipe string) Image {
	t.Helper()
	set, err := Nix2container{JSON: []byte(recipe), Root: root}.Images(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return set.Images[0]
}

func readLayer(t *testing.T, l Layer) ([]byte, error) {
	t.Helper()
	rc, err := l.Open(t.Context())
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(rc)
}

// listed is what is in an archive, a line for each entry.
func listed(t *testing.T, data []byte) string {
	t.Helper()
	var lines strings.Builder
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return lines.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(r)
		fmt.Fprintf(&lines, "%c %04o %d:%d %s:%s %d %s %q\n", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Uname, h.Gname, h.ModTime.Unix(), h.Name, h.Linkname+string(content))
	}
}

func TestLayerOfStorePaths(t *testing.T) {
	root := testStore(t)
	for _, c := range []struct{ name, paths, want string }{
		{
			"as in the store",
			`[{"path":"` + lib + `"},{"path":"` + app + `"}]`,
			`5 0755 0:0 root:root 1 / ""
5 0755 0:0 root:root 1 /nix ""
5 0755 0:0 root:root 1 /nix/store ""
5 0755 0:0 root:root 1 APP ""
5 0755 0:0 root:root 1 APP/bin ""
0 0555 0:0 root:root 1 APP/bin/run "#!run\n"
0 0444 0:0 root:root 1 APP/bin-x "x"
5 0755 0:0 root:root 1 APP/etc ""
0 0444 0:0 root:root 1 APP/etc/conf "conf"
2 0777 0:0 root:root 1 APP/link "LIB"
0 0444 0:0 root:root 1 LIB "a single file"
`,
		}, {
			"at the root, with owners and modes, and without a folder",
			`[{"path":"` + app + `","options":{"rewrite":{"regex":"^` + app + `","repl":""},"ignoreDestination":"^/etc$","perms":[
				{"regex":"/app/bin","mode":"0700","uid":5,"gid":6,"uname":"u","gname":"g"},
				{"regex":"-app/bin/run$","orMode":"0004","uid":0,"gid":7}]}}]`,
			`5 0755 0:0 root:root 1 / ""
5 0755 0:0 root:root 1 /bin ""
0 0555 0:7 root:root 1 /bin/run "#!run\n"
0 0444 0:0 root:root 1 /bin-x "x"
2 0777 0:0 root:root 1 /link "LIB"
`,
		}, {
			"every rule that matches, in order",
			`[{"path":"` + lib + `","options":{"rewrite":{"regex":".*-(l)ib$","repl":"usr/${1}"},"perms":[
				{"regex":"lib","mode":"0700","uid":5,"gid":6,"uname":"u","gname":"g"},
				{"regex":"","orMode":"0022","uid":1,"gid":2,"uname":"","gname":"h"}]}}]`,
			`5 0755 0:0 root:root 1 usr ""
0 0722 1:2 u:h 1 usr/l "a single file"
`,
		}, {
			"the same file twice",
			`[{"path":"` + lib + `"},{"path":"` + lib + `","options":{"perms":[{"regex":"lib","mode":"0600","uid":0,"gid":0,"uname":"","gname":""}]}}]`,
			`5 0755 0:0 root:root 1 / ""
5 0755 0:0 root:root 1 /nix ""
5 0755 0:0 root:root 1 /nix/store ""
0 0600 0:0 root:root 1 LIB "a single file"
`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			data, err := readLayer(t, imageOf(t, root, recipeOf(c.paths)).Layers[0])
			if err != nil {
				t.Fatal(err)
			}
			want := strings.NewReplacer("APP", app, "LIB", lib).Replace(c.want)
			if diff := cmp.Diff(want, listed(t, data)); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
}

func TestImageOfNix2container(t *testing.T) {
	image := imageOf(t, "", recipeOf(`[{"path":"`+app+`"},{"path":"`+lib+`"},{"path":"`+lib+`-2"},{"path":"`+lib+`-3"}]`))
	const config = `{"created":"2026-05-22T14:03:09Z","architecture":"amd64","os":"linux","config":{"Cmd":["/bin/run"]},` +
		`"rootfs":{"type":"layers","diff_ids":["` + anyDiffID + `"]},"history":[{"created_by":"nix2container"}]}`
	if got := string(image.Config); got != config {
		t.Errorf("configuration\n%s\nwant\n%s", got, config)
	}
	if want := (v1.Platform{OS: "linux", Architecture: "amd64"}); !image.Platform.Equals(want) {
		t.Errorf("platform %v, want %v", image.Platform, want)
	}
	layer := image.Layers[0]
	if layer.DiffID.String() != anyDiffID || layer.Blob != nil {
		t.Errorf("layer %+v", layer)
	}
	if want := app + ", " + lib + ", " + lib + "-2 and 1 more"; layer.From != want {
		t.Errorf("layer is from %q, want %q", layer.From, want)
	}
}

// TestFinishedLayer: a layer may be a file of the store, and that of a base image
// is compressed.
func TestFinishedLayer(t *testing.T) {
	root := testStore(t)
	const other = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
	if err := os.WriteFile(filepath.Join(root, app, "layer"), []byte("the archive"), 0o644); err != nil {
		t.Fatal(err)
	}
	for digest, blob := range map[string]*v1.Descriptor{
		anyDiffID: nil,
		other:     {MediaType: types.OCILayer, Size: 10, Digest: v1.Hash{Algorithm: "sha256", Hex: strings.TrimPrefix(other, "sha256:")}},
	} {
		layer := imageOf(t, root, recipeWith(`"layer-path":"`+app+`/layer","digest":"`+digest+`","mediatype":"application/vnd.oci.image.layer.v1.tar+gzip"`)).Layers[0]
		if got, err := readLayer(t, layer); err != nil || string(got) != "the archive" {
			t.Errorf("%s: %q, error %v", digest, got, err)
		}
		if diff := cmp.Diff(blob, layer.Blob); diff != "" {
			t.Errorf("%s: blob (-want +got):\n%s", digest, diff)
		}
		if layer.DiffID.String() != anyDiffID || layer.From != app+"/layer" {
			t.Errorf("%s: layer %+v", digest, layer)
		}
	}
}

func TestDocument(t *testing.T) {
	name := filepath.Join(t.TempDir(), "image.json")
	if err := os.WriteFile(name, []byte(`{"version":2}`), 0o644); err != nil {
		t.Fatal(err)
	}
	src, err := Document(name)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	_, err = src.Images(t.Context(), nil)
	if want := name + ": nix2container JSON: version 2, want 1"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if _, err := Document(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: error %v", err)
	}
}

func TestBadRecipe(t *testing.T) {
	path := func(options string) string { return recipeOf(`[{"path":"` + lib + `","options":` + options + `}]`) }
	for _, c := range []struct{ name, recipe, want string }{
		{"no JSON", "x", "invalid character 'x'"},
		{"cut off", recipeOf(`[]`)[:50], "unexpected EOF"},
		{"more than one value", recipeOf(`[{"path":"`+app+`"}]`) + "{}", "more than one value"},
		{"too large", strings.Repeat(" ", maxRecipe+1), "larger than 33554432 bytes"},
		{"another version", `{"version":2}`, "version 2, want 1"},
		{"no platform", `{"version":1,"layers":[]}`, "no arch"},
		{"unknown field", recipeWith(`"tar":"x"`), `unknown field "tar"`},
		{"no paths", recipeOf(`[]`), "layers[0]: 0 paths"},
		{"no diffID", `{"version":1,"arch":"amd64","layers":[{}]}`, "layers[0]: diff_ids: "},
		{"a digest that no bytes have", recipeWith(`"digest":"sha256:ab","paths":[{"path":"` + app + `"}]`), `layers[0]: digest "sha256:ab" is not diff_ids`},
		{"not of the store", recipeOf(`[{"path":"/etc"}]`), `layers[0]: paths[0]: store path "/etc": not below /nix/store`},
		{"a way out of the store", recipeOf(`[{"path":"` + app + `/../../../etc"}]`), "paths[0]: store path"},
		{"a file out of the store", recipeWith(`"layer-path":"` + app + `/../../x","digest":"` + anyDiffID + `"`), "layer-path: "},
		{"a file that is none", recipeWith(`"layer-path":"/etc/passwd","digest":"` + anyDiffID + `"`), `"/etc/passwd" is no file of a store path`},
		{"bad expression", path(`{"rewrite":{"regex":"(","repl":""}}`), "paths[0]: options.rewrite: error parsing regexp"},
		{"bad expression of perms", path(`{"perms":[{"regex":"[","mode":"","uid":0,"gid":0}]}`), "options.perms[0]: error parsing regexp"},
		{"bad expression of what to ignore", path(`{"ignoreDestination":"*"}`), "options.ignoreDestination: error parsing regexp"},
		{"long expression", path(`{"rewrite":{"regex":"` + strings.Repeat("a", maxRegex+1) + `","repl":""}}`), "a regular expression of 4097 bytes"},
		{"expression that grows", path(`{"rewrite":{"regex":"((a{100}){100}){100}","repl":""}}`), "error parsing regexp"},
		{"long replacement", path(`{"rewrite":{"regex":"a","repl":"` + strings.Repeat("a", maxRepl+1) + `"}}`), "1025 bytes (at most 1024)"},
		{"bad mode", path(`{"perms":[{"regex":"","mode":"0789","uid":0,"gid":0}]}`), `mode "0789": want permission bits in octal`},
		{"large mode", path(`{"perms":[{"regex":"","mode":"10000","uid":0,"gid":0}]}`), `mode "10000"`},
		{"negative mode", path(`{"perms":[{"regex":"","orMode":"-1","uid":0,"gid":0}]}`), `mode "-1"`},
	} {
		_, err := Nix2container{JSON: []byte(c.recipe)}.Images(t.Context(), nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "nix2container JSON: ") {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

// TestBadStore: what cannot be read, or not be put there, is an error that names it.
func TestBadStore(t *testing.T) {
	rewritten := func(path, regex, repl string) string {
		text, _ := json.Marshal(map[string]any{"path": path, "options": map[string]any{"rewrite": map[string]string{"regex": regex, "repl": repl}}})
		return string(text)
	}
	for _, c := range []struct {
		name, paths string
		spoil       func(root string) error
		want        string
	}{
		{"gone", `[{"path":"` + lib + `-2"}]`, nil, "b-lib-2 is not in the store"},
		{"a name out of the image", "[" + rewritten(lib, ".*", "../../etc/passwd") + "]", nil, `"../../etc/passwd" cannot be its name in the image`},
		{"a name out of the image in the middle", "[" + rewritten(lib, ".*", "a/../../b") + "]", nil, `"../b" cannot be its name in the image`},
		{"no name", "[" + rewritten(lib, ".*", "./.") + "]", nil, `"." cannot be its name in the image`},
		{"a long name", "[" + rewritten(lib, "", "") + "," + rewritten(app, "/", strings.Repeat("x", 1000)) + "]", nil, "(at most 4096)"},
		{"two files of one name", "[" + rewritten(app+"", ".*/(bin-x|conf)$", "/same") + "]", nil, `are to be "/same", and differ`},
		{"a pipe", `[{"path":"` + app + `"}]`, func(root string) error {
			return syscall.Mkfifo(filepath.Join(root, app, "x"), 0o644)
		}, app + "/x is neither a file nor a folder nor a link"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := testStore(t)
			if c.spoil != nil {
				if err := c.spoil(root); err != nil {
					t.Fatal(err)
				}
			}
			_, err := readLayer(t, imageOf(t, root, recipeOf(c.paths)).Layers[0])
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// TestStorePathIsALink: such a path is a link in the image, and not what it leads to.
func TestStorePathIsALink(t *testing.T) {
	root := testStore(t)
	if err := os.Symlink("../../etc", filepath.Join(root, lib+"-2")); err != nil {
		t.Fatal(err)
	}
	data, err := readLayer(t, imageOf(t, root, recipeOf(`[{"path":"`+lib+`-2"}]`)).Layers[0])
	if err != nil {
		t.Fatal(err)
	}
	if want := "2 0777 0:0 root:root 1 " + lib + `-2 "../../etc"` + "\n"; !strings.HasSuffix(listed(t, data), want) {
		t.Errorf("entries\n%swant at the end\n%s", listed(t, data), want)
	}
}

// TestStoreChanges: a file that has changed since it was looked at is an error.
func TestStoreChanges(t *testing.T) {
	store, err := openStore(testStore(t))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	files := map[string]entry{"/lib": {source: filepath.Base(lib), mode: 0o444, size: 14}}
	err = write(t.Context(), io.Discard, store, files)
	if want := `"/lib": has become shorter: 13 of 14 bytes`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestLayerEndsEarly(t *testing.T) {
	layer := imageOf(t, testStore(t), recipeOf(`[{"path":"`+app+`"}]`)).Layers[0]
	rc, err := layer.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rc.Read(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if err := rc.Close(); err != nil { // returns when nothing reads the store any more
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := layer.Open(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

// TestOneLayerOfManyFilesAtATime: the names of the files of several would take more
// memory than there is to be.
func TestOneLayerOfManyFilesAtATime(t *testing.T) { synctest.Test(t, oneAtATime) }

func oneAtATime(t *testing.T) {
	root := testStore(t)
	named := func(name string) object {
		path, err := nix.ParseStorePath(name)
		if err != nil {
			t.Fatal(err)
		}
		return object{path: path}
	}
	c := crowd{many: 3, turn: make(chan struct{}, 1)}
	large := storeTar{root, []object{named(app), named(lib)}, c}
	small := storeTar{root, []object{named(lib)}, crowd{many: 10, turn: c.turn}}
	broken := storeTar{root, []object{named(app), named(lib + "-2")}, c}
	open := func(tar storeTar) io.ReadCloser {
		rc, err := tar.open(t.Context())
		if err != nil {
			t.Error(err)
			return io.NopCloser(nil)
		}
		return rc
	}
	first := open(large)
	open(small).Close()
	second := make(chan io.ReadCloser, 1)
	go func() { second <- open(large) }()
	ctx, cancel := context.WithCancel(t.Context())
	third := make(chan error, 1)
	go func() {
		_, err := large.open(ctx)
		third <- err
	}()
	synctest.Wait()
	if len(second)+len(third) != 0 {
		t.Error("a layer of many files did not wait for another one")
	}
	cancel()
	if err := <-third; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	first.Close()
	(<-second).Close()
	for range 2 {
		if _, err := broken.open(t.Context()); err == nil || !strings.Contains(err.Error(), "is not in the store") {
			t.Errorf("error %v, want one of a path that is gone", err)
		}
	}
	open(large).Close()
	if len(c.turn) != 0 {
		t.Error("the turn was kept")
	}
}

func FuzzNix2container(f *testing.F) {
	f.Add([]byte(recipeOf(`[{"path":"` + lib + `","options":{"rewrite":{"regex":"^/nix(.*)","repl":"$1"},"perms":[{"regex":".*","mode":"0755","uid":1,"gid":2,"uname":"a","gname":"b"}],"ignoreDestination":"x"}}]`)))
	f.Add([]byte(recipeOf(`[{"path":"` + app + `"},{"path":"` + lib + `"}]`)))
	f.Add([]byte(recipeWith(`"layer-path":"` + app + `/bin/run","digest":"` + anyDiffID + `"`)))
	f.Add([]byte(`{"version":1,"arch":"","layers":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := Nix2container{JSON: data}.Images(t.Context(), nil)
		if err != nil {
			return
		}
		var config v1.ConfigFile
		if err := json.Unmarshal(set.Images[0].Config, &config); err != nil {
			t.Fatalf("configuration %s: %v", set.Images[0].Config, err)
		}
		for i, l := range set.Images[0].Layers {
			if config.RootFS.DiffIDs[i] != l.DiffID {
				t.Errorf("layer %d: diffID %s, in the configuration %s", i, l.DiffID, config.RootFS.DiffIDs[i])
			}
			if l.From == "" || l.Open == nil {
				t.Errorf("layer %d is from nowhere", i)
			}
		}
	})
}
