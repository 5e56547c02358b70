package image

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

// An image without nixpkgs says nothing of a commit, and how it is to be run.
func TestAssembleWithoutNixpkgs(t *testing.T) {
	layer, err := layers.Packer{Dir: t.TempDir()}.Files([]layers.File{{Path: "/a", Mode: 0o644}}, "files")
	if err != nil {
		t.Fatal(err)
	}
	no := false
	server := storePath(t, "attic-server-1")
	set := toolset.Toolset{
		Nixpkgs: &no, Tools: []toolset.Tool{{Name: "attic-server", Version: "1", Path: server}},
		Entrypoint: []string{"/bin/atticd"}, Cmd: []string{"--mode", "monolithic"}, User: "1000:1000",
		Ports: []string{"8080", "53/udp"}, Volumes: []string{"/data"}, StopSignal: "SIGINT", WorkDir: "/data",
	}
	facts := Facts{
		Name: "attic-server", Version: "1", Recipe: "sha256:1",
		Labels: map[string]string{"org.opencontainers.image.title": "Attic", "a": "of image.nix"}, Extra: map[string]string{"a": "of the configuration"},
	}
	var parts []Part
	for _, name := range []string{"x86_64-linux", "aarch64-linux"} {
		system, err := config.ParseSystem(name)
		if err != nil {
			t.Fatal(err)
		}
		img, err := Assemble(facts, Settings{system, set}, []*layers.Layer{layer})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, Part{system, img})
		set.Env = map[string]string{"ONLY": "there"} // another toolset
	}
	conf, err := parts[0].Image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	toolsetDigest := conf.Config.Labels[ToolsetLabel]
	if !strings.HasPrefix(toolsetDigest, "sha256:") {
		t.Errorf("the toolset's digest is %q", toolsetDigest)
	}
	want := v1.Config{
		Entrypoint: []string{"/bin/atticd"}, Cmd: []string{"--mode", "monolithic"}, User: "1000:1000", Env: []string{},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}, "53/udp": {}}, Volumes: map[string]struct{}{"/data": {}},
		StopSignal: "SIGINT", WorkingDir: "/data",
		Labels: map[string]string{
			"a":                                 "of the configuration",
			"org.opencontainers.image.title":    "Attic",
			"org.opencontainers.image.source":   config.DefaultSource,
			"org.opencontainers.image.version":  "1",
			"io.github.nixpkgs-factory.version": "1",
			"io.github.nixpkgs-factory.recipe":  "sha256:1",
			"io.github.nixpkgs-factory.system":  "x86_64-linux",
			"io.github.nixpkgs-factory.toolset": toolsetDigest,
			"io.github.nixpkgs-factory.tools":   `[{"name":"attic-server","version":"1","path":"` + server.String() + `"}]`,
		},
	}
	if diff := cmp.Diff(want, conf.Config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if want := time.Unix(1, 0).UTC(); !conf.Created.Time.Equal(want) || !conf.History[0].Created.Time.Equal(want) {
		t.Errorf("created %s, with a layer of %s, want %s", conf.Created, conf.History[0].Created, want)
	}
	index, err := Index(parts)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if !WithoutNixpkgs(manifest) {
		t.Error("the index is said to have nixpkgs")
	}
	if VersionOf(manifest.Annotations) != "1" || manifest.Annotations[ToolsetLabel] != "" {
		t.Errorf("annotations of the index: %v", manifest.Annotations)
	}
	a, b := manifest.Manifests[0].Annotations, manifest.Manifests[1].Annotations
	if a[ToolsetLabel] != toolsetDigest || b[ToolsetLabel] == "" || b[ToolsetLabel] == toolsetDigest {
		t.Errorf("the index says of its images %v and %v", a, b)
	}
}

// Without a Nix database there is nothing of it, nor for its garbage collector.
func TestRootFilesWithoutDatabase(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "image.nix"), "{ }", 0o644)
	tool := storePath(t, "tool-1")
	r := Root{
		Image: dir, Roots: []nix.StorePath{tool},
		Set:       toolset.Toolset{User: "1000:100", Volumes: []string{"/data", "/srv"}, WorkDir: "/data", Directories: map[string]string{"/srv": "0700"}},
		Inventory: Inventory{Objects: Objects([]nix.PathInfo{{Path: tool, NarSize: 7}})},
	}
	files, err := r.Files()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	owners := map[string][2]int{}
	for _, f := range files {
		got[f.Path] = string(f.Data)
		owners[f.Path] = [2]int{f.UID, f.GID}
	}
	want := map[string]string{
		"/data": "", "/srv": "", "/tmp": "", "/root": "", "/nix/store": "",
		"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:100:user:/data:/bin/false\nnobody:x:65534:65534:nobody:/var/empty:/bin/false\n",
		"/etc/group":  "root:x:0:\nuser:x:100:\nnogroup:x:65534:\n",
		InventoryPath: `{
  "system": "",
  "recipe": "",
  "tools": null,
  "missing": null,
  "objects": [
    {
      "path": "` + tool.String() + `",
      "narHash": "` + nix.Hash{}.SRI() + `",
      "narSize": 7,
      "references": []
    }
  ]
}
`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if owners["/data"] != [2]int{1000, 100} || owners["/srv"] != [2]int{} || owners["/etc/passwd"] != [2]int{} {
		t.Errorf("owners: %v", owners)
	}
	packed, err := layers.Packer{Dir: t.TempDir()}.Files(files, "")
	if err != nil {
		t.Fatal(err)
	}
	if list, err := ReadInventory(packed); err != nil || len(list.Objects) != 1 || list.Objects[0].Path != tool {
		t.Errorf("the inventory, read back: %+v, %v", list, err)
	}
}

// What lies there already is left alone, whatever it is.
func TestDefaultsGiveWay(t *testing.T) {
	r := Root{Set: toolset.Toolset{Volumes: []string{"/data"}}}
	had := []layers.File{{Path: "/etc", Target: "/other"}, {Path: "/tmp", Dir: true, Mode: 0o700}, {Path: "/data", Target: "/tmp"}, {Path: "/root/x"}}
	for _, f := range r.defaults(had) {
		if f.Path != "/root" {
			t.Errorf("%s is put over what is there", f.Path)
		}
	}
}
