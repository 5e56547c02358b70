package nix

import (
	"fmt"
	"strings"
	"testing"
)

const (
	cacheKey  = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
	vectorKey = "test-vec-1:A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
)

func mustKey(t testing.TB, s string) PublicKey {
	t.Helper()
	key, err := ParsePublicKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustSig(t testing.TB, s string) Signature {
	t.Helper()
	sig, err := ParseSignature(s)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// vectorSecret has the seed 00 01 … 1f.
func vectorSecret() SecretKey {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(i)
	}
	return NewSecretKey("test-vec-1", seed)
}

func TestKeyTexts(t *testing.T) {
	key := vectorSecret()
	if got := key.Public().String(); got != vectorKey {
		t.Errorf("public key is %s, want %s", got, vectorKey)
	}
	again, err := ParseSecretKey(key.String())
	if err != nil || again.String() != key.String() || again.Public() != key.Public() {
		t.Errorf("ParseSecretKey does not read what String wrote: %v", err)
	}
	public := mustKey(t, cacheKey)
	if public.Name() != "cache.nixos.org-1" || public.String() != cacheKey {
		t.Errorf("ParsePublicKey(%q) = %q with the name %q", cacheKey, public, public.Name())
	}
	if !public.Equal(mustKey(t, cacheKey)) || public.Equal(key.Public()) {
		t.Error("Equal is wrong")
	}
}

func TestKeyTextsRejects(t *testing.T) {
	secret := vectorSecret().String()
	_, publicData, _ := strings.Cut(vectorKey, ":")
	_, secretData, _ := strings.Cut(secret, ":")
	other := NewSecretKey("x", [32]byte{1}).String()
	for name, text := range map[string]string{
		"nothing":             "",
		"no name":             ":" + publicData,
		"no colon":            publicData,
		"no data":             "a:",
		"space in the name":   "a b:" + publicData,
		"newline in the name": "a\n:" + publicData,
		"two colons":          "a:b:" + publicData,
		"newline behind":      vectorKey + "\n",
		"no padding":          strings.TrimSuffix(vectorKey, "="),
		"31 bytes":            "a:" + publicData[4:],
		"other characters":    "a:" + strings.ReplaceAll(publicData, "/", "_"),
	} {
		if key, err := ParsePublicKey(text); err == nil {
			t.Errorf("%s: ParsePublicKey(%q) = %v, want an error", name, text, key)
		}
		if sig, err := ParseSignature(text); err == nil {
			t.Errorf("%s: ParseSignature(%q) = %v, want an error", name, text, sig)
		}
		if _, err := ParseSecretKey(text); err == nil {
			t.Errorf("%s: ParseSecretKey(%q): want an error", name, text)
		}
	}
	for name, text := range map[string]string{
		"public key":         vectorKey,
		"halves of two keys": "a:" + secretData[:40] + other[len(other)-48:],
		"newline behind":     secret + "\n",
	} {
		_, err := ParseSecretKey(text)
		if err == nil {
			t.Errorf("%s: ParseSecretKey(%q): want an error", name, text)
			continue
		}
		if strings.Contains(err.Error(), secretData[:16]) {
			t.Errorf("%s: the error repeats the key: %v", name, err)
		}
	}
	if _, err := ParsePublicKey(secret); err == nil || strings.Contains(err.Error(), secretData[:16]) {
		t.Errorf("ParsePublicKey of a secret key: error is %v, want one that does not repeat it", err)
	}
}

func TestNewSecretKeyPanics(t *testing.T) {
	defer func() {
		if got := fmt.Sprint(recover()); !strings.Contains(got, "bad key name") {
			t.Errorf("panic is %q, want one about the name", got)
		}
	}()
	NewSecretKey("a b", [32]byte{})
}

func FuzzParseSignature(f *testing.F) {
	f.Add("a:" + strings.Repeat("A", 86) + "==")
	f.Add(vectorKey)
	f.Add(":")
	f.Fuzz(func(t *testing.T, s string) {
		sig, err := ParseSignature(s)
		if err != nil {
			return
		}
		if sig.String() != s {
			t.Errorf("ParseSignature(%q) prints as %q", s, sig)
		}
		if strings.ContainsAny(s, " \n\r\t\x00") {
			t.Errorf("ParseSignature(%q) accepts white space", s)
		}
	})
}
