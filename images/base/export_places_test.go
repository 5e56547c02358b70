package base_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The profile is found where this or another version of Nix has put it. Each
// case leaves hello in the right place and, where that could be mistaken for it,
// tools in another.
func TestExportFindsProfile(t *testing.T) {
	const (
		perUser = `mkdir -p /nix/var/nix/profiles/per-user/root
			nix-env -p /nix/var/nix/profiles/per-user/root/profile -i ./hello`
		foreign = `mkdir -p /github/home; chown 1001:1001 /github/home`
		// what "nix config show" says since 2.20, and "nix show-config" before
		newXDG = `printf '#!/bin/sh\n[ "$*" = "--extra-experimental-features nix-command config show use-xdg-base-directories" ] && echo true\n' > /nix/profile/bin/nix
			chmod +x /nix/profile/bin/nix`
		oldXDG = `printf '#!/bin/sh\n[ "$3" = show-config ] && printf "use-sqlite-wal = true\nuse-xdg-base-directories = true\n"\n' > /nix/profile/bin/nix
			chmod +x /nix/profile/bin/nix`
		twoLinks = `mkdir -p ~/.local/state/nix
			nix-env -p /proj/xdg -i ./hello; ln -s /proj/xdg ~/.local/state/nix/profile
			nix-env -p /proj/home -i ./tools; ln -s /proj/home ~/.nix-profile`
	)
	tests := []struct {
		name, script string
		env          string
		uid          string
	}{
		{name: "this Nix, the first time", script: `nix-env -i ./hello`},
		{name: "the link that the image ships", script: `ln -s /nix/var/nix/profiles/default ~/.nix-profile; nix-env -i ./hello`},
		{name: "after several generations", script: `nix-env -i ./tools; nix-env -i ./hello; nix-env -e tools`},
		{name: "after a rollback", script: `nix-env -i ./hello; nix-env -i ./tools; nix-env --rollback`},
		{name: "nix profile", script: `nix profile install $(readlink hello)`},
		{name: "a link to a profile elsewhere", script: `ln -s /proj/p ~/.nix-profile; nix-env -i ./hello; [ -L /proj/p-1-link ]`},
		{name: "NIX_PROFILE", script: `nix-env -p /proj/other -i ./tools; ln -s /proj/other ~/.nix-profile; nix-env -i ./hello; [ -L /proj/p-1-link ]`, env: "NIX_PROFILE=/proj/p"},
		{name: "no HOME", script: `unset HOME; nix-env -i ./hello`, env: "HOME="},
		{name: "HOME is not there", script: `nix-env -i ./hello`, env: "HOME=/nowhere"},

		{name: "Nix 2.3, which makes no link", script: `nix-env -p /nix/var/nix/profiles/default -i ./hello`},
		{name: "Nix 2.15, by its link", script: perUser + `; ln -s /nix/var/nix/profiles/per-user/root/profile ~/.nix-profile`},
		{name: "Nix 2.15, link dangling, default elsewhere", script: perUser + `; ln -s /nowhere ~/.nix-profile`},
		{name: "Nix 2.15, by default", script: perUser + `; ln -s per-user/root/profile /nix/var/nix/profiles/default; ln -s /nix/var/nix/profiles/default ~/.nix-profile`},

		{name: "XDG", script: `mkdir -p ~/.local/state/nix; nix-env -p p -i ./hello; ln -s /proj/p ~/.local/state/nix/profile`},
		{name: "XDG beside the dangling link of the image", script: `mkdir -p ~/.local/state/nix; ln -s /nix/var/nix/profiles/default ~/.nix-profile
			nix-env -p p -i ./hello; ln -s /proj/p ~/.local/state/nix/profile`},
		{name: "XDG_STATE_HOME", script: `mkdir -p /state/nix; nix-env -p p -i ./hello; ln -s /proj/p /state/nix/profile`, env: "XDG_STATE_HOME=/state"},
		{name: "NIX_STATE_HOME", script: `mkdir -p /state; nix-env -p p -i ./hello; ln -s /proj/p /state/profile`, env: "NIX_STATE_HOME=/state"},
		{name: "use-xdg-base-directories", script: twoLinks + "\n" + newXDG},
		{name: "use-xdg-base-directories before 2.20", script: twoLinks + "\n" + oldXDG},
		{name: "not use-xdg-base-directories", script: strings.NewReplacer("./hello", "./tools", "./tools", "./hello").Replace(twoLinks)},

		{name: "HOME of somebody else", script: foreign + `; nix-env -i ./hello`, env: "HOME=/github/home"},
		{name: "HOME of somebody else, newer Nix", script: foreign + `; HOME=/root nix-env -i ./hello`, env: "HOME=/github/home"},
		{name: "HOME of somebody else, who has a profile", script: foreign + `
			nix-env -p /proj/theirs -i ./tools; ln -s /proj/theirs /github/home/.nix-profile
			HOME=/root nix-env -i ./hello`, env: "HOME=/github/home"},
		{name: "HOME of somebody else, passwd's is empty", script: foreign + `; nix-env -p p -i ./hello; ln -s /proj/p /github/home/.nix-profile`, env: "HOME=/github/home"},

		{name: "a user", script: `HOME=/home/dev USER=dev setpriv --reuid 1000 --clear-groups nix-env -i ./hello`, env: "HOME=/home/dev", uid: "1000"},
		{name: "a user of Nix 2.14", script: `mkdir -p /home/dev/.local/state/nix/profiles; nix-env -p /home/dev/.local/state/nix/profiles/profile -i ./hello`, env: "HOME=/home/dev", uid: "1000"},
		{name: "a user of Nix 2.3", script: `mkdir -p /nix/var/nix/profiles/per-user/dev; nix-env -p /nix/var/nix/profiles/per-user/dev/profile -i ./hello`, env: "HOME=/home/dev", uid: "1000"},
		{name: "a user by passwd", script: `nix-env -p /proj/p -i ./hello; ln -s /proj/p /home/dev/.nix-profile`, env: "HOME=", uid: "1000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.uid != "" || strings.Contains(tt.script, "chown") {
				needRoot(t)
			}
			s := newSandbox(t)
			s.must(`mkdir /out`)
			env := []string{tt.env}
			if tt.uid != "" {
				s.must(`echo dev:x:1000:1000::/home/dev:/bin/sh >> /etc/passwd
					mkdir /home/dev; chown -R 1000:1000 /home/dev /out /nix`)
				env = append(env, "BASE_TEST_UID="+tt.uid, "USER=dev")
			}
			s.must(tt.script, tt.env)
			if tt.uid != "" {
				s.must(`chown -R 1000:1000 /nix /home/dev`)
			}
			r := run(t.Context(), s.root, env, nil, "export-profile", "/out/dist")
			if r.code != 0 {
				t.Fatalf("exit code %d\n%s", r.code, r.stderr)
			}
			entries, err := os.ReadDir(filepath.Join(s.root, "out/dist/nix/profile/bin"))
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) != 1 || entries[0].Name() != "hello" {
				t.Errorf("exported %v, want [hello]", entries)
			}
		})
	}
}
