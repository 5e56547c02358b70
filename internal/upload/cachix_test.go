package upload

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// program puts a shell script on PATH, before everything else. The script
// finds the folder that is returned as $RECORD.
func program(t *testing.T, name, script string) (record string) {
	t.Helper()
	bin, record := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\nRECORD='"+record+"'\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return record
}

func recorded(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

const cachixToken = "eyJhbGciOiJIUzI1NiJ9.eyJqdGkiOiJ4In0.c2VjcmV0"

// takes is a cachix that writes down how it was called, and what the store
// says of the paths that it was given.
const takes = `
n=$(ls "$RECORD" | grep -c args)
echo "$@" > "$RECORD/args$n"
cat > "$RECORD/stdin$n"
echo "$CACHIX_AUTH_TOKEN" > "$RECORD/token$n"
nix-store --query --size $(cat "$RECORD/stdin$n") > "$RECORD/sizes$n"
`

func TestCachix(t *testing.T) {
	r := realThing(t, "hello")
	hello := r.builtHere(t, "hello")
	store := newDebian(t)
	store.adopt(t)
	record := program(t, "cachix", takes)
	scratch := t.TempDir()
	target := Cachix{Cache: "factory-test", Token: cachixToken + "\n", Upstream: []string{r.key.Name()}, Dir: scratch}
	if got, want := target.Name(), "cachix factory-test"; got != want {
		t.Errorf("Name = %q, want %q", got, want)
	}
	for range 2 {
		report, err := target.Push(t.Context(), r.all(), r)
		own := append([]nix.PathInfo{hello}, r.sources...)
		if want := (Report{Pushed: 3, Upstream: len(r.all()) - 3, Bytes: size(own)}); err != nil || report != want {
			t.Fatalf("Push = %+v, %v, want %+v", report, err, want)
		}
	}
	var paths, sizes []string
	for _, info := range unique(append([]nix.PathInfo{hello}, r.sources...)) {
		paths = append(paths, info.Path.String())
		sizes = append(sizes, store.run(t, "nix-store", "--query", "--size", info.Path.String()))
	}
	for name, want := range map[string]string{
		"args0": "push factory-test", "stdin0": strings.Join(paths, "\n"), "sizes0": strings.Join(sizes, "\n"), "token0": cachixToken,
		"args1": "push factory-test", "stdin1": strings.Join(paths, "\n"),
	} {
		if diff := cmp.Diff(want, recorded(t, record, name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	store.check(t, r.all())
	nothing(t, scratch)
}

func TestCachixNotices(t *testing.T) {
	newDebian(t).adopt(t)
	shelf := few(t)
	record := program(t, "cachix", takes)
	tests := []struct {
		name, token, path, want string
	}{
		{"no token", " ", os.Getenv("PATH"), "nothing pushed: CACHIX_AUTH_TOKEN is not set"},
		{"no program", cachixToken, t.TempDir(), "nothing pushed: cachix is not on PATH"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PATH", tt.path)
			report, err := Cachix{Cache: "x", Token: tt.token}.Push(t.Context(), shelf.infos, shelf)
			var notice *NotPushed
			if !errors.As(err, &notice) || err.Error() != tt.want || report != (Report{}) {
				t.Errorf("Push = %+v, %v, want %q", report, err, tt.want)
			}
		})
	}
	report, err := Cachix{Cache: "x", Token: cachixToken, Upstream: []string{"cache.nixos.org-1"}}.Push(t.Context(), shelf.infos[:2], shelf)
	if want := (Report{Upstream: 2}); err != nil || report != want {
		t.Errorf("Push of what upstream has = %+v, %v, want %+v", report, err, want)
	}
	nothing(t, record)
}

func TestCachixFails(t *testing.T) {
	store := newDebian(t)
	store.adopt(t)
	tests := []struct {
		name, script string
		cache        string
		change       func(*shelf)
		want         string // BASE is the object
	}{
		{"says why", "printf '\\033[31mcachix: no\\n  access with %s\\033[0m\\n' $CACHIX_AUTH_TOKEN >&2; exit 1", "", nil,
			"cachix: no access with (hidden)"},
		{"shows the key", "echo $CACHIX_SIGNING_KEY >&2; exit 1", "", nil, "cachix: (hidden)"},
		{"says nothing", "exit 7", "", nil, "cachix: exit status 7"},
		{"says a lot", "i=0; while [ $i -lt 3000 ]; do echo line $i of $CACHIX_AUTH_TOKEN; i=$((i+1)); done >&2; exit 1", "", nil,
			"cachix: line 2997 of (hidden) line 2998 of (hidden) line 2999 of (hidden)"},
		{"is killed", "kill -9 $$", "", nil, "cachix: signal: killed"},
		{"is not asked: no NAR", "touch $RECORD/called", "", func(s *shelf) { delete(s.nars, s.infos[0].Path) },
			"copy: BASE: there is no such NAR"},
		{"is not asked: a name that is none", "touch $RECORD/called", "--help", nil,
			`cache name "--help": want lower-case letters, digits and hyphens`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			record := program(t, "cachix", tt.script)
			shelf := newShelf()
			info := shelf.add(t, "object-"+strings.Fields(tt.name)[0], tt.name)
			if tt.change != nil {
				tt.change(shelf)
			}
			target := Cachix{Cache: "factory", Token: cachixToken, SigningKey: "signing-key-data"}
			if tt.cache != "" {
				target.Cache = tt.cache
			}
			report, err := target.Push(t.Context(), shelf.infos, shelf)
			if want := strings.ReplaceAll(tt.want, "BASE", info.Path.Base()); err == nil || err.Error() != want || report.Pushed != 0 {
				t.Errorf("Push = %+v, %v\nwant: %s", report, err, want)
			}
			nothing(t, record)
		})
	}
}

// The cachix of the miniature nixpkgs can push nothing, and that is what we hear.
func TestCachixOfTheMiniature(t *testing.T) {
	r := realThing(t, "cachix")
	store := newDebian(t)
	store.adopt(t)
	report, err := Store{URL: "local?root=" + store.dir + "/root"}.Push(t.Context(), r.closed, r)
	if err != nil || report.Pushed == 0 {
		t.Fatalf("Push = %+v, %v", report, err)
	}
	i := 0
	for !strings.HasPrefix(r.closed[i].Path.Name(), "cachix-") {
		i++
	}
	file := store.dir + "/root" + r.closed[i].Path.String() + "/bin/cachix"
	program(t, "cachix", "exec /bin/sh "+file+` "$@"`)
	_, err = Cachix{Cache: "factory", Token: cachixToken, Upstream: []string{r.key.Name()}}.Push(t.Context(), r.sources, r)
	if want := "cachix: this is a stand-in, it can neither push nor pull"; err == nil || err.Error() != want {
		t.Errorf("Push: %v, want %q", err, want)
	}
}
