package standin

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// keyName is the name of the key that signs the binary cache.
const keyName = "cache.standin-1"

// compressions says for which packages (by their name in the store path) the
// cache holds something else than zstd: each method a Nix cache may use, once or twice.
// These are small, as xz is slow.
var compressions = map[string][]string{
	"xz":    {"hello", "gzip", "nss-cacert"},
	"bzip2": {"less", "diffutils"},
	"gzip":  {"gnugrep", "acl"},
	"br":    {"attr", "gnused"},
	"none":  {"cachix", "nix-ld", "readline"},
}

const cacheInfo = "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n"

// newKey makes the key pair that signs the cache.
func (s privateStore) newKey(ctx context.Context) (secret, public string, err error) {
	if _, err := s.run(ctx, "nix-store", "--generate-binary-cache-key", keyName, s.path("key.secret"), s.path("key.public")); err != nil {
		return "", "", err
	}
	for name, to := range map[string]*string{"key.secret": &secret, "key.public": &public} {
		data, err := os.ReadFile(s.path(name))
		if err != nil {
			return "", "", err
		}
		*to = strings.TrimSpace(string(data))
	}
	return secret, public, nil
}

// copyTo puts the paths and their closures into a signed binary cache in dir.
func (s privateStore) copyTo(ctx context.Context, dir string, paths []string) error {
	if err := s.copyCompressed(ctx, dir, "zstd", paths); err != nil {
		return err
	}
	for _, method := range slices.Sorted(maps.Keys(compressions)) {
		var chosen []string
		for _, p := range paths {
			if slices.ContainsFunc(compressions[method], func(name string) bool { return isPackage(p, name) }) {
				chosen = append(chosen, p)
			}
		}
		if len(chosen) == 0 {
			return fmt.Errorf("no path to compress with %s", method)
		}
		for _, p := range chosen {
			if err := forget(dir, p); err != nil {
				return err
			}
		}
		if err := s.copyCompressed(ctx, dir, method, append([]string{"--no-recursive"}, chosen...)); err != nil {
			return err
		}
	}
	if err := removeUnused(dir); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "nix-cache-info"), []byte(cacheInfo), 0o644)
}

func (s privateStore) copyCompressed(ctx context.Context, dir, method string, args []string) error {
	to := fmt.Sprintf("file://%s?compression=%s&secret-key=%s", dir, method, s.path("key.secret"))
	if method == "zstd" || method == "xz" {
		to += "&parallel-compression=true"
	}
	_, err := s.run(ctx, "nix", append([]string{"copy", "--to", to}, args...)...)
	return err
}

// forget removes a path from a cache. Its NAR stays, which other paths may share.
func forget(dir, storePath string) error {
	hash, _, _ := strings.Cut(filepath.Base(storePath), "-")
	return os.Remove(filepath.Join(dir, hash+".narinfo"))
}

// removeUnused removes the NARs that no narinfo of the cache names.
func removeUnused(dir string) error {
	infos, err := filepath.Glob(filepath.Join(dir, "*.narinfo"))
	if err != nil {
		return err
	}
	used := map[string]bool{}
	for _, info := range infos {
		data, err := os.ReadFile(info)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			if url, ok := strings.CutPrefix(strings.TrimSpace(line), "URL: "); ok {
				used[filepath.Join(dir, url)] = true
			}
		}
	}
	nars, err := filepath.Glob(filepath.Join(dir, "nar", "*"))
	if err != nil {
		return err
	}
	for _, nar := range nars {
		if !used[nar] {
			if err := os.Remove(nar); err != nil {
				return err
			}
		}
	}
	return nil
}

// isPackage tells whether the store path is of that package, in any version.
func isPackage(storePath, name string) bool {
	_, rest, _ := strings.Cut(filepath.Base(storePath), "-")
	version, ok := strings.CutPrefix(rest, name+"-")
	return ok && version != "" && version[0] >= '0' && version[0] <= '9'
}
