package base_test

import (
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/containertest"
)

// testStore is about the store and what Nix knows of it.
func (in inside) testStore(t *testing.T) {
	key := in.fixture.PublicKey()
	signer, _, _ := strings.Cut(key, ":")
	checks := []check{
		{
			name:   "contents",
			script: `nix-store --verify --check-contents 2>&1; echo done`,
			want:   "reading the Nix store...\nchecking path existence...\nchecking link hashes...\nchecking store hashes...\ndone",
		},
		{
			name:   "every path is known",
			script: `ls -d /nix/store/*-* | sort > /tmp/there; nix path-info --all | sort > /tmp/known; comm -3 /tmp/there /tmp/known; test $(wc -l < /tmp/known) -gt 50`,
		},
		{
			name:   "signatures",
			script: `nix path-info --json --all | jq -r '[.[] | select(.ca | not) | .signatures // [] | map(split(":")[0]) | join(" ")] | unique | join(", ")'`,
			want:   signer,
		},
		{name: "content addresses", script: `nix path-info --json --all | jq -r '.[] | select(.ca) | (.path | .[44:]), .ca' | sort`,
			want: "fixed:r:sha256:" + in.sha256 + "\nfixed:r:sha256:" + in.sha256 + "\nnixpkgs-src\nsource"},
		{
			name:   "no deriver, which nobody signs",
			script: `nix path-info --json --all | jq '[.[] | select(.deriver)] | length'`,
			want:   "0",
		},
		{name: "trust", script: `nix store verify --all --option trusted-public-keys '` + key + `'`},
		{name: "trust in one key is no trust in another", code: 2,
			script: `nix store verify --all --no-contents --option trusted-public-keys '` + otherKey + `' > /tmp/said 2>&1 || code=$?
				untrusted=$(grep -c 'is untrusted' /tmp/said); signed=$(nix path-info --json --all | jq '[.[] | select(.ca | not)] | length')
				test $untrusted = $signed && exit $code`},
		{
			name:   "what the tools need is all there",
			script: `nix-store --query --requisites $(jq -r '.tools[].path' /nix/var/nix/factory/image.json) > /tmp/needed; test $(wc -l < /tmp/needed) -gt 50; while read -r p; do test -e $p || echo $p; done < /tmp/needed`,
		},
		{name: "roots", script: `
			paths=$(jq -r '.tools[].path, .sources[]' /nix/var/nix/factory/image.json; env | grep -o '/nix/store/[0-9a-z]*-[^/:]*')
			test $(echo "$paths" | sort -u | wc -l) = $(ls /nix/var/nix/gcroots/factory | wc -l)
			for p in $paths; do test "$(readlink /nix/var/nix/gcroots/factory/${p#/nix/store/})" = $p || echo "no root for $p"; done`},
		{name: "nothing is garbage", script: `nix-store --gc --print-dead`},
		{name: "garbage is collected, the base is not", script: `
			ls /nix/store | sort > /tmp/before
			echo garbage > /tmp/garbage; garbage=$(nix-store --add /tmp/garbage); test -e $garbage
			nix-collect-garbage -d 2>&1 | grep -o '[0-9]* store paths deleted'
			test ! -e $garbage; ls /nix/store | sort | comm -3 /tmp/before -`, want: "1 store paths deleted"},
		{name: "contents after that", script: `nix-store --verify --check-contents && jq -n 1`, want: "1"},
		{
			name:   "the source is there under both names",
			script: `cd /nix/store; for p in *-nixpkgs-src *-source; do nix-hash --type sha256 --base32 $p; done`,
			want:   in.sha256 + "\n" + in.sha256,
		},
	}
	runChecks(t, in.engine.Start(t, in.image, containertest.Options{}), containertest.Command{}, checks)
}

// testDamaged breaks the image in the ways that testStore is to find.
func (in inside) testDamaged(t *testing.T) {
	const verify = `nix-store --verify --check-contents 2>&1 | grep -E 'modified|disappeared|error' | cut -d, -f1 | sed -E 's/[0-9a-z]{32}-//'; `
	checks := []check{
		{name: "without roots everything but what runs is garbage",
			script: `mv /nix/var/nix/gcroots/factory /tmp/; test $(nix-store --gc --print-dead | wc -l) -gt 20; mv /tmp/factory /nix/var/nix/gcroots/; nix-store --gc --print-dead`},
		{name: "a path that is gone", script: `
			nix-store --delete --ignore-liveness $(readlink -f /nix/profile/bin/attic | cut -d/ -f1-4) > /dev/null 2>&1
			nix path-info --all | grep -c attic || true
			nix-store --check-validity $(readlink /nix/profile/bin/attic | cut -d/ -f1-4) 2>/dev/null || echo not valid`, want: "0\nnot valid"},
		{
			name:   "a changed file",
			script: `f=$(readlink -f /nix/profile/bin/curl); chmod u+w $f; echo >> $f; ` + verify + `nix-store --verify --check-contents 2>/dev/null || echo $?`,
			like:   `^path '/nix/store/curl-[0-9.]+' was modified! expected hash .*(\n.*)?\n1$`,
		},
		{name: "a database that is cut off", code: 1, script: `truncate -s 20000 /nix/var/nix/db/db.sqlite; nix-store --verify`},
	}
	runChecks(t, in.engine.Start(t, in.image, containertest.Options{}), containertest.Command{}, checks)
}
