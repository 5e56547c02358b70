package standin

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unpack unpacks the archive of a commit with tar.
func unpack(t *testing.T, f *Fixture, c Commit) string {
	t.Helper()
	dir := t.TempDir()
	run(t, command{name: "tar", args: []string{"--extract", "--file", f.ArchiveFile(c.Rev), "--directory", dir, "--strip-components=1"}})
	return dir
}

func run(t *testing.T, c command) string {
	t.Helper()
	out, err := c.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// nixEnv keeps Nix away from the user's files and the machine's store.
func nixEnv(t *testing.T, store string, config ...string) []string {
	t.Helper()
	dir := t.TempDir()
	return []string{
		"HOME=" + dir, "NIX_CONF_DIR=" + dir, "NIX_USER_CONF_FILES=", "NIX_STATE_DIR=" + dir, "NIX_REMOTE=" + store,
		"NIX_CONFIG=" + strings.Join(append([]string{"build-users-group ="}, config...), "\n"),
	}
}

// TestArchiveIsTree: what tar unpacks from an archive is, to git, the commit's tree,
// awkward names, modes and links included.
func TestArchiveIsTree(t *testing.T) {
	f := testFixture(t)
	c := f.Commit("release-doc")
	dir := unpack(t, f, c)
	repo := filepath.Join(t.TempDir(), "repo.git")
	git := func(args ...string) string {
		t.Helper()
		out, err := runGit(t.Context(), repo, nil, append([]string{"--work-tree", dir}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--quiet", repo)
	git("add", "--all", "--force")
	if got := git("write-tree"); got != c.Tree {
		t.Errorf("tree of the archive of %s is %s, want %s", c.Rev, got, c.Tree)
	}
	awkward := filepath.Join(dir, "pkgs/test/awkward")
	names := list(t, awkward, "*")
	if !slices.Contains(names, filepath.Join(awkward, "latin-\xe4")) {
		t.Errorf("no name that is not UTF-8 among %q", names)
	}
}

// TestEvaluate: whoever evaluates the tree, with no store at all, gets the paths
// that are in the cache.
func TestEvaluate(t *testing.T) {
	f := testFixture(t)
	for _, change := range []string{"old", "next-deep"} {
		c := f.Commit(change)
		dir := unpack(t, f, c)
		for _, system := range Systems {
			t.Run(change+" "+system, func(t *testing.T) {
				out := run(t, command{
					name: "nix-instantiate",
					args: []string{"--eval", "--strict", "--json", "-E", fmt.Sprintf(
						`builtins.mapAttrs (_: p: map (o: p.${o}.outPath) p.outputs) (import %s/release.nix { system = "%s"; })`, dir, system)},
					env: nixEnv(t, "dummy://"),
				})
				var got map[string][]string
				if err := json.Unmarshal([]byte(out), &got); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(f.Outputs(c.Rev, system), got); diff != "" {
					t.Errorf("paths in the cache and evaluated (-cache +evaluated):\n%s", diff)
				}
			})
		}
	}
}

// libraryCalls uses the functions that an image definition for the real nixpkgs uses.
const libraryCalls = `
let
  pkgs = import %s { system = "x86_64-linux"; config = { }; overlays = [ (final: prev: { added = prev.hello; }) ]; };
  inherit (pkgs) lib;
in
{
  bin = lib.getBin pkgs.xz == pkgs.xz.bin && lib.getOutput "out" pkgs.xz == pkgs.xz.out;
  default = "${pkgs.xz}" == "${pkgs.xz.bin}";
  lib = "${lib.getLib pkgs.stdenv.cc.cc}" == "${pkgs.stdenv.cc.cc.lib}";
  path = lib.makeBinPath [ pkgs.xz pkgs.jq ] == "${pkgs.xz.bin}/bin:${pkgs.jq}/bin";
  libraryPath = lib.makeLibraryPath [ pkgs.stdenv.cc.cc pkgs.zlib ] == "${pkgs.stdenv.cc.cc.lib}/lib:${pkgs.zlib}/lib";
  loader = pkgs.stdenv.cc.bintools.dynamicLinker == "${pkgs.glibc}/lib/ld-linux-x86-64.so.2";
  overlay = pkgs.added.outPath == pkgs.hello.outPath;
  attrByPath = lib.attrByPath [ "python3" "pkgs" ] null pkgs == null && lib.attrByPath [ "xz" "bin" ] null pkgs == pkgs.xz.bin;
  names = map lib.getName [ pkgs.bashInteractive pkgs.gitMinimal pkgs.cacert ] == [ "bash-interactive" "git-minimal" "nss-cacert" ];
  version = lib.getVersion pkgs.hello == pkgs.hello.version && lib.versions.versionAtLeast lib.version "26";
  derivations = lib.all lib.isDerivation (lib.attrValues pkgs.packages);
  optionals = lib.optional true 1 ++ lib.optionals false [ 2 ] == [ 1 ];
  strings = lib.concatMapStrings (x: x + ";") [ "a" "b" ] == "a;b;";
  system = pkgs.stdenv.hostPlatform.system == "x86_64-linux";
  exe = lib.getExe pkgs.attic-client == "${pkgs.attic-client}/bin/attic";
  wrapped = lib.isDerivation (pkgs.symlinkJoin { name = "j"; paths = [ pkgs.hello ]; });
}`

func TestLibrary(t *testing.T) {
	f := testFixture(t)
	dir := unpack(t, f, f.Commit("shared"))
	out := run(t, command{
		name: "nix-instantiate",
		args: []string{"--eval", "--strict", "--json", "-E", fmt.Sprintf(libraryCalls, dir)},
		env:  nixEnv(t, "dummy://"),
	})
	var got map[string]bool
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if !got[name] {
			t.Errorf("%s is not so", name)
		}
	}
}

// TestForeign: the packages for the other system are as those for this one,
// but for what is in their programs.
func TestForeign(t *testing.T) {
	f := testFixture(t)
	rev := f.Commit("release-doc").Rev
	native, foreign := f.Outputs(rev, Systems[0]), f.Outputs(rev, Systems[1])
	if diff := cmp.Diff(slices.Sorted(maps.Keys(native)), slices.Sorted(maps.Keys(foreign))); diff != "" {
		t.Fatalf("attributes (-%s +%s):\n%s", Systems[0], Systems[1], diff)
	}
	references := func(path string) []string {
		var names []string
		for _, r := range strings.Fields(readNarinfo(t, f, path)["References"]) {
			_, name, _ := strings.Cut(r, "-")
			names = append(names, name)
		}
		slices.Sort(names)
		return names
	}
	for attr, paths := range native {
		for i, p := range paths {
			if p == foreign[attr][i] {
				t.Errorf("%s is %s for both systems", attr, p)
			}
			if diff := cmp.Diff(references(p), references(foreign[attr][i])); diff != "" {
				t.Errorf("references of %s (-%s +%s):\n%s", attr, Systems[0], Systems[1], diff)
			}
		}
	}
}

func readNarinfo(t *testing.T, f *Fixture, storePath string) map[string]string {
	t.Helper()
	hash, _, _ := strings.Cut(filepath.Base(storePath), "-")
	data, err := os.ReadFile(filepath.Join(f.CacheFolder(), hash+".narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		fields[key] = value
	}
	return fields
}

// substitute lets Nix fetch paths from the cache of a server into a store in dir.
func substitute(t *testing.T, s *Server, dir, key string, paths []string) error {
	t.Helper()
	_, err := command{
		name: "nix-store",
		args: append([]string{"--realise", "--quiet"}, paths...),
		env: nixEnv(t, "local?root="+dir,
			"substituters = "+s.Cache(), "trusted-public-keys = "+key, "max-substitution-jobs = 4", "fsync-metadata = false"),
	}.run(t.Context())
	return err
}

// TestCache lets Nix itself fetch and verify: all packages of two commits,
// for both systems, and so with every compression.
func TestCache(t *testing.T) {
	s := testServer(t, Options{})
	f := s.fixture
	used := map[string]bool{}
	var paths []string
	for _, change := range []string{"shared", "next-deep"} {
		for _, system := range Systems {
			for _, outputs := range f.Outputs(f.Commit(change).Rev, system) {
				for _, p := range outputs {
					used[readNarinfo(t, f, p)["Compression"]] = true
					paths = append(paths, p)
				}
			}
		}
	}
	for _, method := range []string{"xz", "zstd", "bzip2", "gzip", "br", "none"} {
		if !used[method] {
			t.Errorf("nothing is compressed with %s", method)
		}
	}
	root := t.TempDir()
	t.Cleanup(func() { removeAll(root) })
	if err := substitute(t, s, root, s.PublicKey(), paths); err != nil {
		t.Fatal(err)
	}

	hello := f.Outputs(f.Commit("shared").Rev, Systems[1])["hello"][0]
	e, err := elf.Open(root + hello + "/bin/hello")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if e.Machine != elf.EM_AARCH64 || len(e.Progs) != 1 || e.Progs[0].Type != elf.PT_INTERP {
		t.Errorf("%s: machine %v, program headers %v", hello, e.Machine, e.Progs)
	}

	other := t.TempDir()
	t.Cleanup(func() { removeAll(other) })
	const wrongKey = "cache.standin-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
	err = substitute(t, s, other, wrongKey, []string{hello})
	if err == nil || !strings.Contains(err.Error(), "not signed by any of the keys") {
		t.Errorf("with another key: error %v, want one about the signature", err)
	}
}
