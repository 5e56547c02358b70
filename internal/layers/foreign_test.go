package layers

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// encoded compresses data as it is done outside.
func encoded(t *testing.T, e Encoding, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := e.compress(&b, gzipOther)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func hashed(t *testing.T, data []byte) v1.Hash {
	t.Helper()
	h, _, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestForeign(t *testing.T) {
	plain := []byte(strings.Repeat("not even an archive ", 100_000))
	var slow bytes.Buffer
	w := gzip.NewWriter(&slow)
	if _, err := w.Write(plain); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		encoding Encoding
		data     []byte
		want     []byte
		media    types.MediaType
		kept     bool
	}{
		"plain, to gzip": {Gzip, plain, encoded(t, Gzip, plain), types.OCILayer, false},
		"plain, to zstd": {Zstd, plain, encoded(t, Zstd, plain), types.OCILayerZStd, false},
		"gzip":           {Zstd, slow.Bytes(), slow.Bytes(), types.OCILayer, true},
		"zstd":           {Gzip, encoded(t, Zstd, plain), encoded(t, Zstd, plain), types.OCILayerZStd, true},
	} {
		dir := t.TempDir()
		l, err := Packer{Dir: dir, Encoding: test.encoding}.Foreign(bytes.NewReader(test.data))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		rc, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(rc)
		if err != nil || rc.Close() != nil || !bytes.Equal(got, test.want) {
			t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(test.want))
		}
		if l.digest != hashed(t, test.want) || l.diffID != hashed(t, plain) || l.size != int64(len(test.want)) || l.media != test.media || l.Kept != test.kept {
			t.Errorf("%s: %+v", name, l)
		}
		id, err := Identify(bytes.NewReader(test.data))
		if err != nil || id.Digest != hashed(t, test.data) || id.DiffID != hashed(t, plain) || id.Size != int64(len(test.data)) {
			t.Errorf("%s: Identify() = %+v, %v", name, id, err)
		}
	}
}

func TestForeignThatBreaksOff(t *testing.T) {
	whole := encoded(t, Gzip, []byte(strings.Repeat("text ", 1000)))
	for name, data := range map[string][]byte{"truncated": whole[:len(whole)-5], "damaged": append([]byte("\x1f\x8b\x08\x00"), whole...)} {
		dir := t.TempDir()
		if l, err := (Packer{Dir: dir, Encoding: Gzip}).Foreign(bytes.NewReader(data)); err == nil {
			t.Errorf("%s: Foreign() = %+v, want an error", name, l)
		}
		if _, err := Identify(bytes.NewReader(data)); err == nil {
			t.Errorf("%s: Identify() has no error", name)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %v, %v", name, left, err)
		}
	}
}
