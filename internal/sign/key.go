// Package sign signs images as cosign does, by a key, and reads such signatures.
//
// A signature is of a small text that names the image's digest
// (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md). Signatures
// of an image are the layers of another one, under a tag that is made of the
// digest: cosign verify --key, policy controllers and containers/image read them.
// One key gives one signature of a digest, however often it is asked.
package sign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/nacl/secretbox"
	"golang.org/x/crypto/scrypt"
)

// Key signs: an ECDSA key of the curve P-256, which is what cosign makes.
type Key struct{ private *ecdsa.PrivateKey }

// ErrPassword says that a password does not open a key.
var ErrPassword = errors.New("the password does not open the key: set the one that cosign generate-key-pair was given as COSIGN_PASSWORD")

// maxKey bounds the text of a key.
const maxKey = 64 << 10

// ParseKey reads a private key in PEM: one of cosign's, which the password opens, or
// one that is not encrypted. Nothing of the key is in an error.
func ParseKey(text, password []byte) (*Key, error) {
	if len(text) > maxKey {
		return nil, fmt.Errorf("not a key: longer than %d bytes", maxKey)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("not a private key in PEM, such as cosign generate-key-pair makes")
	}
	der := block.Bytes
	switch block.Type {
	case "ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY":
		var err error
		if der, err = open(der, password); err != nil {
			return nil, err
		}
		return fromPKCS8(der)
	case "PRIVATE KEY":
		return fromPKCS8(der)
	case "EC PRIVATE KEY":
		key, err := x509.ParseECPrivateKey(der)
		if err != nil {
			return nil, errors.New("the EC private key cannot be read")
		}
		return p256(key)
	case "PUBLIC KEY":
		return nil, errors.New("it is a public key: signing takes the private one, cosign.key")
	}
	return nil, errors.New("it is no private key of cosign's, and none in PKCS #8")
}

func fromPKCS8(der []byte) (*Key, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("the private key is not in PKCS #8")
	}
	return p256(key)
}

func p256(key any) (*Key, error) {
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return nil, errors.New("want an ECDSA key of the curve P-256, such as cosign generate-key-pair makes")
	}
	return &Key{private}, nil
}

// sealed is a key as cosign encrypts it
// (https://pkg.go.dev/github.com/secure-systems-lab/go-securesystemslib/encrypted).
type sealed struct {
	KDF struct {
		Name   string `json:"name"`
		Params params `json:"params"`
		Salt   []byte `json:"salt"`
	} `json:"kdf"`
	Cipher struct {
		Name  string `json:"name"`
		Nonce []byte `json:"nonce"`
	} `json:"cipher"`
	Text []byte `json:"ciphertext"`
}

type params struct{ N, R, P int }

// strengths are the ones that there are. Others would have the key decide how much
// memory it takes to read it.
var strengths = map[params]bool{{1 << 15, 8, 1}: true, {1 << 16, 8, 1}: true, {1 << 17, 8, 1}: true}

func open(text, password []byte) ([]byte, error) {
	var s sealed
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, errors.New("the encrypted key is not JSON")
	}
	if s.KDF.Name != "scrypt" || s.Cipher.Name != "nacl/secretbox" || !strengths[s.KDF.Params] || len(s.Cipher.Nonce) != 24 {
		return nil, errors.New("the key is encrypted in a way that cosign does not use")
	}
	derived, err := scrypt.Key(password, s.KDF.Salt, s.KDF.Params.N, s.KDF.Params.R, s.KDF.Params.P, 32)
	if err != nil {
		return nil, err
	}
	der, ok := secretbox.Open(nil, s.Text, (*[24]byte)(s.Cipher.Nonce), (*[32]byte)(derived))
	if !ok {
		return nil, ErrPassword
	}
	return der, nil
}

// sign signs a text. There is no chance in it (RFC 6979).
func (k *Key) sign(text []byte) ([]byte, error) {
	sum := sha256.Sum256(text)
	return k.private.Sign(nil, sum[:], crypto.SHA256)
}

// Public is the key that verifies what k signs.
func (k *Key) Public() PublicKey { return PublicKey{&k.private.PublicKey} }

// PublicKey verifies.
type PublicKey struct{ key *ecdsa.PublicKey }

// ParsePublicKey reads a public key in PEM, such as cosign.pub.
func ParsePublicKey(text []byte) (PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return PublicKey{}, errors.New("not a public key in PEM, such as cosign.pub")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return PublicKey{}, fmt.Errorf("the public key cannot be read: %w", err)
	}
	public, ok := key.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return PublicKey{}, errors.New("want an ECDSA key of the curve P-256")
	}
	return PublicKey{public}, nil
}

// PEM is the key as cosign.pub has it.
func (k PublicKey) PEM() []byte {
	der, err := x509.MarshalPKIXPublicKey(k.key)
	if err != nil {
		panic(err) // of a curve that is known
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func (k PublicKey) verifies(text, signature []byte) bool {
	sum := sha256.Sum256(text)
	return ecdsa.VerifyASN1(k.key, sum[:], signature)
}
