// Package nixtest has what only tests need of Nix's formats: keys that sign, and
// NARs of what is on disk.
package nixtest

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// SecretKey signs store objects.
type SecretKey struct {
	name string
	key  ed25519.PrivateKey
}

// ParseSecretKey reads "name:base64", the content of a file
// written by nix-store --generate-binary-cache-key. Errors do not repeat the key.
func ParseSecretKey(s string) (SecretKey, error) {
	name, text, ok := strings.Cut(s, ":")
	data, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(data) != ed25519.PrivateKeySize {
		return SecretKey{}, errors.New("secret key: not a name, a colon and 64 bytes of base64")
	}
	key := ed25519.NewKeyFromSeed(data[:ed25519.SeedSize])
	if !key.Equal(ed25519.PrivateKey(data)) {
		return SecretKey{}, fmt.Errorf("secret key %q: its two halves do not belong together", name)
	}
	return SecretKey{name, key}, nil
}

// NewSecretKey makes the key that follows from a seed. A bad name panics.
func NewSecretKey(name string, seed [ed25519.SeedSize]byte) SecretKey {
	k := SecretKey{name, ed25519.NewKeyFromSeed(seed[:])}
	k.Public()
	return k
}

// Sign signs what a PathInfo says of path, hash, size and references.
func (k SecretKey) Sign(info nix.PathInfo) nix.Signature {
	data := ed25519.Sign(k.key, info.Fingerprint())
	return nix.Signature{Name: k.name, Data: [ed25519.SignatureSize]byte(data)}
}

// Public returns the key that verifies what k signs.
func (k SecretKey) Public() nix.PublicKey {
	key, err := nix.ParsePublicKey(named(k.name, k.key[ed25519.SeedSize:]))
	if err != nil {
		panic(err)
	}
	return key
}

// String returns the secret itself, as ParseSecretKey reads it. It belongs in a file, never in a log.
func (k SecretKey) String() string { return named(k.name, k.key) }

func named(name string, data []byte) string {
	return name + ":" + base64.StdEncoding.EncodeToString(data)
}
