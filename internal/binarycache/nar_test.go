package binarycache

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

func sha(data []byte) nix.Hash { return sha256.Sum256(data) }

func readNAR(t testing.TB, c *Cache, info nix.PathInfo) ([]byte, error) {
	t.Helper()
	r, err := c.NAR(t.Context(), info)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// pack compresses; bzip2 has no compressor in Go, so only the content of testdata/text.bz2 will do.
func pack(t testing.TB, compression string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch compression {
	case "none":
		return data
	case "bzip2":
		return readTestdata(t, "text.bz2")
	case "gzip":
		w = gzip.NewWriter(&b)
	case "br":
		w = brotli.NewWriter(&b)
	case "zstd":
		w, err = zstd.NewWriter(&b)
	case "xz":
		w, err = xz.NewWriter(&b)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var compressions = []string{"none", "xz", "zstd", "bzip2", "gzip", "br"}

// fixture is a cache with one path, of which the compressed NAR is file.
type fixture struct {
	*server
	cache *Cache
	info  nix.PathInfo
}

// with starts a cache with a signed info of nar; change alters what is not covered by the signature.
func with(t testing.TB, nar []byte, file []byte, compression string, change func(*nix.NARInfo)) fixture {
	t.Helper()
	info := narOf(t, helloBase, nar, signer)
	info.Compression = compression
	if change != nil {
		change(&info)
	}
	s := serve(t, map[string]string{info.Path.Digest() + ".narinfo": text(t, info), "nar/x.nar": string(file)})
	return fixture{s, ask(s.trusting(signer)), info.PathInfo}
}

func fileHash(file []byte) func(*nix.NARInfo) {
	return func(info *nix.NARInfo) { info.FileHash, info.FileSize = sha(file).String(), int64(len(file)) }
}

func TestNAR(t *testing.T) {
	nar := readTestdata(t, "xz/text")
	for _, compression := range compressions {
		t.Run(compression, func(t *testing.T) {
			file := pack(t, compression, nar)
			for name, change := range map[string]func(*nix.NARInfo){
				"alone":           nil,
				"with size, hash": fileHash(file),
				"with size":       func(info *nix.NARInfo) { info.FileSize = int64(len(file)) },
				"with md5":        func(info *nix.NARInfo) { info.FileHash = "md5:" + strings.Repeat("0", 32) },
			} {
				f := with(t, nar, file, compression, change)
				if got, err := readNAR(t, f.cache, f.info); !bytes.Equal(got, nar) || err != nil {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
			}
		})
	}
}

// A reader that takes just NarSize bytes learns with the last of them whether all is well.
func TestNAREndsWithItsLastByte(t *testing.T) {
	nar := readTestdata(t, "xz/text")
	for _, compression := range compressions {
		f := with(t, nar, pack(t, compression, nar), compression, nil)
		r, err := f.cache.NAR(t.Context(), f.info)
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(r, nar); err != nil {
			t.Errorf("%s: %v", compression, err)
		}
		r.Close()
	}
}

// A Compression that is missing means bzip2.
func TestNARWithoutCompression(t *testing.T) {
	nar := readTestdata(t, "xz/text")
	f := with(t, nar, pack(t, "bzip2", nar), "", nil)
	if got, err := readNAR(t, f.cache, f.info); !bytes.Equal(got, nar) || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// Decoders are used again: what one has read before, to its end or not, whole or
// damaged, is of no effect on what it reads next.
func TestNARsOneAfterAnother(t *testing.T) {
	nar := readTestdata(t, "xz/text")
	for _, compression := range compressions {
		file := pack(t, compression, nar)
		good, damaged := with(t, nar, file, compression, nil), with(t, nar, damage(file), compression, nil)
		for range 3 {
			if _, err := readNAR(t, damaged.cache, damaged.info); err == nil {
				// Without a compression there is no check but the reader's own.
				if compression != "none" {
					t.Errorf("%s: no error of a damaged file", compression)
				}
			}
			r, err := good.cache.NAR(t.Context(), good.info)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, r, 100); err != nil {
				t.Errorf("%s: %v", compression, err)
			}
			r.Close()
			if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrClosed) {
				t.Errorf("%s: closed, and reads %d bytes, %v", compression, n, err)
			}
			if got, err := readNAR(t, good.cache, good.info); !bytes.Equal(got, nar) || err != nil {
				t.Errorf("%s: %d bytes, %v", compression, len(got), err)
			}
		}
	}
}

// damage changes a byte in the middle.
func damage(file []byte) []byte {
	file = bytes.Clone(file)
	file[len(file)/2] ^= 0xff
	return file
}

func TestNARInSeveralStreams(t *testing.T) {
	nar := readTestdata(t, "xz/text")
	for _, compression := range []string{"xz", "zstd", "gzip"} {
		file := append(pack(t, compression, nar[:7000]), pack(t, compression, nar[7000:])...)
		f := with(t, nar, file, compression, fileHash(file))
		if got, err := readNAR(t, f.cache, f.info); !bytes.Equal(got, nar) || err != nil {
			t.Errorf("%s: %d bytes, %v", compression, len(got), err)
		}
	}
	twice := append(bytes.Clone(nar), nar...)
	file := append(pack(t, "bzip2", nar), pack(t, "bzip2", nar)...)
	f := with(t, twice, file, "bzip2", fileHash(file))
	if got, err := readNAR(t, f.cache, f.info); !bytes.Equal(got, twice) || err != nil {
		t.Errorf("bzip2: %d bytes, %v", len(got), err)
	}
}

func TestNARContentEncoding(t *testing.T) {
	nar := readTestdata(t, "xz/text")
	for _, encoding := range []string{"zstd", "gzip", "br"} {
		f := with(t, nar, pack(t, encoding, nar), "none", fileHash(nar))
		f.encoding = encoding
		if got, err := readNAR(t, f.cache, f.info); !bytes.Equal(got, nar) || err != nil {
			t.Errorf("%s: %d bytes, %v", encoding, len(got), err)
		}
	}
}

func TestNARHostile(t *testing.T) {
	nar := readTestdata(t, "xz/text")
	type test struct {
		name, compression string
		nar, file         []byte
		change            func(*nix.NARInfo)
		want              string // after path and URL of the NAR
	}
	var tests []test
	for _, c := range compressions {
		file := pack(t, c, nar)
		short, long := nar[:len(nar)-1], append(bytes.Clone(nar), 0)
		end := "NAR ends after 18090 of 18091 bytes: unexpected EOF"
		tests = append(tests,
			test{c + ": too short", c, long, file, nil, end},
			test{c + ": too long", c, short, file, nil, "NAR is longer than 18089 bytes"},
			test{c + ": cut off", c, nar, file[:len(file)/2], nil, "*"},
			test{c + ": cut off at the end", c, nar, file[:len(file)-1], nil, "*"},
			test{c + ": empty", c, nar, nil, nil, "*"},
			test{c + ": a byte behind", c, nar, append(bytes.Clone(file), 1), nil, "*"},
			test{c + ": bytes behind", c, nar, append(bytes.Clone(file), "data behind the end"...), nil, "*"},
			test{c + ": other file hash", c, nar, file, func(info *nix.NARInfo) { info.FileHash = sha(long).String() },
				"file hash is " + sha(file).String() + ", narinfo says " + sha(long).String()},
			test{c + ": smaller file size", c, nar, file, func(info *nix.NARInfo) { info.FileSize = int64(len(file)) - 1 },
				fmt.Sprintf("%d bytes: body is too large (limit %d bytes)", len(file), len(file)-1)},
			test{c + ": larger file size", c, nar, file, func(info *nix.NARInfo) { info.FileSize = int64(len(file)) + 1 },
				fmt.Sprintf("file has %d bytes, narinfo says %d", len(file), len(file)+1)},
		)
		if c != "none" {
			tests = append(tests, test{c + ": wrong label", c, nar, nar, nil, "*"})
		}
	}
	xzFile := pack(t, "xz", nar)
	tests = append(tests,
		test{"unknown compression", "lzip", nar, nar, nil, `unknown compression "lzip" (want xz, zstd, bzip2, gzip, br or none)`},
		test{"dictionary of 4 GiB", "xz", nar, withDict(xzFile, 40), nil, "xz: dictionary of 4294967295 bytes (limit 67108864 bytes)"},
		test{"window of 2 GiB", "zstd", nar, zstdFrame(0xa8, nar), nil, "window size exceeded"},
		test{"file much larger than the NAR", "xz", nar[:10], bytes.Repeat(xzFile, 200), nil, "*"},
	)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := with(t, tt.nar, tt.file, tt.compression, tt.change)
			got, err := readNAR(t, f.cache, f.info)
			if err == nil {
				t.Fatal("no error")
			}
			if len(got) > len(tt.nar) {
				t.Errorf("%d bytes are delivered of a NAR of %d", len(got), len(tt.nar))
			}
			prefix := helloBase + ": " + f.url + "/nar/x.nar: "
			if fetched := helloBase + ": GET " + f.url + "/nar/x.nar: "; strings.HasPrefix(err.Error(), fetched) {
				prefix = fetched
			}
			text, ok := strings.CutPrefix(err.Error(), prefix)
			if !ok || tt.want != "*" && text != tt.want {
				t.Errorf("NAR: %v, want %q", err, prefix+tt.want)
			}
		})
	}
}

// zstdFrame returns a frame with the given window descriptor and one uncompressed block (RFC 8878, section 3.1.1).
func zstdFrame(window byte, data []byte) []byte {
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, window}
	block := binary.LittleEndian.AppendUint32(nil, uint32(len(data))<<3|1)
	return append(append(frame, block[:3]...), data...)
}

func TestZstdWindow(t *testing.T) {
	nar := readTestdata(t, "xz/text")
	f := with(t, nar, zstdFrame(17<<3, nar), "zstd", nil) // 2^(10+17) bytes, the limit of the zstd program
	if got, err := readNAR(t, f.cache, f.info); !bytes.Equal(got, nar) || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// What a small file grows to is bounded by the NAR size, in bytes delivered and in memory.
func TestBombs(t *testing.T) {
	const growth = 32 << 20
	zeros := make([]byte, 1<<20)
	for _, compression := range []string{"xz", "zstd", "gzip"} {
		file := bytes.Repeat(pack(t, compression, zeros), growth/len(zeros))
		f := with(t, zeros[:1000], file[:min(len(file), 60<<10)], compression, nil)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := readNAR(t, f.cache, f.info)
		runtime.ReadMemStats(&after)
		if len(got) > 1000 || err == nil || !strings.HasSuffix(err.Error(), "NAR is longer than 1000 bytes") {
			t.Errorf("%s: %d bytes, %v", compression, len(got), err)
		}
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > growth/2 {
			t.Errorf("%s: %d bytes allocated", compression, allocated)
		}
	}
}

func TestNARURL(t *testing.T) {
	tests := []struct{ base, url, want string }{
		{"https://h/c", "nar/x.nar.xz", "https://h/c/nar/x.nar.xz"},
		{"https://h/c", "nar/x.nar?hash=0123", "https://h/c/nar/x.nar?hash=0123"},
		{"https://h/c", "/nar/x.nar", "https://h/c/nar/x.nar"},
		{"https://h/c", "nar/a%20b%2Bc+d", "https://h/c/nar/a%20b%2Bc+d"},
		{"https://h/c", "nar/..x/x..", "https://h/c/nar/..x/x.."},
		{"https://h/c", "https://cdn/nar/x.nar?sig=s", "https://cdn/nar/x.nar?sig=s"},
		{"https://h/c", "http://cdn/nar/x.nar", "http://cdn/nar/x.nar"},
		{"file:///c", "nar/x.nar", "file:///c/nar/x.nar"},
		{"file:///c", "file:///d/x.nar", "file:///d/x.nar"},
		{"file:///c", "https://cdn/x.nar", "https://cdn/x.nar"},
		{"https://h/c", "../x.nar", `! NAR URL "../x.nar" leaves the cache`},
		{"https://h/c", "nar/../../x.nar", `! NAR URL "nar/../../x.nar" leaves the cache`},
		{"https://h/c", "nar/./x.nar", `! NAR URL "nar/./x.nar" leaves the cache`},
		{"https://h/c", "nar/%2e%2E/x.nar", `! NAR URL "nar/%2e%2E/x.nar" leaves the cache`},
		{"https://h/c", "nar/..%2f..%2fx.nar", `! NAR URL "nar/..%2f..%2fx.nar" leaves the cache`},
		{"https://h/c", "https://h/c/../x.nar", `! NAR URL "https://h/c/../x.nar" leaves the cache`},
		{"https://h/c", "file:///etc/passwd", `! NAR URL "file:///etc/passwd" is neither relative nor http`},
		{"https://h/c", "//cdn/x.nar", `! NAR URL "//cdn/x.nar" is neither relative nor http`},
		{"https://h/c", "ftp://cdn/x.nar", `! NAR URL "ftp://cdn/x.nar" is neither relative nor http`},
		{"https://h/c", "nar:x", `! NAR URL "nar:x" is neither relative nor plain http`},
		{"https://h/c", "https://me:pw@cdn/x.nar", `! NAR URL "https://cdn/x.nar" is neither relative nor plain http`},
		{"https://h/c", "nar/%zz", `! NAR URL "nar/%zz" is malformed`},
	}
	for _, tt := range tests {
		got, err := newCache(nil, Substituter{URL: tt.base}).narURL(tt.url)
		if err != nil {
			got = "! " + err.Error()
		}
		if got != tt.want {
			t.Errorf("narURL(%q) in %s = %q, want %q", tt.url, tt.base, got, tt.want)
		}
	}
}

func TestNARElsewhere(t *testing.T) {
	nar := []byte("a NAR")
	cdn := serve(t, map[string]string{"x.nar": "b NAR!"})
	f := with(t, nar, nil, "none", func(info *nix.NARInfo) { info.URL = cdn.url + "/x.nar" })
	_, err := readNAR(t, f.cache, f.info)
	if want := helloBase + ": " + f.url + ": " + cdn.url + "/x.nar: NAR is longer than 5 bytes"; err == nil || err.Error() != want {
		t.Errorf("NAR: %v, want %q", err, want)
	}
	cdn.content["x.nar"] = "status 404"
	_, err = readNAR(t, f.cache, f.info)
	if want := helloBase + ": " + f.url + ": GET " + cdn.url + "/x.nar: 404 Not Found"; err == nil || err.Error() != want {
		t.Errorf("NAR: %v, want %q", err, want)
	}
}

func TestNARFromALaterCache(t *testing.T) {
	nar := []byte("a NAR")
	good := narOf(t, helloBase, nar, signer)
	file := good.Path.Digest() + ".narinfo"
	other := narOf(t, helloBase, []byte("another"), signer)
	escaping := good
	escaping.URL = "../x"
	tests := []struct {
		name          string
		first, second map[string]string
		want          string // error; "": none
	}{
		{"the first has no NAR", map[string]string{file: text(t, good)}, map[string]string{file: text(t, good), "nar/x.nar": string(nar)}, ""},
		{"the first has a bad URL", map[string]string{file: text(t, escaping)}, map[string]string{file: text(t, good), "nar/x.nar": string(nar)}, ""},
		{"nobody has the NAR", map[string]string{file: text(t, good)}, map[string]string{file: text(t, good)},
			helloBase + ": GET FIRST/nar/x.nar: 404 Not Found; GET SECOND/nar/x.nar: 404 Not Found"},
		{"the second has another", map[string]string{file: text(t, good)}, map[string]string{file: text(t, other), "nar/x.nar": "another"},
			helloBase + ": GET FIRST/nar/x.nar: 404 Not Found; SECOND: has NAR " + other.NarHash.String() + " of 7 bytes (want " + good.NarHash.String() + " of 5 bytes)"},
		{"the second has nothing", map[string]string{file: text(t, good)}, nil, helloBase + ": GET FIRST/nar/x.nar: 404 Not Found"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			first, second := serve(t, tt.first), serve(t, tt.second)
			got, err := readNAR(t, ask(first.trusting(signer), second.trusting(signer)), good.PathInfo)
			if tt.want == "" {
				if err != nil || !bytes.Equal(got, nar) {
					t.Errorf("NAR = %q, %v", got, err)
				}
				return
			}
			want := strings.NewReplacer("FIRST", first.url, "SECOND", second.url).Replace(tt.want)
			if err == nil || err.Error() != want || errors.Is(err, ErrNotFound) {
				t.Errorf("NAR: %v, want %q", err, want)
			}
		})
	}
}

// A NAR that is not as described is not taken from the same cache again, if another one has it.
func TestDoubtfulNAR(t *testing.T) {
	good := narOf(t, helloBase, []byte("a NAR"), signer)
	file := good.Path.Digest() + ".narinfo"
	for _, tt := range []struct {
		what string
		next []map[string]string // caches behind the first one, which has a wrong NAR
		want string
	}{
		{"the next one has it", []map[string]string{{file: text(t, good), "nar/x.nar": "a NAR"}}, "a NAR"},
		{"the last one has it", []map[string]string{{file: text(t, good)}, {file: text(t, good), "nar/x.nar": "a NAR"}}, "a NAR"},
		{"no other has it", []map[string]string{{file: text(t, good)}}, "wrong"},
		{"there is no other", nil, "wrong"},
	} {
		subs := []Substituter{serve(t, map[string]string{file: text(t, good), "nar/x.nar": "wrong"}).trusting(signer)}
		for _, content := range tt.next {
			subs = append(subs, serve(t, content).trusting(signer))
		}
		c := ask(subs...)
		for i, want := range []string{"wrong", "wrong", tt.want} {
			r, err := c.NAR(t.Context(), good.PathInfo)
			if err != nil {
				t.Fatalf("%s: %v", tt.what, err)
			}
			if got, err := io.ReadAll(r); err != nil || string(got) != want {
				t.Errorf("%s: NAR %d = %q, %v, want %q", tt.what, i, got, err, want)
			}
			if i == 1 {
				r.(interface{ Doubt() }).Doubt()
			}
			r.Close()
		}
	}
}

func TestNAROfAnUnknownPath(t *testing.T) {
	s := serve(t, nil)
	info := narOf(t, helloBase, []byte("a NAR"), signer).PathInfo
	if _, err := ask(s.trusting(signer)).NAR(t.Context(), info); !errors.Is(err, ErrNotFound) {
		t.Errorf("NAR: %v", err)
	}
}

// The stream goes on where the connection broke, in the middle of compressed data.
func TestNARIsResumed(t *testing.T) {
	nar := program(1 << 20)
	file := pack(t, "xz", nar)
	info := narOf(t, helloBase, nar, signer)
	info.Compression = "xz"
	fileHash(file)(&info)
	var tries atomic.Int32
	content := &server{content: map[string]string{info.Path.Digest() + ".narinfo": text(t, info), "nar/x.nar": string(file)}, counts: map[string]int{}}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/nar/x.nar" && tries.Add(1) == 1 {
			w.Header().Set("Content-Length", strconv.Itoa(len(file)))
			w.Write(file[:len(file)/2])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		content.ServeHTTP(w, r)
	}))
	defer h.Close()
	c := ask(Substituter{URL: h.URL, Keys: []nix.PublicKey{signer.Public()}})
	if got, err := readNAR(t, c, info.PathInfo); !bytes.Equal(got, nar) || err != nil || tries.Load() != 2 {
		t.Errorf("%d bytes, %v, after %d requests", len(got), err, tries.Load())
	}
}

// Wherever the connection breaks, and whatever a decoder makes of that, the error is that of the connection.
func TestNARIsCutOff(t *testing.T) {
	nar := readTestdata(t, "xz/text")
	for _, compression := range compressions {
		file := pack(t, compression, nar)
		info := narOf(t, helloBase, nar, signer)
		info.Compression = compression
		var cut int
		h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/nar/x.nar":
				w.Header().Set("Content-Length", strconv.Itoa(len(file)))
				w.Write(file[:cut])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			case "/" + info.Path.Digest() + ".narinfo":
				io.WriteString(w, text(t, info))
			}
		}))
		c := ask(Substituter{URL: h.URL, Keys: []nix.PublicKey{signer.Public()}})
		for _, cut = range []int{0, 1, 3, 5, 10, 13, 20, 30, len(file) / 2, len(file) - 10, len(file) - 5, len(file) - 1} {
			_, err := readNAR(t, c, info.PathInfo)
			want := fmt.Sprintf("%s: GET %s/nar/x.nar: cut off after %d of %d bytes: ", helloBase, h.URL, cut, len(file))
			var fetched *fetch.Error
			if err == nil || !strings.HasPrefix(err.Error(), want) || !errors.As(err, &fetched) || !fetched.Temporary() {
				t.Errorf("%s: %v, want %q", compression, err, want)
			}
		}
		h.Close()
	}
}

func TestNARCancelled(t *testing.T) {
	nar := readTestdata(t, "xz/text")
	f := with(t, nar, pack(t, "xz", nar), "xz", nil)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := f.cache.Info(ctx, f.info.Path); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := f.cache.NAR(ctx, f.info); !errors.Is(err, context.Canceled) {
		t.Errorf("NAR: %v", err)
	}
}

// There is one buffer between network and decoder.
func TestNARHasOneBuffer(t *testing.T) {
	r := &narReader{info: nix.NARInfo{PathInfo: nix.PathInfo{NarSize: 1 << 20}}, file: &compressed{}}
	if err := r.decode("", "xz"); err != nil {
		t.Fatal(err)
	}
	if size := r.plain.(*xzReader).in.r.Size(); size != bufferSize {
		t.Errorf("the decoder's buffer has %d bytes, want %d", size, bufferSize)
	}
}

// No decoder may panic or deliver without end, whatever it is fed, nor give the next
// one anything else than it would have had.
func FuzzDecompress(f *testing.F) {
	text := readTestdata(f, "xz/text")[:500]
	whole := map[string][]byte{"bzip2": readTestdata(f, "text.bz2")}
	want := map[string][]byte{}
	for _, compression := range compressions {
		if compression != "bzip2" {
			whole[compression] = pack(f, compression, text)
		}
		r, err := decompress(bytes.NewReader(whole[compression]), compression, 1<<16)
		if err != nil {
			f.Fatal(err)
		}
		if want[compression], err = io.ReadAll(r); err != nil {
			f.Fatal(err)
		}
	}
	for i, compression := range compressions {
		if compression != "bzip2" {
			f.Add(byte(i), pack(f, compression, text))
		}
	}
	f.Add(byte(3), readTestdata(f, "text.bz2"))
	f.Fuzz(func(t *testing.T, which byte, file []byte) {
		compression := compressions[int(which)%len(compressions)]
		r, err := decompress(bytes.NewReader(file), compression, 1<<16)
		if err != nil {
			return
		}
		n, err := io.Copy(io.Discard, io.LimitReader(r, 1<<16))
		if n > 1<<16 {
			t.Errorf("%d bytes, %v", n, err)
		}
		r.Close()
		next, err := decompress(bytes.NewReader(whole[compression]), compression, 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		defer next.Close()
		if got, err := io.ReadAll(next); !bytes.Equal(got, want[compression]) || err != nil {
			t.Errorf("%s afterwards: %d bytes, %v", compression, len(got), err)
		}
	})
}

// A NAR that is not there, or has another length, is asked for once more, and no
// oftener.
func TestNARIsAskedForOnceMore(t *testing.T) {
	nar := []byte("a NAR")
	for _, tt := range []struct {
		name string
		bad  func(http.ResponseWriter)
		err  string
	}{
		{"not there", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, "404"},
		{"gone", func(w http.ResponseWriter) { w.WriteHeader(http.StatusGone) }, "410"},
		{"too long", func(w http.ResponseWriter) { w.Header().Set("Content-Length", "1000000000") }, "too large"},
	} {
		for times, works := range map[int32]bool{1: true, 2: false} {
			t.Run(fmt.Sprintf("%s, %d times", tt.name, times), func(t *testing.T) {
				info := narOf(t, helloBase, nar, signer)
				var asked atomic.Int32
				h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					switch {
					case strings.HasSuffix(r.URL.Path, ".narinfo"):
						io.WriteString(w, text(t, info))
					case r.URL.Path != "/nar/x.nar":
					case asked.Add(1) <= times:
						tt.bad(w)
					default:
						w.Write(nar)
					}
				}))
				defer h.Close()
				c := ask(Substituter{URL: h.URL, Keys: []nix.PublicKey{signer.Public()}})
				got, err := readNAR(t, c, info.PathInfo)
				if works && (err != nil || !bytes.Equal(got, nar)) || !works && (err == nil || !strings.Contains(err.Error(), tt.err)) {
					t.Errorf("NAR = %q, %v", got, err)
				}
				if n := asked.Load(); n != 2 {
					t.Errorf("it was asked for %d times, want 2", n)
				}
			})
		}
	}
}
