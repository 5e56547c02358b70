package main

import (
	"fmt"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/sign"
	"github.com/nixpkgs-factory/factory/internal/smallfile"
)

// maxKeyFile bounds the file of a private key, which has a few hundred bytes.
const maxKeyFile = 64 << 10

// signer returns how the key is read that images are signed by, nil if they are not.
// It is read when something is signed: to plan takes no key.
func (a *app) signer(c config.Config) func() (*sign.Key, error) {
	at := c.Sign.Key
	if at == "" {
		return nil
	}
	if name, ok := strings.CutPrefix(at, config.FromEnvironment); ok {
		forget(name)
	}
	return func() (*sign.Key, error) {
		text, err := a.keyText(at)
		if err != nil {
			return nil, err
		}
		key, err := sign.ParseKey(text, []byte(a.env("COSIGN_PASSWORD")))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		return key, nil
	}
}

func (a *app) keyText(at string) ([]byte, error) {
	name, ok := strings.CutPrefix(at, config.FromEnvironment)
	if !ok {
		return smallfile.Read(at, maxKeyFile)
	}
	text := a.env(name)
	if text == "" {
		return nil, fmt.Errorf("%s is not set: it is to hold the private key that images are signed by", name)
	}
	return []byte(text), nil
}
