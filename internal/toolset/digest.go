package toolset

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// Digest returns "sha256:" and 64 hex digits over all that decides what is in an
// image: not how the tools would be built, and not which ones were asked for.
func (t Toolset) Digest() string {
	t.Wanted = nil
	t.Tools = slices.Clone(t.Tools)
	for i := range t.Tools {
		t.Tools[i].DrvPath, t.Tools[i].Output = "", ""
	}
	text, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings, and lists and sets of them
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}
