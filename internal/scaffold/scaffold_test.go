package scaffold

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/recipe"
)

const shipped = "../../channels.yaml"

var update = flag.Bool("update", false, "copy "+shipped)

// The template is the file that this repository has: go:embed cannot reach it.
func TestTemplate(t *testing.T) {
	want, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("channels.yaml", want, 0o644); err != nil {
			t.Fatal(err)
		}
		template = string(want)
	}
	if diff := cmp.Diff(string(want), template); diff != "" {
		t.Errorf("go test ./internal/scaffold -run TestTemplate -update copies it again (-want +got):\n%s", diff)
	}
}

// What init writes says the same as the shipped file, and is the same recipe.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	files, err := Files(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, files); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bin/export-profile", "image.nix"} {
		info, err := os.Stat(filepath.Join(dir, ImageFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		if executable := info.Mode()&0o100 != 0; executable != strings.HasPrefix(name, "bin/") {
			t.Errorf("%s has the mode %v", name, info.Mode())
		}
	}
	want, err := recipe.Identify("../../images/base", recipe.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := recipe.Identify(filepath.Join(dir, ImageFolder), recipe.Settings{}); err != nil || got != want {
		t.Errorf("the image folder is the recipe %s, %v, want %s", got, err, want)
	}
	data, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := config.Parse(filepath.Join(dir, "channels.yaml"), data)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := config.Parse(filepath.Join(dir, "channels.yaml"), files[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(string(files[0].Data), "# yaml-language-server: $schema="+config.SchemaURL+"\n") {
		t.Error("the first line does not name the schema")
	}
}

// What a repository says of itself is in its files.
func TestFilesOfAService(t *testing.T) {
	for service, workflow := range map[Service]string{GitHub: "../../examples/github-workflow.yml", GitLab: "../../examples/gitlab-ci.yml", Forgejo: "../../examples/forgejo-workflow.yml"} {
		files, err := Files(Options{Service: service, Publish: []string{"ghcr.io/org", "oci:./registry"}, Source: "https://github.com/org/images"})
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse("channels.yaml", files[0].Data)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Publish) != 2 || c.Publish[0].Registry != "ghcr.io/org" || c.Labels["org.opencontainers.image.source"] != "https://github.com/org/images" {
			t.Errorf("%s: %+v", service, c)
		}
		want, err := os.ReadFile(workflow)
		if err != nil {
			t.Fatal(err)
		}
		last := files[len(files)-1]
		if diff := cmp.Diff(string(want), string(last.Data)); diff != "" || last.Path != service.Workflow() {
			t.Errorf("%s (-want +got):\n%s", last.Path, diff)
		}
		// The example says where it belongs.
		if !strings.Contains(string(want), " "+service.Workflow()+" ") {
			t.Errorf("%s does not name %s", workflow, service.Workflow())
		}
	}
	if _, err := Files(Options{Publish: []string{"docker.io"}}); err == nil {
		t.Error("a destination that is none is written")
	}
}

// What is there stays, and nothing is beside it.
func TestWriteRefuses(t *testing.T) {
	files, err := Files(Options{Service: GitHub})
	if err != nil {
		t.Fatal(err)
	}
	for _, there := range []string{"channels.yaml", "images/base/mine.nix", ".github/workflows/factory.yml"} {
		dir := t.TempDir()
		file := filepath.Join(dir, there)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
		var taken *ThereError
		if err := Write(dir, files); !errors.As(err, &taken) || len(taken.Names) != 1 || !strings.HasPrefix(there, taken.Names[0]) {
			t.Errorf("Write() = %v, want that %s is there", err, there)
		}
		if diff := cmp.Diff([]string{there}, list(t, dir)); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	}
}

// What cannot be written to its end is taken away again, and links lead nowhere.
func TestWriteIsWhole(t *testing.T) {
	files, err := Files(Options{Service: GitHub})
	if err != nil {
		t.Fatal(err)
	}
	dir, elsewhere := t.TempDir(), t.TempDir()
	if err := os.Symlink(elsewhere, filepath.Join(dir, ".github")); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, files); err == nil {
		t.Error("a link out of the folder is followed")
	}
	if got := append(list(t, dir), list(t, elsewhere)...); len(got) != 1 {
		t.Errorf("what is left: %v", got)
	}
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sub"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	files = append(files, File{"sub/x", 0o644, nil})
	if err := Write(dir, files); err == nil {
		t.Error("a file is taken for a folder")
	}
	if diff := cmp.Diff([]string{"sub"}, list(t, dir)); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
}

// list are the files below a folder.
func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
