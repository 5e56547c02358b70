package cycle_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// TestBadNARs: what a cache sends is not what the narinfo promises.
func TestBadNARs(t *testing.T) {
	t.Parallel()
	file := func(name, content string) string {
		return item("entry", "(", "name", name, "node", "(", "type", "regular", "contents", content, ")", ")")
	}
	folder := func(entries ...string) []byte {
		return []byte(item("nix-archive-1", "(", "type", "directory") + strings.Join(entries, "") + item(")"))
	}
	v := newVictim(t, settings{})
	for _, tc := range []struct {
		name   string
		signed []byte
		sent   []byte // nil: what is signed
	}{
		{name: "another NAR of the same size", signed: folder(file("a", "aaaa")), sent: folder(file("a", "bbbb"))},
		{name: "too short", signed: folder(file("a", "aaaa"), file("b", "bbbb")), sent: folder(file("a", "aaaa"))},
		{name: "too long", signed: folder(file("a", "aaaa")), sent: folder(file("a", "aaaa"), file("b", "bbbb"))},
		{name: "cut in the middle", signed: folder(file("a", "aaaa")), sent: folder(file("a", "aaaa"))[:100]},
		{name: "nothing", signed: folder(file("a", "aaaa")), sent: []byte{}},
		{name: "same name twice", signed: folder(file("a", "1"), file("a", "2"))},
		{name: "link, then a folder of that name", signed: folder(
			item("entry", "(", "name", "a", "node", "(", "type", "symlink", "target", "/etc", ")", ")"),
			item("entry", "(", "name", "a", "node", "(", "type", "directory")+file("passwd", "x")+item(")", ")"))},
		{name: "parent", signed: folder(file("..", "x"))},
		{name: "dot", signed: folder(file(".", "x"))},
		{name: "slash", signed: folder(file("../../etc/passwd", "x"))},
		{name: "absolute", signed: folder(file("/etc/passwd", "x"))},
		{name: "no name", signed: folder(file("", "x"))},
		{name: "NUL in a name", signed: folder(file("a\x00b", "x"))},
		{name: "wrong order", signed: folder(file("b", "x"), file("a", "x"))},
		{name: "whiteout", signed: folder(file(".wh.glibc", "x"))},
		{name: "padding", signed: func() []byte {
			data := folder(file("a", "aaaa"))
			return bytes.Replace(data, []byte("aaaa\x00\x00\x00\x00"), []byte("aaaa\x00\x00\x00\x01"), 1)
		}()},
		{name: "data after its end", signed: append(folder(file("a", "x")), 0, 0, 0, 0, 0, 0, 0, 0)},
		{name: "length bomb", signed: func() []byte {
			data := folder(file("a", "aaaa"))
			at := bytes.Index(data, []byte("aaaa")) - 8
			binary.LittleEndian.PutUint64(data[at:], 1<<62)
			return data
		}()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sent := tc.sent
			if sent == nil {
				sent = tc.signed
			}
			defer v.promises(t, "none", tc.signed)()
			defer v.answers(hostileURL, func(w http.ResponseWriter, _ *http.Request) { w.Write(sent) })()
			v.failsAlone(t, v.path.Base(), v.upstream.Cache())
		})
	}
	v.recovers()
}

const hostileURL = "nar/hostile.nar"

// promises makes the cache sign that the victim's NAR, found at hostileURL, is data.
func (v *victim) promises(t testing.TB, compression string, data []byte) (remove func()) {
	t.Helper()
	info := v.infoWith(t, func(i *nix.NARInfo) {
		i.NarHash, i.NarSize = sha256.Sum256(data), int64(len(data))
		i.URL, i.Compression, i.FileHash, i.FileSize = hostileURL, compression, "", 0
		i.Sigs = []nix.Signature{v.key.Sign(i.PathInfo)}
	})
	return v.answers(v.narinfo(), func(w http.ResponseWriter, _ *http.Request) { w.Write(info) })
}

// item is a sequence of strings as a NAR has them: length, bytes, padding.
func item(words ...string) string {
	var b strings.Builder
	for _, s := range words {
		b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(s))))
		b.WriteString(s + strings.Repeat("\x00", (8-len(s)%8)%8))
	}
	return b.String()
}

// A NAR file that would fill any disk is given up at the size that was promised.
func TestEndlessNARs(t *testing.T) {
	t.Parallel()
	small := []byte(item("nix-archive-1", "(", "type", "regular", "contents", strings.Repeat("x", 64<<10), ")"))
	var bomb bytes.Buffer
	z, err := zstd.NewWriter(&bomb)
	if err != nil {
		t.Fatal(err)
	}
	z.Write(small)
	zeros := make([]byte, 1<<20)
	for range 256 {
		z.Write(zeros)
	}
	z.Close()
	v := newVictim(t, settings{})
	for _, tc := range []struct {
		name, compression string
		send              http.HandlerFunc
	}{
		{"endless", "none", func(w http.ResponseWriter, r *http.Request) {
			w.Write(small)
			for r.Context().Err() == nil {
				if _, err := w.Write(zeros); err != nil {
					return
				}
			}
		}},
		{"bomb", "zstd", func(w http.ResponseWriter, _ *http.Request) { w.Write(bomb.Bytes()) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			defer v.promises(t, tc.compression, small)()
			defer v.answers(hostileURL, tc.send)()
			v.failsAlone(t, v.path.Base(), v.upstream.Cache())
		})
	}
}

// serveHuge makes the victim a file of that many bytes, hard to compress.
func (v *victim) serveHuge(t testing.TB, size int) {
	t.Helper()
	head := []byte(item("nix-archive-1", "(", "type", "directory") +
		item("entry", "(", "name", "bin", "node", "(", "type", "directory") +
		item("entry", "(", "name", "jq", "node", "(", "type", "regular", "contents"))
	head = binary.LittleEndian.AppendUint64(head, uint64(size))
	tail := []byte(item(")", ")") + item(")", ")") + item(")"))
	block := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(block)
	write := func(w io.Writer) {
		w.Write(head)
		for range size / len(block) {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
		w.Write(tail)
	}
	sum := sha256.New()
	write(sum)
	info := v.infoWith(t, func(i *nix.NARInfo) {
		sum.Sum(i.NarHash[:0])
		i.NarSize = int64(len(head) + size + len(tail))
		i.URL, i.Compression, i.FileHash, i.FileSize = hostileURL, "none", "", 0
		i.Sigs = []nix.Signature{v.key.Sign(i.PathInfo)}
	})
	v.answers(v.narinfo(), func(w http.ResponseWriter, _ *http.Request) { w.Write(info) })
	v.answers(hostileURL, func(w http.ResponseWriter, _ *http.Request) { write(w) })
}
