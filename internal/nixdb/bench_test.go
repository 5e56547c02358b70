package nixdb

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nixtest"
)

// BenchmarkWrite writes as many objects as a large image has, with eight references each.
func BenchmarkWrite(b *testing.B) {
	key := nixtest.NewSecretKey("key-1", [32]byte{1})
	var infos []nix.PathInfo
	for i := range 500 {
		hash := nix.Hash(sha256.Sum256(fmt.Append(nil, i)))
		path, err := nix.SourcePath("package-1.0", hash, nil)
		if err != nil {
			b.Fatal(err)
		}
		info := nix.PathInfo{Path: path, NarHash: hash, NarSize: 1000}
		for j := max(0, i-8); j < i; j++ {
			info.References = append(info.References, infos[j].Path)
		}
		info.Sigs = []nix.Signature{key.Sign(info)}
		infos = append(infos, info)
	}
	dir := b.TempDir()
	for n := 0; b.Loop(); n++ {
		if err := Write(filepath.Join(dir, fmt.Sprint(n)), infos); err != nil {
			b.Fatal(err)
		}
	}
}
