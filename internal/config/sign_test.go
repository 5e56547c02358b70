package config

import (
	"strings"
	"testing"
)

func TestSign(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "",
		"sign: { key: cosign.key }\n":           "/etc/factory/cosign.key",
		"sign: { key: /run/keys/cosign.key }\n": "/run/keys/cosign.key",
		"sign: { key: env://COSIGN_PRIVATE_KEY }\n": "env://COSIGN_PRIVATE_KEY",
	} {
		c, err := Parse("/etc/factory/channels.yaml", []byte(text+"attest: true\nchannels: [ { name: a } ]\n"))
		if err != nil || c.Sign.Key != want || !c.Attest {
			t.Errorf("%s: Parse() = %+v, %v, want the key %q", text, c.Sign, err, want)
		}
	}
}

func TestSignErrors(t *testing.T) {
	for text, want := range map[string]string{
		"sign: {}":                            "missing: there is nothing to sign by",
		"sign: cosign.key":                    "want a mapping with key",
		"sign: { key: env://hunter2hunter2 }": "not a variable",
		"sign: { key: awskms:///alias/x }":    "a key of a service",
		"sign: { key: true }":                 "found the truth value true",
		"sign: { password: hunter2hunter2 }":  "a secret has no place in this file",
		"attest: maybe":                       "want true or false",
		"sign: { key: |\n  -----BEGIN PRIVATE KEY-----\n  aHVudGVyMg==\n }": "a private key",
	} {
		_, err := Parse("c.yaml", []byte(text+"\nchannels: [ { name: a } ]\n"))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
