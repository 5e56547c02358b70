package binarycache

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/ulikunitz/xz"
)

// program returns bytes that compress about as well as programs do.
func program(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := make([][]byte, 4000)
	for i := range words {
		words[i] = make([]byte, 2+r.IntN(12))
		for j := range words[i] {
			words[i][j] = byte(r.ExpFloat64() * 30)
		}
	}
	var b bytes.Buffer
	for b.Len() < n {
		b.Write(words[int(r.ExpFloat64()*500)%len(words)])
		if r.IntN(6) == 0 {
			b.WriteByte(byte(r.IntN(256)))
		}
	}
	return b.Bytes()[:n]
}

// BenchmarkXZ decodes the file that XZ_FILE names, or 4 MiB made for the purpose.
func BenchmarkXZ(b *testing.B) {
	var file []byte
	if name := os.Getenv("XZ_FILE"); name != "" {
		var err error
		if file, err = os.ReadFile(name); err != nil {
			b.Fatal(err)
		}
	} else {
		var buf bytes.Buffer
		w, err := xz.NewWriter(&buf)
		if err != nil {
			b.Fatal(err)
		}
		w.Write(program(4 << 20))
		w.Close()
		file = buf.Bytes()
	}
	for b.Loop() {
		n, err := io.Copy(io.Discard, newXZReader(bytes.NewReader(file), 1<<30))
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
	}
}
