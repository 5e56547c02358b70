package cycle_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/cycle"
)

const bothSystems = "x86_64-linux, " + foreign

// nobody is a user without rights.
const nobody = 65534

// The same commit and recipe give the same digest: in other folders, time zones,
// with other umasks, on other numbers of processors, for another user, whatever
// the user's configuration of Nix says, and whether or not earlier images were
// there to take layers from.
func TestSameDigestEverywhere(t *testing.T) {
	t.Parallel()
	program(t)
	type way struct {
		name   string
		before string // change that the channel is at first
		user   int    // 0: the one who tests
		umask  string
		env    func(dir string) []string
	}
	ways := []way{
		{name: "plain", umask: "022", env: func(string) []string { return []string{"TZ=UTC"} }},
		{name: "nobody, in a hostile environment", user: nobody, umask: "077", env: hostile},
		{name: "after an earlier commit", before: "shared", umask: "000", env: func(dir string) []string {
			return append(hostile(dir), "TZ=America/St_Johns", "GOMAXPROCS=5", "LC_ALL=tr_TR.UTF-8")
		}},
	}
	digests := make([]string, len(ways))
	var group sync.WaitGroup
	for i, way := range ways {
		dir := open(t, way.user)
		image := filepath.Join(dir, "image")
		if err := os.CopyFS(image, os.DirFS(imageFolder)); err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, settings{dir: dir, image: image, systems: bothSystems, channels: onlyRelease})
		give(t, dir, way.user)
		env := way.env(dir)
		group.Go(func() {
			if way.before != "" {
				w.setHead(release, way.before)
				w.runAs(way.user, way.umask, env)
				w.setHead(release, "release-doc")
			}
			result := w.runAs(way.user, way.umask, env)
			digests[i] = result.Published[0].Digest.String()
			if used := result.Rev.String() != w.fixture.Commit("release-doc").Rev; used {
				t.Errorf("%s: made %s, want %s", way.name, result.Rev.String(), w.fixture.Commit("release-doc").Rev)
			}
			w.tidy()
		})
	}
	group.Wait()
	for i, digest := range digests {
		if digest == "" || digest != digests[0] {
			t.Errorf("%s: %s, want %s as %s", ways[i].name, digest, digests[0], ways[0].name)
		}
	}
}

// runAs runs a cycle that publishes one image.
func (w *world) runAs(user int, umask string, env []string) cycle.Result {
	before := []string{"sh", "-c", `umask "$0" && exec "$@"`, umask}
	if user != 0 && os.Geteuid() == 0 {
		id := strconv.Itoa(user)
		before = append([]string{"setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--no-new-privs"}, before...)
	}
	p := w.command(before, "run", "--once", "--output", "json")
	p.Env = append(p.Env, env...)
	var results []cycle.Result
	if err := p.Run(); err != nil {
		w.t.Errorf("%v: %v\n%s%s", p.Args, err, &p.stdout, &p.stderr)
	} else if err := json.Unmarshal(p.stdout.Bytes(), &results); err != nil {
		w.t.Error(err)
	}
	if len(results) != 1 || len(results[0].Published) != 1 {
		return cycle.Result{Published: []cycle.Published{{}}}
	}
	return results[0]
}

// open makes a folder that another user can reach.
func open(t testing.TB, user int) string {
	t.Helper()
	if user == 0 {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("", "factory-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// give makes a folder and all in it another user's.
func give(t testing.TB, dir string, user int) {
	t.Helper()
	if user == 0 || os.Geteuid() != 0 {
		return
	}
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, user, user)
	})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat("/nix"); err == nil && (info.Sys().(*syscall.Stat_t).Uid == uint32(user) || info.Mode()&0o002 != 0) {
		t.Fatal("/nix is writable for others: this shows nothing")
	}
}

// hostile fills a home with settings that would change what Nix evaluates, or
// keep it from evaluating anything, and returns an environment to match.
func hostile(dir string) []string {
	home := filepath.Join(dir, "home")
	bad := filepath.Join(home, "bad.nix")
	for file, text := range map[string]string{
		"bad.nix":                             `throw "the user's configuration was read"`,
		".config/nixpkgs/config.nix":          `throw "the user's configuration was read"`,
		".config/nixpkgs/overlays.nix":        `throw "the user's overlays were read"`,
		".config/nixpkgs/overlays/bad.nix":    `throw "the user's overlays were read"`,
		".nixpkgs/config.nix":                 `throw "the user's configuration was read"`,
		".config/nix/nix.conf":                "restrict-eval = true\nstore = /nowhere\nsubstituters = http://127.0.0.1:1\nnix-path = nixpkgs=" + bad + "\n",
		".config/nix/registry.json":           "{ no JSON",
		"conf/nix.conf":                       "this is = not ( a setting\nstore = /nowhere\n",
		"image/.config/nix/nix.conf":          "restrict-eval = true\n",
		".local/state/nix/profiles/bad":       "",
		".nix-defexpr/channels/nixpkgs/a.nix": `throw "the user's channels were read"`,
	} {
		file = filepath.Join(home, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			panic(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			panic(err)
		}
	}
	// Whoever owns the folder owns what is in it.
	if info, err := os.Stat(dir); err == nil && os.Geteuid() == 0 {
		owner := int(info.Sys().(*syscall.Stat_t).Uid)
		filepath.WalkDir(home, func(path string, _ os.DirEntry, _ error) error { return os.Lchown(path, owner, owner) })
	}
	return []string{
		"HOME=" + home, "TZ=Pacific/Kiritimati", "GOMAXPROCS=1", "SOURCE_DATE_EPOCH=42", "USER=mallory",
		"NIX_CONFIG=restrict-eval = true\nstore = /nowhere\nsystem = riscv64-linux\nflake-registry = http://127.0.0.1:1/registry.json",
		"NIX_PATH=nixpkgs=" + bad + ":nixpkgs-overlays=" + bad, "NIX_REMOTE=unix:///nowhere",
		"NIX_CONF_DIR=" + filepath.Join(home, "conf"), "NIX_USER_CONF_FILES=" + filepath.Join(home, "conf/nix.conf"),
		"NIX_STORE_DIR=/nowhere/store", "NIX_STATE_DIR=/nowhere/state", "NIX_LOG_DIR=/nowhere/log", "NIX_DATA_DIR=/nowhere",
		"NIXPKGS_CONFIG=" + bad, "NIXPKGS_ALLOW_UNFREE=1", "NIXPKGS_ALLOW_BROKEN=1", "NIXPKGS_ALLOW_INSECURE=1",
		"NIXPKGS_ALLOW_UNSUPPORTED_SYSTEM=1", "XDG_CONFIG_HOME=" + filepath.Join(home, ".config"), "GZIP=-1", "ZSTD_CLEVEL=19",
	}
}

// The way by earlier images and the way from nothing end in the same image,
// commit for commit.
func TestReusedLayersGiveTheSameImage(t *testing.T) {
	t.Parallel()
	along := newWorld(t, settings{channels: onlyRelease})
	for _, change := range []string{"old", "shared", "release-doc", "release-leaf", "release-deep"} {
		rev := along.setHead(release, change)
		got := along.cycle()
		if got[0].Err != nil {
			t.Fatal(got[0].Err)
		}
		// Several commits have the same packages; one of them shows it.
		if change != "release-leaf" && change != "release-deep" {
			continue
		}
		fresh := newWorld(t, settings{channels: onlyRelease})
		fresh.setHead(release, change)
		want := fresh.expect(release + ": build (new commit)")
		if want[0].Rev.String() != rev || got[0].Published[0].Digest.String() != want[0].Published[0].Digest.String() {
			t.Errorf("%s: with reused layers %s, from nothing %s", change, got[0].Published[0].Digest.String(), want[0].Published[0].Digest.String())
		}
		if got[0].Stats.ReusedLayers == 0 || want[0].Stats.ReusedLayers > 0 {
			t.Errorf("%s: %d layers reused on the way, %d from nothing", change, got[0].Stats.ReusedLayers, want[0].Stats.ReusedLayers)
		}
	}
}
