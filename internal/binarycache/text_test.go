package binarycache

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
)

// Whatever a cache writes into its files, an error repeats little of it.
func TestTextOfOthersIsShort(t *testing.T) {
	p := parsePath(t, strings.Repeat("0", 32)+"-x")
	loud := "\x1b[31m\x07" + strings.Repeat("x", 100_000)
	line := "StorePath: " + p.String() + "\n"
	for name, files := range map[string]map[string]string{
		"path":       {p.Digest() + ".narinfo": "StorePath: " + loud + "\n"},
		"no field":   {p.Digest() + ".narinfo": loud + "\n"},
		"hash":       {p.Digest() + ".narinfo": line + "URL: nar/x\nCompression: xz\nNarHash: " + loud + "\nNarSize: 1\n"},
		"URL":        {p.Digest() + ".narinfo": line + "URL: " + loud + "\n"},
		"references": {p.Digest() + ".narinfo": line + "URL: nar/x\nReferences: " + loud + "\n"},
		"signature":  {p.Digest() + ".narinfo": line + "URL: nar/x\nSig: " + loud + "\n"},
		"store":      {"nix-cache-info": "StoreDir: /" + loud + "\n"},
		"priority":   {"nix-cache-info": "StoreDir: /nix/store\nPriority: " + loud + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ask(serve(t, files).trusting()).Info(t.Context(), p)
			text := fmt.Sprint(err)
			if err == nil || errors.Is(err, ErrNotFound) || len(text) > 600 || strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("%d bytes: %q", len(text), text[:min(len(text), 1000)])
			}
		})
	}
}
