package nix

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

func TestBase32(t *testing.T) {
	tests := []struct{ name, hex, text string }{
		{"nothing", "", ""},
		{"one byte", "01", "01"},
		{"highest byte", "ff", "7z"},
		{"counting to 20", "000102030405060708090a0b0c0d0e0f10111213", "2c91240g1q6hq2qa1440f1h50h1h4080"},
		{"sha256 of nothing", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			"0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"},
		{"the same folded", "872b570e3c69850fe2a94c9d996fb92427ae41e4", "wi0sw9r4p5prk7acm7i0z1b97h75faw7"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			data, err := hex.DecodeString(test.hex)
			if err != nil {
				t.Fatal(err)
			}
			if got := EncodeBase32(data); got != test.text {
				t.Errorf("EncodeBase32(%x) = %q, want %q", data, got, test.text)
			}
			got, err := DecodeBase32(test.text)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("DecodeBase32(%q) = %x, %v, want %x", test.text, got, err, data)
			}
		})
	}
}

func TestBase32Lengths(t *testing.T) {
	for size, want := range map[int]int{1: 2, 16: 26, 20: 32, 32: 52, 64: 103} {
		if got := len(EncodeBase32(make([]byte, size))); got != want {
			t.Errorf("%d bytes give %d characters, want %d", size, got, want)
		}
	}
}

func TestBase32RoundTrip(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for size := range 70 {
		data := make([]byte, size)
		random.Read(data)
		text := EncodeBase32(data)
		got, err := DecodeBase32(text)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("DecodeBase32(%q) = %x, %v, want %x", text, got, err, data)
		}
	}
}

func TestDecodeBase32Rejects(t *testing.T) {
	for name, text := range map[string]string{
		"letter e":           "0e",
		"letter o":           "0o",
		"letter t":           "0t",
		"letter u":           "0u",
		"upper case":         "0A",
		"not ascii":          "é",
		"newline":            "0\n",
		"no such length":     "0",
		"three characters":   "000",
		"bits beyond 1 byte": "80",
		"bits beyond 32":     "2mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
	} {
		if got, err := DecodeBase32(text); err == nil {
			t.Errorf("%s: DecodeBase32(%q) = %x, want an error", name, text, got)
		}
	}
}

func FuzzDecodeBase32(f *testing.F) {
	for _, s := range []string{"", "01", "7z", "80", "2c91240g1q6hq2qa1440f1h50h1h4080"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		data, err := DecodeBase32(s)
		if err != nil {
			return
		}
		if got := EncodeBase32(data); got != s {
			t.Errorf("DecodeBase32(%q) = %x, which encodes to %q", s, data, got)
		}
	})
}
