package nixbuild

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/archive"
	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Closure returns what a later build of the same would have to build or fetch
// again: the valid outputs and sources of all derivations that the result was
// built by, and what those refer to. Where the derivation is not known, it is
// what the result refers to.
//
// Archives of images are left out unless archives says otherwise: each is all of
// an image once more, and made quickly of what is in the cache.
func Closure(ctx context.Context, with evaluator.Nix, r Result, archives bool) ([]nix.PathInfo, error) {
	of := []string{"--include-outputs", r.Derivation.String()}
	if r.Derivation.IsZero() {
		of = []string{r.Path}
	}
	out, err := with.Run(ctx, "nix-store", append([]string{"--query", "--requisites"}, of...)...)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, p := range strings.Fields(string(out)) {
		if !strings.HasSuffix(p, ".drv") {
			paths = append(paths, p)
		}
	}
	infos, err := infos(ctx, with, paths)
	if err != nil || archives {
		return infos, err
	}
	return withoutArchives(infos, func(p nix.StorePath) bool {
		return isLayer(p.String()) || p.String() == r.Path && isArchive(r.Path)
	}), nil
}

// withoutArchives leaves out archives, unless something that stays refers to them.
func withoutArchives(infos []nix.PathInfo, archive func(nix.StorePath) bool) []nix.PathInfo {
	needed := make(map[nix.StorePath]bool)
	known := make(map[nix.StorePath]nix.PathInfo)
	for _, info := range infos {
		known[info.Path] = info
	}
	var need func(p nix.StorePath)
	need = func(p nix.StorePath) {
		if !needed[p] {
			needed[p] = true
			for _, ref := range known[p].References {
				need(ref)
			}
		}
	}
	for _, info := range infos {
		if !archive(info.Path) {
			need(info.Path)
		}
	}
	return slices.DeleteFunc(infos, func(info nix.PathInfo) bool { return !needed[info.Path] })
}

// isLayer tells whether a store path is a layer of an image, as nixpkgs makes
// them on the way to an archive.
func isLayer(path string) bool {
	_, err := os.Lstat(filepath.Join(path, "layer.tar"))
	return err == nil
}

// isArchive tells whether an image is an archive, and no script or JSON.
func isArchive(path string) bool {
	kind, err := archive.Find(path)
	return err == nil && kind == archive.IsArchive
}

// atOnce is how many paths one command is asked for: a command line has an end.
const atOnce = 1000

// infos returns what Nix's database knows of paths.
func infos(ctx context.Context, with evaluator.Nix, paths []string) ([]nix.PathInfo, error) {
	var all []nix.PathInfo
	for some := range slices.Chunk(paths, atOnce) {
		out, err := with.Run(ctx, "nix", append([]string{"--extra-experimental-features", "nix-command", "path-info", "--json"}, some...)...)
		if err != nil {
			return nil, err
		}
		parsed, err := parsePathInfos(out)
		if err != nil {
			return nil, fmt.Errorf("nix path-info: %w", err)
		}
		all = append(all, parsed...)
	}
	return all, nil
}

// pathInfo is one path in the JSON of nix path-info. Versions of Nix before 2.19
// give a list of them, later ones an object by path.
type pathInfo struct {
	Path       string   `json:"path"`
	NarHash    string   `json:"narHash"`
	NarSize    int64    `json:"narSize"`
	References []string `json:"references"`
	Deriver    string   `json:"deriver"`
	Signatures []string `json:"signatures"`
	CA         string   `json:"ca"`
	Ultimate   bool     `json:"ultimate"`
}

func parsePathInfos(data []byte) ([]nix.PathInfo, error) {
	var listed []pathInfo
	if strings.HasPrefix(strings.TrimSpace(string(data)), "[") {
		if err := json.Unmarshal(data, &listed); err != nil {
			return nil, err
		}
	} else {
		var byPath map[string]*pathInfo
		if err := json.Unmarshal(data, &byPath); err != nil {
			return nil, err
		}
		for path, info := range byPath {
			if info == nil {
				return nil, fmt.Errorf("%q is not in the store", path)
			}
			info.Path = path
			listed = append(listed, *info)
		}
	}
	infos := make([]nix.PathInfo, len(listed))
	for i, l := range listed {
		var err error
		if infos[i], err = l.parse(); err != nil {
			return nil, fmt.Errorf("%q: %w", l.Path, err)
		}
	}
	slices.SortFunc(infos, func(a, b nix.PathInfo) int { return a.Path.Compare(b.Path) })
	return infos, nil
}

func (l pathInfo) parse() (nix.PathInfo, error) {
	info := nix.PathInfo{NarSize: l.NarSize, CA: l.CA, Ultimate: l.Ultimate}
	var err error
	if info.Path, err = nix.ParseStorePath(l.Path); err != nil {
		return info, err
	}
	if info.NarHash, err = nix.ParseHash(l.NarHash); err != nil {
		return info, err
	}
	for _, text := range l.References {
		ref, err := nix.ParseStorePath(text)
		if err != nil {
			return info, err
		}
		info.References = append(info.References, ref)
	}
	slices.SortFunc(info.References, nix.StorePath.Compare)
	for _, text := range l.Signatures {
		sig, err := nix.ParseSignature(text)
		if err != nil {
			return info, err
		}
		info.Sigs = append(info.Sigs, sig)
	}
	info.Deriver, _ = nix.ParseStorePath(l.Deriver) // it may be unknown
	return info, nil
}
