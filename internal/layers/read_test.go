package layers

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// changed is a layer of which a registry sends other bytes than its digest says.
type changed struct {
	v1.Layer
	bytes []byte
}

func (c changed) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(c.bytes)), nil
}

// A layer that is read for what is in it is held against its digest, wherever
// what is looked for stands in it.
func TestRead(t *testing.T) {
	for _, encoding := range []Encoding{Gzip, Zstd} {
		pack := func(text string) (*Layer, []byte) {
			t.Helper()
			layer, err := Packer{Dir: t.TempDir(), Encoding: encoding}.Files([]File{
				{Path: "/first", Mode: 0o644, Data: []byte("wanted")},
				{Path: "/last", Mode: 0o644, Data: []byte(text)},
			}, "")
			if err != nil {
				t.Fatal(err)
			}
			rc, err := layer.Compressed()
			if err != nil {
				t.Fatal(err)
			}
			defer rc.Close()
			data, err := io.ReadAll(rc)
			if err != nil {
				t.Fatal(err)
			}
			return layer, data
		}
		layer, data := pack("a")
		_, other := pack("b")
		for name, tt := range map[string]struct {
			bytes []byte
			ok    bool
		}{
			"as it is":                   {data, true},
			"another layer":              {other, false},
			"something behind the layer": {append(bytes.Clone(data), other...), false},
			"cut off":                    {data[:len(data)-1], false},
		} {
			var names []string
			err := Read(changed{layer, tt.bytes}, func(h *tar.Header, _ io.Reader) error {
				names = append(names, h.Name)
				return nil
			})
			if (err == nil) != tt.ok || tt.ok && !strings.Contains(strings.Join(names, " "), "first") {
				t.Errorf("%s, %s: Read = %v with the entries %v", encoding, name, err, names)
			}
		}
	}
}

// A layer that would have its reader keep more than the factory's own layers do is
// refused before it does.
func TestScanBoundsWindows(t *testing.T) {
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithWindowSize(2*ownWindow))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(make([]byte, 3*ownWindow)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Scan(&b, types.OCILayerZStd, 1<<40, func(*tar.Header, io.Reader) error { return nil })
	if !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("Scan() = %v, want %v", err, zstd.ErrWindowSizeExceeded)
	}
}
