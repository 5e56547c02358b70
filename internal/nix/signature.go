package nix

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
)

// Signature is an Ed25519 signature over a PathInfo's fingerprint.
type Signature struct {
	Name string // of the key; free of colons, spaces and control characters
	Data [ed25519.SignatureSize]byte
}

// ParseSignature reads "name:base64".
func ParseSignature(s string) (Signature, error) {
	name, data, err := parseNamed(s, ed25519.SignatureSize)
	if err != nil {
		return Signature{}, fmt.Errorf("signature %q: %w", s, err)
	}
	return Signature{name, [ed25519.SignatureSize]byte(data)}, nil
}

// String returns "name:base64".
func (s Signature) String() string { return formatNamed(s.Name, s.Data[:]) }

// PublicKey verifies the signatures of one key. Values can be compared with ==.
type PublicKey struct {
	name string
	key  [ed25519.PublicKeySize]byte
}

// ParsePublicKey reads "name:base64", as in Nix's setting trusted-public-keys.
func ParsePublicKey(s string) (PublicKey, error) {
	name, data, err := parseNamed(s, ed25519.PublicKeySize)
	if err != nil {
		return PublicKey{}, fmt.Errorf("public key: %w", err)
	}
	return PublicKey{name, [ed25519.PublicKeySize]byte(data)}, nil
}

// Name returns the part before the colon.
func (k PublicKey) Name() string { return k.name }

// String returns "name:base64".
func (k PublicKey) String() string { return formatNamed(k.name, k.key[:]) }

// Equal reports whether k == l, for packages that compare values by their methods.
func (k PublicKey) Equal(l PublicKey) bool { return k == l }

// verifies reports whether sig is a signature of message by this key under this name.
// The name counts: Nix refuses a good signature under the name of another key.
func (k PublicKey) verifies(message []byte, sig Signature) bool {
	return sig.Name == k.name && ed25519.Verify(k.key[:], message, sig.Data[:])
}

// parseNamed splits "name:base64". Its errors never repeat the data, which may be a secret.
func parseNamed(s string, size int) (name string, data []byte, err error) {
	name, text, ok := strings.Cut(s, ":")
	if !ok {
		return "", nil, fmt.Errorf("no name and colon in front")
	}
	if err := checkKeyName(name); err != nil {
		return "", nil, err
	}
	if data, err = parseBase64(text, size); err != nil {
		return "", nil, fmt.Errorf("key %q: %w", name, err)
	}
	return name, data, nil
}

// checkKeyName keeps names apart from what surrounds them:
// signatures stand in lines of a narinfo and, separated by spaces, in the database.
func checkKeyName(name string) error {
	if name == "" {
		return fmt.Errorf("empty key name")
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == ':' || r == 0x7f }) {
		return fmt.Errorf("bad key name %q", name)
	}
	return nil
}

func formatNamed(name string, data []byte) string {
	return name + ":" + base64.StdEncoding.EncodeToString(data)
}
