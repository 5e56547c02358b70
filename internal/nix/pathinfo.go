package nix

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// PathInfo is what a Nix database knows of a store object.
type PathInfo struct {
	Path       StorePath
	NarHash    Hash
	NarSize    int64       // bytes of the NAR
	References []StorePath // sorted, unique; may hold Path itself
	Deriver    StorePath   // the derivation that built it; zero if unknown. Not covered by signatures.
	Sigs       []Signature
	CA         string // content address; "" for none. Not covered by signatures.
	Ultimate   bool   // built here, hence trusted without a signature
}

// Fingerprint returns the message that signatures sign:
// "1;PATH;sha256:BASE32;SIZE;REFERENCE,REFERENCE…" with full paths in bytewise order.
func (p PathInfo) Fingerprint() []byte {
	var b bytes.Buffer
	b.WriteString("1;" + p.Path.String() + ";" + p.NarHash.String() + ";")
	b.WriteString(strconv.FormatInt(p.NarSize, 10))
	b.WriteByte(';')
	for i, ref := range sortedPaths(p.References) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(ref.String())
	}
	return b.Bytes()
}

// Trusted returns nil when one of the keys vouches for the object,
// or when the object vouches for itself: its content address is the hash of its NAR,
// and Path follows from that.
// A content address that contradicts Path or NarHash is an error even beside a good signature,
// since no version of Nix registers such an object.
//
// The caller still has to compare the object's bytes with NarHash and NarSize.
func (p PathInfo) Trusted(keys []PublicKey) error {
	if self, err := p.selfEvident(); err != nil || self {
		return err
	}
	return p.Signed(keys)
}

// Signed is Trusted where an object does not vouch for itself: anybody can make one that
// does. One that is named by its content needs a signature like any other.
func (p PathInfo) Signed(keys []PublicKey) error {
	if _, err := p.selfEvident(); err != nil {
		return err
	}
	message := p.Fingerprint()
	for _, sig := range p.Sigs {
		for _, key := range keys {
			if key.verifies(message, sig) {
				return nil
			}
		}
	}
	return p.untrusted(keys)
}

// selfEvident reports whether path and NAR hash follow from each other by the content address.
// That is not so for files hashed without their NAR, for hashes other than SHA-256,
// and for objects that contain their own path; those need a signature.
func (p PathInfo) selfEvident() (bool, error) {
	if p.CA == "" {
		return false, nil
	}
	ca, err := ParseContentAddress(p.CA)
	if err != nil {
		return false, err
	}
	refersToItself := slices.Contains(p.References, p.Path)
	others := slices.DeleteFunc(slices.Clone(p.References), func(ref StorePath) bool { return ref == p.Path })
	path, err := fixedPath(p.Path.Name(), ca, others, refersToItself)
	if err != nil {
		return false, err
	}
	if path != p.Path {
		return false, fmt.Errorf("content address %q belongs to %s", p.CA, path)
	}
	if !ca.Recursive || ca.Algo != "sha256" || refersToItself {
		return false, nil
	}
	if Hash(ca.Digest) != p.NarHash {
		return false, fmt.Errorf("content address %q is not the NAR hash %s", p.CA, p.NarHash)
	}
	return true, nil
}

func (p PathInfo) untrusted(keys []PublicKey) error {
	if len(p.Sigs) == 0 {
		return errors.New("not signed")
	}
	var signers []string
	for _, sig := range p.Sigs {
		signer := strconv.Quote(sig.Name)
		if slices.ContainsFunc(keys, func(k PublicKey) bool { return k.name == sig.Name }) {
			signer += " (signature does not match)"
		}
		signers = append(signers, signer)
	}
	var trusted []string
	for _, key := range keys {
		trusted = append(trusted, strconv.Quote(key.name))
	}
	if len(trusted) == 0 {
		trusted = []string{"no key at all"}
	}
	return fmt.Errorf("no trusted signature: signed by %s; trusted: %s",
		strings.Join(signers, ", "), strings.Join(trusted, ", "))
}

// Verified returns those of the signatures that a key of keys has made.
func (p PathInfo) Verified(keys []PublicKey) []Signature {
	message := p.Fingerprint()
	var good []Signature
	for _, sig := range p.Sigs {
		for _, k := range keys {
			if k.verifies(message, sig) {
				good = append(good, sig)
				break
			}
		}
	}
	return good
}
