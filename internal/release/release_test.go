package release

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdxlib"
)

const root = "../.."

// checkout is a copy of the sources with a commit that is tagged.
func checkout(t *testing.T, tag string) string {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{"cmd/factory", "internal", "images", "examples"} {
		if err := os.CopyFS(filepath.Join(dir, folder), os.DirFS(filepath.Join(root, folder))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum", "LICENSE", "README.md"} {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(data))
	}
	write(t, filepath.Join(dir, "docs/CHANGELOG.md"), "# Changes\n\n## "+tag+"\n\n- It is there.\n\n## v0.0.1\n\n- Older.\n")
	git(t, dir, "init", "--quiet")
	git(t, dir, "add", "--all")
	git(t, dir, "commit", "--quiet", "--message", "a release")
	git(t, dir, "tag", tag)
	return dir
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_DATE=2026-05-31T20:00:00Z", "GIT_COMMITTER_DATE=2026-05-31T20:00:00Z", "GIT_CONFIG_GLOBAL=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func output(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// A release of two platforms: what others make of its files, and the same again
// elsewhere. Those of macOS take minutes to compile, and are left to make release.
func TestMake(t *testing.T) {
	const version = "v1.7.8"
	here := Platform{"linux", runtime.GOARCH}
	there := Platforms[slices.IndexFunc(Platforms, func(p Platform) bool { return p.OS == "linux" && p != here })]
	dir := filepath.Join(t.TempDir(), "dist")
	o := Options{Source: checkout(t, version), To: dir, Version: version, Platforms: []Platform{here, there}}
	files, err := Make(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	name := "factory_" + version + "_" + here.OS + "_" + here.Arch
	other := "factory_" + version + "_" + there.OS + "_" + there.Arch
	want := []string{name + ".tar.gz", name + ".spdx.json", other + ".tar.gz", other + ".spdx.json", Checksums}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if out := output(t, dir, "sha256sum", "--check", "--strict", Checksums); strings.Count(out, ": OK\n") != 4 {
		t.Errorf("sha256sum says\n%s", out)
	}
	if notes, err := os.ReadFile(filepath.Join(dir, Notes)); err != nil || string(notes) != "- It is there.\n" {
		t.Errorf("the notes are %q, %v", notes, err)
	}
	list := output(t, dir, "tar", "--list", "--verbose", "--utc", "--full-time", "--file", name+".tar.gz")
	for _, want := range []string{"-rwxr-xr-x 0/0 ", " 2026-05-31 20:00:00 " + name + "/factory\n", " " + name + "/LICENSE\n", " " + name + "/README.md\n"} {
		if !strings.Contains(list, want) {
			t.Errorf("the archive has no %q:\n%s", want, list)
		}
	}
	output(t, dir, "tar", "--extract", "--file", name+".tar.gz")
	if said := output(t, dir, "./"+name+"/factory", "version"); !strings.HasPrefix(said, "factory "+version+" (commit ") || strings.Contains(said, "changes") {
		t.Errorf("the program says %s", said)
	}
	checkSBOM(t, filepath.Join(dir, name+".spdx.json"), version)

	again := o
	again.Source, again.To, again.Platforms = filepath.Join(t.TempDir(), "elsewhere"), filepath.Join(t.TempDir(), "dist"), []Platform{here}
	git(t, o.Source, "clone", "--quiet", ".", again.Source)
	if _, err := Make(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	for _, file := range want[:2] {
		a, b := output(t, dir, "sha256sum", file), output(t, again.To, "sha256sum", file)
		if a != b {
			t.Errorf("made again it is %s, was %s", b, a)
		}
	}

	refused := o
	refused.To = filepath.Join(t.TempDir(), "dist")
	write(t, filepath.Join(o.Source, "LICENSE"), "changed")
	refused.Platforms = []Platform{here}
	if _, err := Make(t.Context(), refused); err == nil || !strings.Contains(err.Error(), "the sources are v1.7.8+dirty, not v1.7.8: want a checkout without changes") {
		t.Errorf("Make() of changed sources = %v", err)
	}
	if _, err := os.Stat(refused.To); err == nil {
		t.Error("half a release is left")
	}
}

// checkSBOM has the library of those who made SPDX read a list.
func checkSBOM(t *testing.T, file, version string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := spdxjson.Read(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if err := spdxlib.ValidateDocument(doc); err != nil {
		t.Error(err)
	}
	if p := doc.Packages[0]; p.PackageVersion != version || len(doc.Packages) < 20 || doc.CreationInfo.Created != "2026-05-31T20:00:00Z" {
		t.Errorf("%d packages, of %s, at %s", len(doc.Packages), p.PackageVersion, doc.CreationInfo.Created)
	}
}

func TestSection(t *testing.T) {
	const log = "# Changes\n\n## Unreleased\n\n## v1.2.3 (2026-05-31)\n\n- A.\n\n### More\n\n- B.\n\n## v1.2\n- C."
	for version, want := range map[string]string{"v1.2.3": "- A.\n\n### More\n\n- B.\n", "v1.2": "- C.\n"} {
		if got, err := section(log, version); err != nil || got != want {
			t.Errorf("section(%q) = %q, %v, want %q", version, got, err, want)
		}
	}
	for _, version := range []string{"v1", "Unreleased", "", "v1.2.4"} {
		if got, err := section(log, version); err == nil {
			t.Errorf("section(%q) = %q, want an error", version, got)
		}
	}
}

// Equal members give equal archives.
func TestPack(t *testing.T) {
	var a, b bytes.Buffer
	for _, w := range []*bytes.Buffer{&a, &b} {
		if err := pack(w, "x", time.Unix(1780221600, 0), []member{{"y", 0o755, []byte("z")}}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two archives of the same differ")
	}
}
