package main

import (
	"context"
	"errors"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/upload"
)

// examineSigning finds out whether the key can be read that images are signed by.
func (a *app) examineSigning(c config.Config) []finding {
	read := a.signer(c)
	if read == nil && c.Attest {
		return []finding{{Check: "signing", OK: true, Detail: "SBOM and provenance go beside images, and are not signed"}}
	}
	if read == nil {
		return nil
	}
	_, err := read()
	return []finding{judge("signing", "the key of "+c.Sign.Key+" can be read", err, "sign: in the configuration names a file with a private key, or a variable: docs/supply-chain.md")}
}

// examineUploads finds out whether binary caches can be filled.
func (a *app) examineUploads(ctx context.Context, c config.Config) []finding {
	var findings []finding
	for _, target := range a.uploads(c) {
		prober, ok := target.(upload.Prober)
		if !ok {
			continue
		}
		check := "upload to " + target.Name()
		found, err := prober.Probe(ctx)
		var passed *upload.NotPushed
		if errors.As(err, &passed) {
			findings = append(findings, finding{Check: check, OK: true, Detail: passed.Error(),
				Advice: "nothing has to be done, unless it is to be filled: the operator's guide says what that takes"})
			continue
		}
		findings = append(findings, judge(check, found, err, "upload: in the configuration; a token that may push to this cache; images are published all the same"))
	}
	return findings
}
