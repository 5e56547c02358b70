package nix

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// Hash is a SHA-256 digest. A value of sha256.Sum256 converts to it.
// The zero value stands for "unknown", as in Nix's own database.
type Hash [32]byte

// digestSizes lists the hash algorithms of Nix with the length of their digests in bytes.
var digestSizes = map[string]int{"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}

// ParseHash reads a SHA-256 digest in any way Nix writes one:
// "sha256:" and base 16, Nix base 32 or padded base 64; the same without the prefix;
// or SRI, "sha256-" and padded base 64.
func ParseHash(s string) (Hash, error) {
	var h Hash
	algo := "sha256"
	var digest []byte
	var err error
	if strings.ContainsAny(s, ":-") {
		algo, digest, err = parseTypedHash(s)
	} else {
		digest, err = parseDigest(s, len(h))
	}
	if err != nil {
		return h, fmt.Errorf("hash %q: %w", s, err)
	}
	if algo != "sha256" {
		return h, fmt.Errorf("hash %q: algorithm is %s (want sha256)", s, algo)
	}
	copy(h[:], digest)
	return h, nil
}

// parseTypedHash reads a hash of any algorithm that names its algorithm.
func parseTypedHash(s string) (algo string, digest []byte, err error) {
	algo, text, prefixed := strings.Cut(s, ":")
	sri := false
	if !prefixed {
		algo, text, sri = strings.Cut(s, "-")
	}
	size, known := digestSizes[algo]
	if !known || !prefixed && !sri {
		return "", nil, fmt.Errorf("no known algorithm in front (want md5, sha1, sha256 or sha512)")
	}
	if sri && len(text) != base64.StdEncoding.EncodedLen(size) {
		return "", nil, fmt.Errorf("not %d bytes of base64", size)
	}
	digest, err = parseDigest(text, size)
	return algo, digest, err
}

// parseDigest reads size bytes in one of three encodings, told apart by length.
func parseDigest(s string, size int) ([]byte, error) {
	switch len(s) {
	case hex.EncodedLen(size):
		digest, err := hex.DecodeString(s)
		if err != nil {
			return nil, fmt.Errorf("not base16")
		}
		return digest, nil
	case base32Len(size):
		return DecodeBase32(s)
	case base64.StdEncoding.EncodedLen(size):
		return parseBase64(s, size)
	}
	return nil, fmt.Errorf("%d characters are not a digest of %d bytes", len(s), size)
}

// parseBase64 reads exactly size bytes of padded base 64.
// The length is checked first because encoding/base64 skips over line ends.
func parseBase64(s string, size int) ([]byte, error) {
	if len(s) != base64.StdEncoding.EncodedLen(size) {
		return nil, fmt.Errorf("not %d bytes of base64", size)
	}
	data, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(data) != size {
		return nil, fmt.Errorf("not %d bytes of base64", size)
	}
	return data, nil
}

// String returns "sha256:" and the digest in Nix base 32, the form of narinfo files.
func (h Hash) String() string { return "sha256:" + h.Base32() }

// Base16 returns the digest as 64 lower-case hexadecimal digits.
func (h Hash) Base16() string { return hex.EncodeToString(h[:]) }

// Base32 returns the digest as 52 characters of Nix base 32, the form that fetchTarball takes.
func (h Hash) Base32() string { return EncodeBase32(h[:]) }

// SRI returns the digest as a W3C subresource integrity string, the form of flake locks.
func (h Hash) SRI() string { return "sha256-" + base64.StdEncoding.EncodeToString(h[:]) }

// IsZero reports whether no digest is known.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText returns the SRI form.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.SRI()), nil }

// UnmarshalText accepts what ParseHash accepts.
func (h *Hash) UnmarshalText(text []byte) (err error) {
	*h, err = ParseHash(string(text))
	return err
}
