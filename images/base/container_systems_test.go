package base_test

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nixdb"
)

// testSystems looks at the images of both systems behind one tag. That for
// aarch64 cannot run here.
func testSystems(t *testing.T, p published) {
	for _, tt := range []struct {
		arch, system, loader string
		machine              elf.Machine
	}{
		{"amd64", "x86_64-linux", "/lib64/ld-linux-x86-64.so.2", elf.EM_X86_64},
		{"arm64", "aarch64-linux", "/lib/ld-linux-aarch64.so.1", elf.EM_AARCH64},
	} {
		t.Run(tt.system, func(t *testing.T) {
			p.checkInspected(t, tt.arch, tt.system)
			img, err := p.part(t.Context(), tt.arch)
			if err != nil {
				t.Fatal(err)
			}
			config, err := img.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			u := unpack(t, img)
			if len(u.machines) != 1 || u.machines[tt.machine] < 100 {
				t.Errorf("ELF files by machine: %v, want over 100 for %v and no others", u.machines, tt.machine)
			}
			loader := u.entries[tt.loader].Linkname
			if f := u.entries[loader]; !strings.HasSuffix(loader, "/libexec/nix-ld") || f.Typeflag != tar.TypeReg {
				t.Errorf("%s leads to %q, which is %+v", tt.loader, loader, f)
			}
			for _, v := range config.Config.Env {
				for _, path := range nix.FindStorePaths(v) {
					if _, ok := u.entries[path.String()]; !ok {
						t.Errorf("%s: there is no %s", v, path)
					}
				}
			}
			u.checkDatabase(t)
		})
	}
}

// checkInspected asks skopeo which image it would choose for a machine.
func (p published) checkInspected(t *testing.T, arch, system string) {
	t.Helper()
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		t.Fatal("skopeo is not installed (Debian package skopeo)")
	}
	out, err := exec.Command(skopeo, "inspect", "--tls-verify=false", "--override-os", "linux", "--override-arch", arch, "docker://"+p.ref).Output()
	if err != nil {
		t.Fatalf("skopeo inspect: %v", err)
	}
	var got struct {
		Architecture string
		Labels       map[string]string
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if got.Architecture != arch || got.Labels[image.SystemLabel] != system {
		t.Errorf("skopeo chooses %s, %v, want %s, %s", got.Architecture, got.Labels, arch, system)
	}
}

// unpacked is what the layers of an image have in them.
type unpacked struct {
	entries  map[string]tar.Header // by absolute path
	machines map[elf.Machine]int   // how many ELF files there are for which
	database []byte
}

func unpack(t *testing.T, img v1.Image) unpacked {
	t.Helper()
	u := unpacked{entries: make(map[string]tar.Header), machines: make(map[elf.Machine]int)}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		for contents := tar.NewReader(r); ; {
			h, err := contents.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			u.add(t, h, contents)
		}
		r.Close()
	}
	return u
}

func (u *unpacked) add(t *testing.T, h *tar.Header, contents io.Reader) {
	t.Helper()
	name := path.Join("/", h.Name)
	if strings.HasPrefix(path.Base(name), ".wh.") {
		t.Errorf("%s: a layer of the image hides what another has", name)
	}
	u.entries[name] = *h
	head := make([]byte, elf.EI_NIDENT+4)
	n, _ := io.ReadFull(contents, head)
	switch {
	case n == len(head) && bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		// e_machine, behind e_type; both systems are little endian
		u.machines[elf.Machine(uint16(head[elf.EI_NIDENT+2])|uint16(head[elf.EI_NIDENT+3])<<8)]++
	case name == "/nix/var/nix/db/db.sqlite":
		rest, err := io.ReadAll(contents)
		if err != nil {
			t.Fatal(err)
		}
		u.database = append(head[:n], rest...)
	}
}

// checkDatabase compares what the database knows with what is in the store.
func (u *unpacked) checkDatabase(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "db.sqlite")
	if err := os.WriteFile(file, u.database, 0o644); err != nil {
		t.Fatal(err)
	}
	infos, err := nixdb.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for _, info := range infos {
		known[info.Path.String()] = true
		if _, ok := u.entries[info.Path.String()]; !ok {
			t.Errorf("the database knows %s, which is not there", info.Path)
		}
		if len(info.Sigs) == 0 && info.CA == "" {
			t.Errorf("%s has neither signature nor content address", info.Path)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(u.entries)) {
		if strings.HasPrefix(name, "/nix/store/") && strings.Count(name, "/") == 3 && !known[name] && name != "/nix/store/.links" {
			t.Errorf("the database does not know %s", name)
		}
	}
	if len(infos) < 50 {
		t.Errorf("the database knows only %d paths", len(infos))
	}
}
