package binarycache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

func readTestdata(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// unxz decodes with no more dictionary than a file of size bytes needs.
func unxz(file []byte, size int) ([]byte, error) {
	return io.ReadAll(io.LimitReader(newXZReader(bytes.NewReader(file), int64(size)), 1<<20))
}

func TestXZ(t *testing.T) {
	text := string(readTestdata(t, "xz/text"))
	for _, name := range []string{"crc32", "crc64", "sha256", "none", "preset-0", "preset-9e", "blocks", "padded-streams"} {
		got, err := unxz(readTestdata(t, "xz/"+name+".xz"), len(text))
		if string(got) != text || err != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if got, err := unxz(readTestdata(t, "xz/empty.xz"), 0); len(got) > 0 || err != nil {
		t.Errorf("empty: %q, %v", got, err)
	}
}

func TestXZRefused(t *testing.T) {
	good := readTestdata(t, "xz/crc64.xz")
	stream := func(flags, check byte) []byte {
		header := append([]byte{0xfd, '7', 'z', 'X', 'Z', 0, flags, check}, 0, 0, 0, 0)
		binary.LittleEndian.PutUint32(header[8:], crc32.ChecksumIEEE(header[6:8]))
		return header
	}
	tests := []struct {
		name string
		file []byte
		want string
	}{
		{"nothing", nil, "unexpected EOF"},
		{"padding alone", make([]byte, 12), "xz: bad stream header"},
		{"something else", []byte("BZh91AY&SY................"), "xz: bad stream header"},
		{"unknown check", stream(0, 2), "xz: bad stream header"},
		{"reserved flags", stream(1, 1), "xz: bad stream header"},
		{"text behind", append(bytes.Clone(good), "more text behind"...), "xz: bad stream header"},
		{"padding of odd length", append(bytes.Clone(good), 0, 0, 0), "unexpected EOF"},
		{"filter", readTestdata(t, "xz/bad-x86-filter.xz"), "xz: filters other than LZMA2 are not supported"},
		{"dictionary of 1 GiB", readTestdata(t, "xz/bad-dictionary.xz"), "xz: dictionary of 1073741824 bytes (limit 67108864 bytes)"},
		{"dictionary of 4 GiB", withDict(good, 40), "xz: dictionary of 4294967295 bytes (limit 67108864 bytes)"},
		{"dictionary beyond the format", withDict(good, 41), "xz: invalid dictionary size"},
		{"CRC32 of something else", slices.Concat(stream(0, checkCRC32), blockOfX(), []byte{1, 2, 3, 4}), "xz: block does not match its check value"},
		{"CRC64 of something else", slices.Concat(stream(0, checkCRC64), blockOfX(), make([]byte, 8)), "xz: block does not match its check value"},
		{"SHA-256 of something else", slices.Concat(stream(0, checkSHA256), blockOfX(), make([]byte, 32)), "xz: block does not match its check value"},
		{"4 GiB in the second stream", append(bytes.Clone(good), withDict(good, 40)...), "xz: dictionary of 4294967295 bytes (limit 67108864 bytes)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := unxz(tt.file, 18090)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// blockOfX is a block of one byte, x, that asks for the largest dictionary, without a
// check value.
func blockOfX() []byte {
	block := []byte{2, 0, lzma2, 1, dictCode(maxDict), 0, 0, 0}
	block = binary.LittleEndian.AppendUint32(block, crc32.ChecksumIEEE(block))
	return append(block, 1, 0, 0, 'x', 0, 0, 0, 0) // a chunk that is not compressed, their end, padding
}

// withDict changes the dictionary size in the first block header of a file.
func withDict(file []byte, dict byte) []byte {
	file = bytes.Clone(file)
	header := file[headerLen:]
	header = header[:(int(header[0])+1)*4]
	at := bytes.Index(header, []byte{lzma2, 1})
	header[at+2] = dict
	binary.LittleEndian.PutUint32(header[len(header)-4:], crc32.ChecksumIEEE(header[:len(header)-4]))
	return file
}

func TestXZTruncated(t *testing.T) {
	for _, name := range []string{"crc64", "blocks"} {
		file := readTestdata(t, "xz/"+name+".xz")
		for n := range file {
			if _, err := unxz(file[:n], 18090); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: first %d of %d bytes: %v", name, n, len(file), err)
			}
		}
	}
}

// No change of a byte may change the content unnoticed.
func TestXZDamaged(t *testing.T) {
	text := readTestdata(t, "xz/text")
	for _, name := range []string{"crc32", "sha256", "blocks"} {
		file := readTestdata(t, "xz/"+name+".xz")
		for i := range file {
			damaged := bytes.Clone(file)
			damaged[i] ^= 0x10
			if got, err := unxz(damaged, len(text)); err == nil && !bytes.Equal(got, text) {
				t.Errorf("%s: change of byte %d of %d goes unnoticed", name, i, len(file))
			}
		}
	}
}

// A small NAR needs a small dictionary, whatever the file asks for.
func TestXZMemory(t *testing.T) {
	file := withDict(readTestdata(t, "xz/blocks.xz"), 28) // 64 MiB for each block
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := unxz(file, 18090)
	runtime.ReadMemStats(&after)
	if len(got) != 18090 || err != nil {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 4<<20 {
		t.Errorf("%d bytes allocated", allocated)
	}
}

// Each of many blocks may ask for the largest dictionary: it is there once.
func TestXZManyBlocks(t *testing.T) {
	file := readTestdata(t, "xz/none.xz")[:headerLen]
	const blocks = 300
	file = append(file, bytes.Repeat(blockOfX(), blocks)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := unxz(file, maxDict)
	runtime.ReadMemStats(&after)
	if len(got) != blocks || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 2*maxDict {
		t.Errorf("%d bytes allocated for %d blocks", allocated, blocks)
	}
}

// Whatever the reader of package xz accepts without this package's limits is decoded alike;
// nothing it refuses is accepted.
func FuzzXZ(f *testing.F) {
	files, err := filepath.Glob("testdata/xz/*.xz")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := unxz(file, 1<<20)
		if err != nil {
			return // its dictionary may be one that the other reader had better not allocate
		}
		r, err := xz.NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatalf("package xz refuses it: %v", err)
		}
		want, err := io.ReadAll(io.LimitReader(r, 1<<20))
		// It compares the sizes in the index, which are of no interest here.
		if err != nil && !strings.Contains(err.Error(), "record") {
			t.Fatalf("package xz refuses it: %v", err)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, package xz decodes %d", len(got), len(want))
		}
	})
}
