package standin

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
	"github.com/nixpkgs-factory/factory/internal/nix/nixtest"
)

// Grow has jq need that many generated store paths more, one of them of a file of
// largest bytes. They are the same ones each time, compress to half, and are written
// whenever somebody asks for them, so that they take neither disk nor memory.
func (s *Server) Grow(paths int, largest int64) error {
	key, err := nixtest.ParseSecretKey(s.fixture.SecretKey())
	if err != nil {
		return err
	}
	infos := make(map[string]nix.NARInfo) // by path below the cache
	for i := range paths {
		info, err := grown(i, paths, largest)
		if err != nil {
			return err
		}
		infos[narinfoOf(info)] = info
	}
	top := grownPath(0)
	for _, commits := range s.fixture.Channels() {
		for _, c := range commits {
			info, err := s.fixture.narinfo(s.fixture.Outputs(c.Rev, Systems[0])["jq"][0])
			if err != nil {
				return err
			}
			info.References = append(info.References, top)
			infos[narinfoOf(info)] = info
		}
	}
	s.Handle(func(w http.ResponseWriter, r *http.Request) bool {
		path, _ := strings.CutPrefix(r.URL.Path, "/cache/")
		if info, ok := infos[path]; ok {
			info.Sigs = []nix.Signature{key.Sign(info.PathInfo)}
			text, err := info.MarshalText()
			if err != nil {
				panic(err) // it was made here
			}
			w.Header().Set("Content-Type", "text/x-nix-narinfo")
			w.Write(text)
			return true
		}
		name, ok := strings.CutPrefix(path, "nar/grown-")
		i, err := strconv.Atoi(name)
		if !ok || err != nil || i >= paths {
			return false
		}
		w.Header().Set("Content-Type", "application/x-nix-nar")
		writeGrown(w, i, largest) // fails if the client is gone
		return true
	})
	return nil
}

// narinfo reads what the binary cache says of a store path.
func (f *Fixture) narinfo(storePath string) (nix.NARInfo, error) {
	path, err := nix.ParseStorePath(storePath)
	if err != nil {
		return nix.NARInfo{}, err
	}
	data, err := os.ReadFile(f.path("cache", narinfoOf(nix.NARInfo{PathInfo: nix.PathInfo{Path: path}})))
	if err != nil {
		return nix.NARInfo{}, err
	}
	return nix.ParseNARInfo(data)
}

func narinfoOf(info nix.NARInfo) string {
	hash, _, _ := strings.Cut(info.Path.Base(), "-")
	return hash + ".narinfo"
}

// grown describes the generated object i of n, which needs those at 2i+1 and 2i+2.
func grown(i, n int, largest int64) (nix.NARInfo, error) {
	sum := sha256.New()
	size, err := writeGrown(sum, i, largest)
	info := nix.NARInfo{URL: fmt.Sprintf("nar/grown-%d", i), Compression: "none", FileSize: size}
	info.Path, info.NarSize = grownPath(i), size
	sum.Sum(info.NarHash[:0])
	for needed := 2*i + 1; needed <= 2*i+2 && needed < n; needed++ {
		info.References = append(info.References, grownPath(needed))
	}
	return info, err
}

// grownPath is the store path of a generated object.
func grownPath(i int) nix.StorePath {
	path, err := nix.ParseStorePathBase(fmt.Sprintf("%032d-grown-%d", i, i))
	if err != nil {
		panic(err) // it is one
	}
	return path
}

// writeGrown writes the NAR of a generated object: a file in which blocks that do not
// compress and blocks of zeros take turns. The first has largest bytes, others up to 255 KiB.
func writeGrown(w io.Writer, i int, largest int64) (written int64, err error) {
	size := largest
	if i > 0 {
		size = int64(1+i*37%255) << 10
	}
	counted := &counter{w: w}
	archive := nar.NewWriter(counted)
	if err := archive.WriteEntry(nar.Entry{Kind: nar.Regular, Size: size}); err != nil {
		return counted.n, err
	}
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(i))
	random := rand.NewChaCha8(seed)
	block := make([]byte, 128<<10)
	for left := size; left > 0; left -= int64(len(block)) {
		random.Read(block[:len(block)/2])
		if _, err := archive.Write(block[:min(left, int64(len(block)))]); err != nil {
			return counted.n, err
		}
	}
	err = archive.Close()
	return counted.n, err
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
