package nix

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// ContentAddress says how the path of a store object follows from its content.
type ContentAddress struct {
	Text      bool   // hashed as the bytes of a file that may have references; always sha256
	Recursive bool   // hashed as a NAR; otherwise as the bytes of the only file
	Algo      string // md5, sha1, sha256 or sha512
	Digest    []byte
}

// ParseContentAddress reads "text:sha256:HASH", "fixed:ALGO:HASH" or "fixed:r:ALGO:HASH",
// with HASH in any of Nix's encodings.
// The experimental method "git" is refused: no released Nix trusts it by default.
func ParseContentAddress(s string) (ContentAddress, error) {
	var ca ContentAddress
	kind, hash, _ := strings.Cut(s, ":")
	switch kind {
	case "text":
		ca.Text = true
	case "fixed":
		hash, ca.Recursive = strings.CutPrefix(hash, "r:")
	default:
		return ContentAddress{}, fmt.Errorf("content address %q: unknown kind %q (want text or fixed)", s, kind)
	}
	if !strings.Contains(hash, ":") {
		return ContentAddress{}, fmt.Errorf("content address %q: no algorithm and hash", s)
	}
	var err error
	if ca.Algo, ca.Digest, err = parseTypedHash(hash); err != nil {
		return ContentAddress{}, fmt.Errorf("content address %q: %w", s, err)
	}
	if ca.Text && ca.Algo != "sha256" {
		return ContentAddress{}, fmt.Errorf("content address %q: a text is hashed with sha256, not %s", s, ca.Algo)
	}
	return ca, nil
}

// String returns the form of narinfo files and of the database, with the hash in base 32.
func (ca ContentAddress) String() string {
	kind := "fixed:"
	switch {
	case ca.Text:
		kind = "text:"
	case ca.Recursive:
		kind = "fixed:r:"
	}
	return kind + ca.Algo + ":" + EncodeBase32(ca.Digest)
}

// SourcePath returns where Nix puts a tree of which the NAR is known:
// the result of fetchTarball, of a path literal, of nix-store --add.
func SourcePath(name string, nar Hash, refs []StorePath) (StorePath, error) {
	return makePath("source"+refList(refs), nar, name)
}

// TextPath returns where Nix puts a file written by builtins.toFile, or a derivation.
// The hash is that of the file's bytes.
func TextPath(name string, content Hash, refs []StorePath) (StorePath, error) {
	return makePath("text"+refList(refs), content, name)
}

// FixedPath returns where Nix puts an object with the given content address.
// References are possible only for texts and for NARs hashed with sha256.
func FixedPath(name string, ca ContentAddress, refs []StorePath) (StorePath, error) {
	return fixedPath(name, ca, refs, false)
}

// fixedPath computes the path of an object that refers to refs, and to itself if self is set;
// the digest of a self-reference is then that of the content with its own path blanked out.
func fixedPath(name string, ca ContentAddress, refs []StorePath, self bool) (StorePath, error) {
	if size, known := digestSizes[ca.Algo]; !known || size != len(ca.Digest) {
		return StorePath{}, fmt.Errorf("content address: %d bytes are no digest of algorithm %q", len(ca.Digest), ca.Algo)
	}
	sha256Digest := ca.Algo == "sha256"
	switch {
	case ca.Text && (self || !sha256Digest):
		return StorePath{}, fmt.Errorf("content address %q: not possible for a text", ca)
	case ca.Text:
		return TextPath(name, Hash(ca.Digest), refs)
	case ca.Recursive && sha256Digest && self:
		return makePath("source"+refList(refs)+":self", Hash(ca.Digest), name)
	case ca.Recursive && sha256Digest:
		return SourcePath(name, Hash(ca.Digest), refs)
	case self || len(refs) > 0:
		return StorePath{}, fmt.Errorf("content address %q: references are not possible", ca)
	}
	method := ""
	if ca.Recursive {
		method = "r:"
	}
	inner := sha256.Sum256([]byte("fixed:out:" + method + ca.Algo + ":" + hex.EncodeToString(ca.Digest) + ":"))
	return makePath("output:out", inner, name)
}

func refList(refs []StorePath) string {
	var b strings.Builder
	for _, ref := range sortedPaths(refs) {
		b.WriteByte(':')
		b.WriteString(ref.String())
	}
	return b.String()
}

// makePath computes the digest of a store path: SHA-256 of its description, folded to 160 bits.
func makePath(kind string, inner Hash, name string) (StorePath, error) {
	if err := checkName(name); err != nil {
		return StorePath{}, err
	}
	sum := sha256.Sum256([]byte(kind + ":sha256:" + inner.Base16() + ":" + StoreDir + ":" + name))
	var folded [20]byte
	for i, b := range sum {
		folded[i%len(folded)] ^= b
	}
	return StorePath{StoreDir + "/" + EncodeBase32(folded[:]) + "-" + name}, nil
}
