package nix

import "testing"

func TestParseCacheInfo(t *testing.T) {
	tests := []struct {
		name, text string
		want       CacheInfo
	}{
		{"cache.nixos.org", "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n", CacheInfo{"/nix/store", true, 40}},
		{"written by nix copy", "StoreDir: /nix/store\n", CacheInfo{StoreDir: "/nix/store"}},
		{"nothing", "", CacheInfo{}},
		{"loose spaces, CRLF, no end", " StoreDir :/nix/store \r\nPriority:-3", CacheInfo{StoreDir: "/nix/store", Priority: -3}},
		{"no mass queries", "WantMassQuery: 0\n", CacheInfo{}},
		{"unknown keys and lines", "hello\nColor: blue\n\nPriority: 5\n", CacheInfo{Priority: 5}},
		{"another store", "StoreDir: /gnu/store\n", CacheInfo{StoreDir: "/gnu/store"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseCacheInfo([]byte(test.text))
			if err != nil || got != test.want {
				t.Errorf("ParseCacheInfo(%q) = %+v, %v, want %+v", test.text, got, err, test.want)
			}
		})
	}
}

func TestParseCacheInfoError(t *testing.T) {
	_, err := ParseCacheInfo([]byte("StoreDir: /nix/store\nPriority: high\n"))
	if want := `nix-cache-info: line 2: Priority: "high" is not a number`; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}
