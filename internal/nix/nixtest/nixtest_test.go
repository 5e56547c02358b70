package nixtest

import "testing"

func TestSecretKey(t *testing.T) {
	key := NewSecretKey("test-vec-1", [32]byte{1})
	again, err := ParseSecretKey(key.String())
	if err != nil || again.String() != key.String() || again.Public() != key.Public() {
		t.Errorf("ParseSecretKey does not read what String wrote: %v", err)
	}
	if _, err := ParseSecretKey(key.Public().String()); err == nil {
		t.Error("a public key is taken for a secret one")
	}
}
