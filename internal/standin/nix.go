package standin

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

var (
	//go:embed build/private-nix.sh
	privateNix string
	//go:embed build/packages.nix
	packagesNix string
)

// Systems are the Nix systems that the binary cache has packages for.
// Those of the second cannot run.
var Systems = []string{"x86_64-linux", "aarch64-linux"}

// A privateStore is a Nix store in a folder that its commands see as /nix.
type privateStore struct {
	dir string // holds nix, root (a mount point), conf, tmp
}

func newPrivateStore(dir string) (privateStore, error) {
	s := privateStore{dir}
	for _, d := range []string{"nix/store", "nix/var", "root", "conf", "tmp", "home"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return s, err
		}
	}
	return s, os.WriteFile(s.path("private-nix.sh"), []byte(privateNix), 0o644)
}

func (s privateStore) path(name string) string { return filepath.Join(s.dir, name) }

// run runs a command of Nix that sees the private store as /nix.
func (s privateStore) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	unshare := []string{"--mount", "--propagation", "private"}
	if os.Geteuid() != 0 {
		unshare = append(unshare, "--user", "--map-root-user")
	}
	unshare = append(unshare, "sh", s.path("private-nix.sh"), s.path("root"), s.path("nix"), name)
	return command{
		name: "unshare",
		args: append(unshare, args...),
		dir:  s.dir,
		env: []string{
			"HOME=" + s.path("home"),
			"TMPDIR=" + s.path("tmp"),
			"NIX_CONF_DIR=" + s.path("conf"),
			"NIX_USER_CONF_FILES=",
			"NIX_CONFIG=" + strings.Join([]string{
				"build-users-group =",
				"substituters =",
				"sandbox = false",
				"extra-platforms = aarch64-linux",
				"experimental-features = nix-command",
				"fsync-metadata = false",
				"max-jobs = 4",
			}, "\n"),
		},
	}.run(ctx)
}

// build builds the packages of all trees, which lie in dir under the names of their changes,
// and returns where they are.
func (s privateStore) build(ctx context.Context, dir string) (packagePaths, error) {
	args := treesIn(dir)
	if err := os.WriteFile(s.path("packages.nix"), []byte(packagesNix), 0o644); err != nil {
		return nil, err
	}
	if _, err := s.run(ctx, "nix-build", append([]string{"--no-out-link", "--no-build-output", "--quiet", s.path("packages.nix"), "-A", "all"}, args...)...); err != nil {
		return nil, err
	}
	out, err := s.run(ctx, "nix-instantiate", append([]string{"--eval", "--strict", "--json", s.path("packages.nix"), "-A", "paths"}, args...)...)
	if err != nil {
		return nil, err
	}
	var paths packagePaths
	return paths, json.Unmarshal(out, &paths)
}

// treesIn are the arguments that name the trees in a folder, and the systems.
func treesIn(dir string) []string {
	var trees strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&trees, "{ name = %q; path = %q; } ", c.name, filepath.Join(dir, c.name))
	}
	return []string{
		"--arg", "trees", "[ " + trees.String() + "]",
		"--arg", "systems", `[ "` + strings.Join(Systems, `" "`) + `" ]`,
	}
}
