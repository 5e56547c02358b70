package nix

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVerified(t *testing.T) {
	path, err := ParseStorePathBase("00000000000000000000000000000000-x")
	if err != nil {
		t.Fatal(err)
	}
	info := PathInfo{Path: path, NarHash: Hash{1}, NarSize: 1}
	known, unknown, namesake := newSecret("known-1", [32]byte{1}), newSecret("unknown-1", [32]byte{2}), newSecret("known-1", [32]byte{3})
	good := known.Sign(info)
	info.Sigs = []Signature{unknown.Sign(info), namesake.Sign(info), good}
	if diff := cmp.Diff([]Signature{good}, info.Verified([]PublicKey{known.Public()})); diff != "" {
		t.Errorf("Verified (-want +got):\n%s", diff)
	}
	if got := info.Verified(nil); got != nil {
		t.Errorf("Verified without keys = %v", got)
	}
}
