package sign

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/nacl/secretbox"
	"golang.org/x/crypto/scrypt"

	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

func generate(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func asPEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// seal encrypts a key as cosign does.
func seal(t testing.TB, der []byte, password string, n int) []byte {
	t.Helper()
	var s sealed
	s.KDF.Name, s.KDF.Params, s.KDF.Salt = "scrypt", params{n, 8, 1}, []byte("salt")
	s.Cipher.Name, s.Cipher.Nonce = "nacl/secretbox", make([]byte, 24)
	derived, err := scrypt.Key([]byte(password), s.KDF.Salt, n, 8, 1, 32)
	if err != nil {
		t.Fatal(err)
	}
	s.Text = secretbox.Seal(nil, der, (*[24]byte)(s.Cipher.Nonce), (*[32]byte)(derived))
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return asPEM("ENCRYPTED SIGSTORE PRIVATE KEY", text)
}

func TestParseKey(t *testing.T) {
	key := generate(t, elliptic.P256())
	der := pkcs8(t, key)
	ec, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		text []byte
		err  string
	}{
		"encrypted":          {seal(t, der, "secret", 1<<15), ""},
		"of an older cosign": {[]byte(strings.ReplaceAll(string(seal(t, der, "secret", 1<<16)), "SIGSTORE", "COSIGN")), ""},
		"plain":              {asPEM("PRIVATE KEY", der), ""},
		"SEC 1":              {asPEM("EC PRIVATE KEY", ec), ""},
		"another password":   {seal(t, der, "other", 1<<15), "COSIGN_PASSWORD"},
		"too strong":         {seal(t, der, "secret", 1<<14), "in a way that cosign does not use"},
		"a short nonce": {asPEM("ENCRYPTED SIGSTORE PRIVATE KEY", []byte(`{"kdf":{"name":"scrypt","params":{"N":32768,"r":8,"p":1},"salt":""},"cipher":{"name":"nacl/secretbox","nonce":"AAAA"},"ciphertext":""}`)),
			"in a way that cosign does not use"},
		"not JSON":            {asPEM("ENCRYPTED SIGSTORE PRIVATE KEY", []byte("x")), "not JSON"},
		"another curve":       {asPEM("PRIVATE KEY", pkcs8(t, generate(t, elliptic.P384()))), "P-256"},
		"another kind":        {asPEM("PRIVATE KEY", pkcs8(t, edwards)), "P-256"},
		"a public key":        {(&Key{key}).Public().PEM(), "public key"},
		"something else":      {asPEM("CERTIFICATE", der), "no private key"},
		"nothing":             {nil, "not a private key"},
		"cut off":             {asPEM("PRIVATE KEY", der[:20]), "PKCS #8"},
		"longer than any key": {make([]byte, maxKey+1), "longer"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseKey(tt.text, []byte("secret"))
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("ParseKey() = %v, want %q", err, tt.err)
			}
			if err == nil && !got.private.Equal(key) {
				t.Error("it is another key")
			}
		})
	}
	if _, err := ParseKey(seal(t, der, "other", 1<<15), nil); !errors.Is(err, ErrPassword) {
		t.Errorf("without a password: %v, want ErrPassword", err)
	}
	public, err := ParsePublicKey((&Key{key}).Public().PEM())
	if err != nil || !public.key.Equal(&key.PublicKey) {
		t.Errorf("ParsePublicKey() = %v, %v", public, err)
	}
}

// places are a layout and a registry, with an image in each.
func places(t *testing.T) (map[string]registry.Repository, v1.Hash) {
	t.Helper()
	index, err := random.Index(100, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	index = mutate.IndexMediaType(index, types.OCIImageIndex)
	client := registry.NewClient(registry.Options{Push: true})
	at, err := registry.ParseReference("http://" + registrytest.Start(t, registrytest.Options{}) + "/org/app:x")
	if err != nil {
		t.Fatal(err)
	}
	remote, err := client.Repository(at.Remote)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]registry.Repository{"layout": registry.Layout(t.TempDir(), "app"), "registry": remote}
	for _, repo := range all {
		if err := repo.Push(t.Context(), index); err != nil {
			t.Fatal(err)
		}
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return all, digest
}

// Each key signs once; what others have signed stays.
func TestEnsure(t *testing.T) {
	one, other := &Key{generate(t, elliptic.P256())}, &Key{generate(t, elliptic.P256())}
	all, digest := places(t)
	for name, repo := range all {
		if list, err := List(t.Context(), repo, digest); err != nil || len(list) > 0 {
			t.Errorf("%s: List() = %v, %v before anybody has signed", name, list, err)
		}
		for _, step := range []struct {
			key   *Key
			sent  bool
			count int
		}{{one, true, 1}, {one, false, 1}, {other, true, 2}, {one, false, 2}, {other, false, 2}} {
			if sent, err := Ensure(t.Context(), repo, digest, step.key); err != nil || sent != step.sent {
				t.Fatalf("%s: Ensure() = %v, %v, want %v", name, sent, err, step.sent)
			}
			list, err := List(t.Context(), repo, digest)
			if err != nil || len(list) != step.count {
				t.Fatalf("%s: %d signatures, %v, want %d", name, len(list), err, step.count)
			}
		}
		list, err := List(t.Context(), repo, digest)
		if err != nil || !list[0].By(one.Public()) || list[0].By(other.Public()) || !list[1].By(other.Public()) {
			t.Errorf("%s: the signatures are by others: %v, %v", name, list, err)
		}
		if !strings.HasSuffix(list[0].Reference, "app") || strings.ContainsAny(list[0].Reference, "@") {
			t.Errorf("%s: signed in %q", name, list[0].Reference)
		}
	}
}

// Equal keys give equal signatures, so that two runs that meet say the same.
func TestSignaturesAreTheSame(t *testing.T) {
	key := &Key{generate(t, elliptic.P256())}
	var tags []v1.Hash
	for range 2 {
		_, digest := places(t)
		digest.Hex = strings.Repeat("0", 64)
		repo := registry.Layout(t.TempDir(), "app")
		if _, err := Ensure(t.Context(), repo, digest, key); err != nil {
			t.Fatal(err)
		}
		at, err := repo.Digest(t.Context(), Tag(digest))
		if err != nil {
			t.Fatal(err)
		}
		tags = append(tags, at)
	}
	if tags[0] != tags[1] {
		t.Errorf("signed twice, once as %s and once as %s", tags[0], tags[1])
	}
}

// What is under the tag of the signatures and is none of the image is not listed.
func TestListOfOthers(t *testing.T) {
	key := &Key{generate(t, elliptic.P256())}
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	elsewhere := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("1", 64)}
	img, _, err := read(t.Context(), registry.Layout(t.TempDir(), "app"), digest)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = add(img, "app", elsewhere, key); err != nil {
		t.Fatal(err)
	}
	for _, layer := range []mutate.Addendum{
		{Layer: static.NewLayer([]byte("{}"), payloadType), MediaType: payloadType, Annotations: map[string]string{annotation: "not base64"}},
		{Layer: static.NewLayer([]byte("no JSON"), payloadType), MediaType: payloadType, Annotations: map[string]string{annotation: "AAAA"}},
		{Layer: static.NewLayer(make([]byte, maxPayload+1), payloadType), MediaType: payloadType, Annotations: map[string]string{annotation: "AAAA"}},
		{Layer: static.NewLayer([]byte("x"), types.OCILayer), MediaType: types.OCILayer},
	} {
		if img, err = mutate.Append(img, layer); err != nil {
			t.Fatal(err)
		}
	}
	// Signed by the key, but not as a signature of an image.
	text, err := json.Marshal(payload{Critical: critical{identity{"app"}, named{digest.String()}, "atomic container signature"}})
	if err != nil {
		t.Fatal(err)
	}
	sum, err := key.sign(text)
	if err != nil {
		t.Fatal(err)
	}
	signed := map[string]string{annotation: base64.StdEncoding.EncodeToString(sum)}
	if img, err = mutate.Append(img, mutate.Addendum{Layer: static.NewLayer(text, payloadType), MediaType: payloadType, Annotations: signed}); err != nil {
		t.Fatal(err)
	}
	list, err := signatures(img, digest)
	if err != nil || len(list) != 0 {
		t.Errorf("signatures() = %v, %v, and none is of the image", list, err)
	}
	if list, err := signatures(img, elsewhere); err != nil || len(list) != 1 || !list[0].By(key.Public()) {
		t.Errorf("signatures() = %v, %v, want the one that is of it", list, err)
	}
}

// No more signatures are read than anybody has.
func TestManySignatures(t *testing.T) {
	img := v1.Image(empty.Image)
	var err error
	for i := range maxSignatures + 1 {
		if _, err := signatures(img, v1.Hash{}); err != nil {
			t.Fatalf("%d signatures: %v", i, err)
		}
		if img, err = mutate.Append(img, mutate.Addendum{Layer: static.NewLayer([]byte("x"), payloadType), MediaType: payloadType}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := signatures(img, v1.Hash{}); err == nil {
		t.Errorf("%d signatures: no error", maxSignatures+1)
	}
}

func FuzzParseKey(f *testing.F) {
	key := generate(f, elliptic.P256())
	der := pkcs8(f, key)
	f.Add(asPEM("PRIVATE KEY", der))
	f.Add(asPEM("EC PRIVATE KEY", der))
	f.Add(seal(f, der, "secret", 1<<15))
	f.Add(asPEM("ENCRYPTED SIGSTORE PRIVATE KEY", []byte(`{"kdf":{"name":"scrypt","params":{"N":-1,"r":8,"p":1},"salt":""},"cipher":{"name":"nacl/secretbox","nonce":""},"ciphertext":""}`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := ParseKey(text, []byte("secret"))
		if err != nil {
			return
		}
		sum, err := key.sign([]byte("text"))
		if err != nil || !key.Public().verifies([]byte("text"), sum) || key.Public().verifies([]byte("other"), sum) {
			t.Errorf("a key was read that does not sign: %v", err)
		}
	})
}

func FuzzParsePayload(f *testing.F) {
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	text, err := json.Marshal(payload{Critical: critical{identity{"host/app"}, named{digest.String()}, kind}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"critical":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, ok := parsePayload(text, digest); ok && !strings.Contains(string(text), "sha256") && !strings.Contains(string(text), `\u`) {
			t.Errorf("%q is taken for a signature of %s", text, digest)
		}
	})
}
