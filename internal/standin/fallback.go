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

//go:embed build/fallback.nix
var fallbackNix string

// fallbackPaths is where a tree names the Nix that it wants.
const fallbackPaths = "nixos/modules/installer/tools/nix-fallback-paths.nix"

// nameNix has every tree that names a Nix name its own: the one of its packages,
// whose paths Nix says.
func (s privateStore) nameNix(ctx context.Context, trees map[string]tree) error {
	dir := s.path("unnamed")
	for name, t := range trees {
		if err := t.write(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := os.WriteFile(s.path("fallback.nix"), []byte(fallbackNix), 0o644); err != nil {
		return err
	}
	out, err := s.run(ctx, "nix-instantiate", append([]string{"--eval", "--strict", "--json", s.path("fallback.nix")}, treesIn(dir)...)...)
	if err != nil {
		return err
	}
	var paths map[string]map[string]string
	if err := json.Unmarshal(out, &paths); err != nil {
		return err
	}
	for name, t := range trees {
		if _, named := t[fallbackPaths]; named {
			t[fallbackPaths] = file(fallbackFile(paths[name]))
		}
	}
	return nil
}

// fallbackFile is written as the real one is.
func fallbackFile(paths map[string]string) string {
	var text strings.Builder
	text.WriteString("{\n")
	for _, system := range Systems {
		fmt.Fprintf(&text, "  %s = %q;\n", system, paths[system])
	}
	text.WriteString("}\n")
	return text.String()
}

// write writes what of a tree is evaluated to a folder.
func (t tree) write(dir string) error {
	for path, n := range t {
		if n.mode == "120000" || strings.HasPrefix(path, "pkgs/test/") {
			continue
		}
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, n.data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
