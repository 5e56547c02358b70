package base_test

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/containertest"
)

// testInstall exports and installs in a container that has the stand-in's binary
// cache. First nothing is installed.
func (in inside) testInstall(t *testing.T) {
	c := in.engine.Start(t, in.image, in.online())
	// what is exported, and what Nix says it needs
	const differ = `nix-store -qR $path | cut -d/ -f4 | sort | comm -3 - /tmp/exported`
	runChecks(t, c, containertest.Command{}, []check{
		{name: "nothing is installed", script: `nix-env -q; nix profile list`},
		{name: "a cache with a key that is not trusted", script: `
			nix-env -iA nixpkgs.hello --option trusted-public-keys ` + otherKey + ` 2> /tmp/said || echo $?
			grep -o 'is not signed by any of the keys' /tmp/said; test ! -e /root/.nix-profile`, want: "100\nis not signed by any of the keys"},
		{name: "export of the result of a build", script: `
			cd /tmp; nix build nixpkgs#motd; export-profile /tmp/result-root ./result
			path=$(readlink result); ls /tmp/result-root/nix/store > /tmp/exported; ` + differ + `
			chroot /tmp/result-root /nix/profile/bin/motd`, want: "built where it is wanted"},
		{name: "export of a store path", script: `
			path=$(nix-build --no-out-link '<nixpkgs>' -A jq); export-profile /tmp/path-root $path
			ls /tmp/path-root/nix/store > /tmp/exported; ` + differ + `
			echo '{"a":1}' | chroot /tmp/path-root /nix/profile/bin/jq .a; ls -d /tmp/path-root/nix/store/*-nix-* 2>/dev/null || echo nothing else`, want: "1\nnothing else"},
		{name: "export of another profile", script: `
			nix profile install --profile /tmp/profile nixpkgs#zstd; export-profile --profile /tmp/profile /tmp/profile-root
			echo packed | chroot /tmp/profile-root /nix/profile/bin/zstd | zstdcat; test -e /root/.nix-profile || echo nothing is installed`, want: "packed\nnothing is installed"},
		{name: "export with a shell, env and certificates", script: `
			nix-build --no-out-link -E 'with import <nixpkgs> { }; buildEnv { name = "e"; paths = [ bashInteractive coreutils cacert hello ]; }' > /tmp/e
			export-profile /tmp/shell-root $(cat /tmp/e)
			printf '#!/usr/bin/env sh\nhello\ntest -s /etc/ssl/certs/ca-bundle.crt && echo certificates\n' > /tmp/shell-root/script; chmod +x /tmp/shell-root/script
			PATH=/nix/profile/bin /nix/profile/bin/chroot /tmp/shell-root /script; ls /tmp/shell-root`, want: "Hello, world!\ncertificates\nbin\netc\nnix\nrun\nscript\nusr"},
		{name: "shells", script: `
			nix-shell -p hello --run 'echo $BASH'
			nix shell nixpkgs#hello -c hello
			nix run nixpkgs#hello; command -v hello || echo not installed`, want: "/nix/profile/bin/bash\nHello, world!\nHello, world!\nnot installed"},
	})
	runChecks(t, c, containertest.Command{}, []check{
		{name: "install by attribute", script: `nix-env -iA nixpkgs.hello; hello`, want: "Hello, world!"},
		{name: "the profile has that alone", script: `ls /root/.nix-profile/bin; nix-env -q`, like: `^hello\nhello-[0-9.]+$`},
	})
	// A command of its own, as the next RUN is.
	runChecks(t, c, containertest.Command{}, []check{
		{
			name:   "the base is there",
			script: `for p in nix-store nix git curl jq cachix attic export-profile bash ssh; do command -v $p; done | sort | uniq -c | wc -l; command -v nix-store hello`,
			want:   "10\n/nix/profile/bin/nix-store\n/root/.nix-profile/bin/hello",
		},
		{
			name:   "install by name",
			script: `nix-env -i less; command -v less hello`,
			want:   "/root/.nix-profile/bin/less\n/root/.nix-profile/bin/hello",
		},
		{name: "removal", script: `nix-env -e less; command -v less hello`, want: "/nix/profile/bin/less\n/root/.nix-profile/bin/hello"},
		{name: "channels can be replaced", script: `HOME=/nowhere nix-env -qaP hello | wc -l; nix-channel --update 2>/dev/null
			readlink /nix/var/nix/profiles/per-user/root/channels; nix-env -qaP hello 2>&1 | wc -l`, want: "1\nchannels-1-link\n1"},
		{
			name:   "garbage collection keeps both",
			script: `nix-collect-garbage -d > /dev/null 2>&1; hello; git --version | cut -d' ' -f1; nix-store --verify --check-contents && echo whole`,
			want:   "Hello, world!\ngit\nwhole",
		},
	})
	if !in.served(in.upstream.Cache() + "/nar/") {
		t.Error("the binary cache was not used")
	}
}

// otherKey is a key that has signed nothing here.
const otherKey = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="

// served tells whether the stand-in has answered a request for what begins with the URL.
func (in inside) served(url string) bool {
	for _, r := range in.upstream.Requests() {
		if r.Status == http.StatusOK && strings.HasPrefix(in.upstream.URL()+r.Path, url) {
			return true
		}
	}
	return false
}

// testCertificates talks to a server whose certificate nobody has signed. That
// it is refused shows that the image's certificates are read.
func (in inside) testCertificates(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("secret")) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // every refusal is an error to the server
	server.StartTLS()
	t.Cleanup(server.Close)
	dir := t.TempDir()
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "mine.pem"), own, 0o644); err != nil {
		t.Fatal(err)
	}
	c := in.engine.Start(t, in.image, containertest.Options{
		HostNetwork: true,
		Mounts:      []containertest.Mount{{Source: dir, Target: "/certificates", ReadOnly: true}},
	})
	const unknownIssuer, noCertificates = "60", "77"
	prefetch := `nix-prefetch-url --option download-attempts 1 ` + server.URL + `/`
	runChecks(t, c, containertest.Command{}, []check{
		{name: "curl", script: `curl -s ` + server.URL + ` || echo $?`, want: unknownIssuer},
		{name: "curl without certificates", script: `SSL_CERT_FILE=/nowhere curl -s ` + server.URL + ` || echo $?`, want: noCertificates},
		{name: "Nix", script: prefetch + `x 2>&1 | grep -o 'SSL peer certificate\|self.signed certificate'`, like: `certificate`},
		{
			name:   "git",
			script: `git ls-remote ` + server.URL + `/r 2>&1 | grep -oi 'certificate verification failed\|certificate problem'`,
			like:   `certificate`,
		},
		{name: "one more certificate", script: `
			cat /etc/ssl/certs/ca-bundle.crt /certificates/mine.pem > /etc/ssl/mine.crt
			export NIX_SSL_CERT_FILE=/etc/ssl/mine.crt SSL_CERT_FILE=/etc/ssl/mine.crt
			curl -s ` + server.URL + `; echo; ` + prefetch + `y 2>/dev/null`, like: `^secret\n[0-9a-z]{52}$`},
	})
}
