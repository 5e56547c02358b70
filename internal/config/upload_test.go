package config

import (
	"strings"
	"testing"
)

func TestUploadErrors(t *testing.T) {
	const (
		one     = "{ attic: https://attic.example.org, cache: mycache }, { cachix: mycache } or { store: s3://bucket }"
		attic   = "the name of a cache at the Attic server: at most 50 of A-Z a-z 0-9 - _ +, beginning with a letter or digit"
		cachix  = "the name of a cache at Cachix: at most 63 of a-z 0-9 -, beginning with a letter or digit"
		store   = "the URL of a Nix store that begins with s3://, http://, https://, file://, ssh:// or ssh-ng://"
		address = "an address that begins with http:// or https://"
	)
	tests := []struct {
		name, data string
		want       []string
	}{
		{"a cache without a list", "upload: { cachix: x }" + valid, []string{
			`1:9: upload: found a mapping (want a list of binary caches to upload to, such as [ { cachix: mycache } ])`,
		}},
		{"no caches", "upload: []" + valid, []string{
			`1:9: upload: no binary caches (want a list of binary caches to upload to, such as [ { cachix: mycache } ])`,
		}},
		{"a text", "upload: [ mycache ]" + valid, []string{
			`1:11: upload[0]: found the text "mycache" (want ` + one + `)`,
		}},
		{"none in an item", "upload: [ {} ]" + valid, []string{
			`1:11: upload[0]: found 0 caches in one item (want ` + one + `)`,
		}},
		{"several in an item", "upload:\n- { attic: https://a.b, cache: x, cachix: x }\n- { cachix: x, store: s3://b }\n- { cache: x, store: s3://b }\n- { attic: https://a.b, cachix: x, store: s3://b }" + valid, []string{
			`2:3: upload[0]: found 2 caches in one item (want ` + one + `)`,
			`3:3: upload[1]: found 2 caches in one item (want ` + one + `)`,
			`4:3: upload[2]: found 2 caches in one item (want ` + one + `)`,
			`5:3: upload[3]: found 3 caches in one item (want ` + one + `)`,
		}},
		{"half of an Attic cache", "upload: [ { attic: https://a.b },\n  { cache: x } ]" + valid, []string{
			`1:11: upload[0].cache: missing (want ` + attic + `)`,
			`2:3: upload[1].attic: missing beside cache (want ` + address + `)`,
		}},
		{"unknown key", "upload: [ { cachixx: x } ]" + valid, []string{
			`1:11: upload[0]: found 0 caches in one item (want ` + one + `)`,
			`1:13: upload[0].cachixx: unknown key, did you mean cachix? (want attic, cache, cachix or store)`,
		}},
		{"bad Attic caches", "upload:\n- { attic: a.b, cache: x }\n- { attic: file:///a, cache: -x }\n- { attic: https://a.b, cache: " + strings.Repeat("x", 51) + " }" + valid, []string{
			`2:12: upload[0].attic: bad address: scheme "" (want ` + address + `)`,
			`3:12: upload[1].attic: bad address: scheme "file" (want ` + address + `)`,
			`3:30: upload[1].cache: bad name "-x" (want ` + attic + `)`,
			`4:32: upload[2].cache: bad name "` + strings.Repeat("x", 51) + `" (want ` + attic + `)`,
		}},
		{"bad names at Cachix", "upload:\n- cachix: My\n- cachix: ''\n- cachix: a.b\n- cachix: " + strings.Repeat("x", 64) + valid, []string{
			`2:11: upload[0].cachix: bad name "My" (want ` + cachix + `)`,
			`3:11: upload[1].cachix: empty (want ` + cachix + `)`,
			`4:11: upload[2].cachix: bad name "a.b" (want ` + cachix + `)`,
			`5:11: upload[3].cachix: bad name "` + strings.Repeat("x", 64) + `" (want ` + cachix + `)`,
		}},
		{"bad stores", "upload:\n- store: bucket\n- store: auto\n- store: gs://bucket\n- store: s3://?region=x\n- store: file://host/srv\n- store: file:srv\n- store: https://a.b/?x#y\n- store: s3://b?a=%zz\n- store: s3://b?a;b" + valid, []string{
			`2:10: upload[0].store: bad address: scheme "" (want ` + store + `)`,
			`3:10: upload[1].store: bad address: scheme "" (want ` + store + `)`,
			`4:10: upload[2].store: bad address: scheme "gs" (want ` + store + `)`,
			`5:10: upload[3].store: bad address: "s3://" has no host (want ` + store + `)`,
			`6:10: upload[4].store: bad address: "file://host/srv" is not file:// and an absolute path (want ` + store + `)`,
			`7:10: upload[5].store: bad address: "file:srv" is not file:// and an absolute path (want ` + store + `)`,
			`8:10: upload[6].store: bad address: has a # part, which is not used (want ` + store + `)`,
			`9:10: upload[7].store: bad address: what follows the ? is not name=value&name=value`,
			`10:10: upload[8].store: bad address: what follows the ? is not name=value&name=value`,
		}},
		{"keys that are no files", "upload:\n- store: s3://b?secret-key=cache.sec\n- store: s3://b?secret-key=\n- store: s3://b?secret-keys=/run/a,b" + valid, []string{
			`2:10: upload[0].store: bad parameter "secret-key": not the absolute path of a file that holds the key`,
			`3:10: upload[1].store: bad parameter "secret-key": not the absolute path of a file that holds the key`,
			`4:10: upload[2].store: bad parameter "secret-keys": not the absolute path of a file that holds the key`,
		}},
		{"cache twice", "upload:\n- { attic: https://a.b, cache: x }\n- { cachix: x }\n- { store: s3://x }\n- { attic: https://a.b/, cache: x }\n- { cachix: x }\n- { store: s3://x }\n- { attic: https://a.b, cache: y }" + valid, []string{
			`5:33: upload[3].cache: duplicate binary cache "x", first on line 2`,
			`6:13: upload[4].cachix: duplicate binary cache "x", first on line 3`,
			`7:12: upload[5].store: duplicate binary cache "s3://x", first on line 4`,
		}},
		{"bad cache twice", "upload:\n- { attic: a.b, cache: x }\n- { attic: a.b, cache: x }" + valid, []string{
			`2:12: upload[0].attic: bad address: scheme "" (want ` + address + `)`,
			`3:12: upload[1].attic: bad address: scheme "" (want ` + address + `)`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkErrors(t, tt.data, tt.want)
		})
	}
}
