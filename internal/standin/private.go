package standin

import (
	"os"
	"strings"
)

// PrivateNix makes an empty Nix store in a folder. A command with prefix before
// it and env in its environment has the store as /nix, and takes packages from
// the fixture's binary cache. The files are in dir/nix.
func (f *Fixture) PrivateNix(dir string) (prefix, env []string, err error) {
	s, err := newPrivateStore(dir)
	if err != nil {
		return nil, nil, err
	}
	prefix = []string{"unshare", "--mount", "--propagation", "private"}
	if os.Geteuid() != 0 {
		prefix = append(prefix, "--user", "--map-root-user")
	}
	return append(prefix, "sh", s.path("private-nix.sh"), s.path("root"), s.path("nix")), []string{
		"HOME=" + s.path("home"),
		"TMPDIR=" + s.path("tmp"),
		"NIX_REMOTE=",
		"NIX_CONF_DIR=" + s.path("conf"),
		"NIX_USER_CONF_FILES=",
		"NIX_CONFIG=" + strings.Join([]string{
			"build-users-group =",
			"substituters = file://" + f.CacheFolder(),
			"trusted-public-keys = " + f.PublicKey(),
			"sandbox = false",
			"fsync-metadata = false",
		}, "\n"),
	}, nil
}

// RemovePrivateNix removes what PrivateNix has made: folders of a store are read-only.
func RemovePrivateNix(dir string) { removeAll(dir) }
