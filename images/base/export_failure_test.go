package base_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever goes wrong, nothing is left behind, and the message says what it was.
func TestExportFails(t *testing.T) {
	const usage = "usage: export-profile [--profile P] ROOT [STORE-PATH…]"
	tests := []struct {
		name    string
		prepare string
		run     string
		code    int
		want    []string // in stderr; $name is the store path of a package
		mounts  string
	}{
		{"no argument", "", `export-profile`, 2, []string{"ROOT is missing", usage, "--help"}, ""},
		{"an empty one", "", `export-profile ""`, 2, []string{"ROOT is empty", usage}, ""},
		{"unknown option", "", `export-profile --prof /dist hello`, 2, []string{"there is no option --prof", usage}, ""},
		{"option without its value", "", `export-profile /dist --profile`, 2, []string{"--profile wants a profile", usage}, ""},
		{"option with an empty one", "", `export-profile --profile= /dist`, 2, []string{"--profile wants a profile", usage}, ""},

		{"ROOT is not empty", `mkdir /dist; touch /dist/.file`, `export-profile /dist hello`, 1, []string{"/dist: the folder is not empty"}, ""},
		{"ROOT is /", "", `export-profile / hello`, 1, []string{"/: the folder is not empty"}, ""},
		{"ROOT is a file", `touch dist`, `export-profile dist hello`, 1, []string{"/proj/dist: there is a file"}, ""},
		{"ROOT is a dangling link", `ln -s nowhere dist`, `export-profile dist hello`, 1, []string{"/proj/dist: a link that leads nowhere"}, ""},
		{"ROOT is below a file", `touch dist`, `export-profile dist/a/b hello`, 1, []string{"cannot make the folder /proj/dist/a"}, ""},
		{"ROOT cannot be written", "", `export-profile /fixed/dist hello`, 1, []string{"Read-only file system", "cannot write to /fixed"}, "/fixed:ro"},

		{"nothing installed", "", `export-profile /dist`, 1,
			[]string{"nothing is installed", "\n  /root/.nix-profile\n  /root/.local/state/nix/profile\n  /nix/var/nix/profiles/default\n", "nix-env -f src -iA myEnv", "export-profile /dist ./result"}, ""},
		{"all removed again", `nix-env -i ./hello; nix-env -e hello`, `export-profile /dist`, 1, []string{"nothing is installed", "nix-env -f src -iA myEnv"}, ""},
		{"NIX_PROFILE is not there", `nix-env -i ./hello`, `NIX_PROFILE=/proj/other export-profile /dist`, 1, []string{"nothing is installed", "  /proj/other\n"}, ""},
		{"an empty profile", `nix-env -p p -i ./hello; nix-env -p p -e hello`, `export-profile --profile p /dist hello`, 1, []string{"p: the profile is empty"}, ""},
		{"a profile that is not there", "", `export-profile --profile p /dist`, 1, []string{"p: there is no such file or folder"}, ""},
		{"a profile that is none", "", `export-profile --profile /etc /dist`, 1, []string{"/etc: neither a store path nor a link to one"}, ""},

		{"a path that is not there", "", `export-profile /dist nothing`, 1, []string{"nothing: there is no such file or folder"}, ""},
		{"a link that dangles", `ln -s /nix/store/gone result`, `export-profile /dist ./result`, 1, []string{"./result: a link that leads nowhere (/nix/store/gone)"}, ""},
		{"a path that is none", `mkdir result`, `export-profile /dist ./result`, 1, []string{"./result: neither a store path nor a link to one"}, ""},
		{"a path inside of one", "", `export-profile /dist hello/bin`, 1, []string{"hello/bin: lies inside of a store path, which is $hello"}, ""},
		{"a path unknown to Nix", `mkdir /nix/store/00000000000000000000000000000000-alien`, `export-profile /dist /nix/store/00000000000000000000000000000000-alien`, 1,
			[]string{"is not valid", "Nix does not know what /nix/store/00000000000000000000000000000000-alien needs"}, ""},

		{"a path of the closure is missing", `p=$(readlink greeting); chmod -R u+w $p; rm -r $p`, `export-profile /dist hello`, 1,
			[]string{"$greeting is needed but missing from the store", "--repair"}, ""},
		{"a path of the profile is missing", `nix-env -i ./hello; p=$(readlink -f ~/.nix-profile); chmod -R u+w $p; rm -r $p`, `export-profile --profile ~/.nix-profile /dist`, 1,
			[]string{"/root/.nix-profile: a link that leads nowhere"}, ""},
		{"a damaged database", `echo garbage > /nix/var/nix/db/db.sqlite`, `export-profile /dist hello`, 1, []string{"database", "Nix does not know what $hello needs"}, ""},
		{"a query that fails after half its answer", `printf '#!/bin/sh\nreadlink /proj/hello; exit 1\n' > /nix/profile/bin/nix-store; chmod +x /nix/profile/bin/nix-store`,
			`export-profile /dist hello`, 1, []string{"Nix does not know what $hello needs"}, ""},
		{"a query without an answer", `printf '#!/bin/sh\n' > /nix/profile/bin/nix-store; chmod +x /nix/profile/bin/nix-store`,
			`export-profile /dist hello`, 1, []string{"Nix does not know what $hello needs"}, ""},
		{"a query with another answer", `printf '#!/bin/sh\necho /nix/store/../etc\n' > /nix/profile/bin/nix-store; chmod +x /nix/profile/bin/nix-store`,
			`export-profile /dist hello`, 1, []string{"Nix names a store path that is none: '/nix/store/../etc'"}, ""},
		{"a query that answers another question", `printf '#!/bin/sh\nreadlink /proj/greeting\n' > /nix/profile/bin/nix-store; chmod +x /nix/profile/bin/nix-store`,
			`export-profile /dist hello`, 1, []string{"Nix does not know what $hello needs"}, ""},

		{"a dangling link", "", `export-profile /dist dangling hello`, 1, []string{"these links lead nowhere", "  $dangling/bin/broken\n"}, ""},
		{"two files of one name", "", `export-profile /dist hello rival`, 1, []string{"$rival/bin/hello and $hello/bin/hello would both be /nix/profile/bin/hello"}, ""},

		{"a full disk", "", `export-profile /small/dist big`, 1, []string{"No space left on device", "cannot copy the closure to /small/dist"}, "/small:size=128k"},
		{"a full disk, on which something is made while all is removed", `echo 1 > tries
			printf '#!/bin/sh\nif [ $(cat /proj/tries) = 1 ]; then echo 2 > /proj/tries; exit 1; fi; exec /bin/rm "$@"\n' > /nix/profile/bin/rm; chmod +x /nix/profile/bin/rm`,
			`export-profile /small/dist big`, 1, []string{"No space left on device", "cannot copy the closure to /small/dist"}, "/small:size=128k"},
		{"a full mount point", "", `export-profile /small big`, 1, []string{"No space left on device", "cannot copy the closure to /small"}, "/small:size=128k"},
		{"a disk without room for links", "", `export-profile /small/a/dist hello`, 1, []string{"No space left on device"}, "/small:nr_inodes=16"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSandbox(t)
			if tt.prepare != "" {
				s.must(tt.prepare)
			}
			before := s.tree("")
			r := s.do(`code=0; (`+tt.run+`) || code=$?
				for dir in /small /fixed; do if [ -d $dir ]; then find $dir -mindepth 1 -printf 'left behind: %p\n'; fi; done
				exit $code`, tmpfsVariable+"="+tt.mounts)
			if r.code != tt.code {
				t.Errorf("exit code %d, want %d", r.code, tt.code)
			}
			for _, want := range tt.want {
				for _, name := range []string{"hello", "greeting", "dangling", "rival"} {
					want = strings.ReplaceAll(want, "$"+name, s.storePath(name))
				}
				if !strings.Contains(r.stderr, want) {
					t.Errorf("stderr lacks %q", want)
				}
			}
			if lines := strings.Count(r.stderr, "\n"); lines > 12 {
				t.Errorf("%d lines of messages", lines)
			}
			if r.stdout != "" {
				t.Errorf("stdout: %s", r.stdout)
			}
			after := s.tree("")
			if tt.mounts != "" { // mount points are made on entering
				dir, _, _ := strings.Cut(tt.mounts, ":")
				before = append(before, dir+"/")
				slices.Sort(before)
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("left behind (-before +after):\n%s", diff)
			}
			if t.Failed() {
				t.Logf("stderr:\n%s", r.stderr)
			}
		})
	}
}
