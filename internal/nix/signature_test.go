package nix

import (
	"crypto/ed25519"
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

// secret is a key that signs. Other packages have nixtest.SecretKey.
type secret struct {
	name string
	key  ed25519.PrivateKey
}

func newSecret(name string, seed [32]byte) secret {
	return secret{name, ed25519.NewKeyFromSeed(seed[:])}
}

func (s secret) Sign(info PathInfo) Signature {
	return Signature{s.name, [ed25519.SignatureSize]byte(ed25519.Sign(s.key, info.Fingerprint()))}
}

func (s secret) Public() PublicKey {
	return PublicKey{s.name, [ed25519.PublicKeySize]byte(s.key[ed25519.SeedSize:])}
}

// vectorSecret has the seed 00 01 … 1f.
func vectorSecret() secret {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(i)
	}
	return newSecret("test-vec-1", seed)
}

func TestKeyTexts(t *testing.T) {
	key := vectorSecret()
	if got := key.Public().String(); got != vectorKey {
		t.Errorf("public key is %s, want %s", got, vectorKey)
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
	secret := formatNamed("test-vec-1", vectorSecret().key)
	_, publicData, _ := strings.Cut(vectorKey, ":")
	_, secretData, _ := strings.Cut(secret, ":")
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
	}
	if _, err := ParsePublicKey(secret); err == nil || strings.Contains(err.Error(), secretData[:16]) {
		t.Errorf("ParsePublicKey of a secret key: error is %v, want one that does not repeat it", err)
	}
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
