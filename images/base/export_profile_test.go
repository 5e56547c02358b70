package base_test

import (
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// storePath returns the store path of a package of packages.nix.
func (s sandbox) storePath(name string) string {
	s.t.Helper()
	target, err := os.Readlink(filepath.Join(s.root, "proj", name))
	if err != nil {
		s.t.Fatal(err)
	}
	return target
}

// tree lists a folder of the sandbox but for what is in store paths: folders end
// in a slash, links have their targets.
func (s sandbox) tree(dir string) []string {
	s.t.Helper()
	var list []string
	top := filepath.Join(s.root, dir)
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path := strings.TrimPrefix(name, top)
		switch {
		case strings.HasPrefix(path, "/nix/store/"):
			list = append(list, path)
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			list = append(list, path+" -> "+target)
		case d.IsDir():
			list = append(list, path+"/")
		default:
			list = append(list, path)
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func (s sandbox) checkTree(dir string, want []string) {
	s.t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(want, s.tree(dir)); diff != "" {
		s.t.Errorf("%s (-want +got):\n%s", dir, diff)
	}
}

func TestExportWhatWasInstalled(t *testing.T) {
	s := newSandbox(t)
	s.must(`nix-env -i ./hello ./tools`)
	before := s.tree("nix/store")
	out := s.do(`umask 077; export-profile /dist`)
	if want := "export-profile: /dist: 5 store paths\n"; out.code != 0 || out.stderr != want {
		t.Fatalf("exit code %d, stderr %q, want 0, %q", out.code, out.stderr, want)
	}
	profile := s.must(`readlink -f /root/.nix-profile`)
	manifest := s.must(`readlink ` + profile + `/manifest.nix`)
	tools := profile + "/bin/"
	s.checkTree("dist", []string{
		"/",
		"/bin/", "/bin/sh -> " + tools + "sh",
		"/etc/", "/etc/hello/", "/etc/hello/volume -> " + s.storePath("hello") + "/etc/hello/volume",
		"/nix/", "/nix/store/",
		s.storePath("greeting"), s.storePath("hello"), s.storePath("tools"), manifest, profile,
		"/run/", "/run/profile -> ../nix/profile", "/nix/profile/", "/nix/profile/bin/",
		"/nix/profile/bin/env -> " + tools + "env",
		"/nix/profile/bin/hello -> " + tools + "hello",
		"/nix/profile/bin/multi -> " + tools + "multi",
		"/nix/profile/bin/sh -> " + tools + "sh",
		"/nix/profile/etc/", "/nix/profile/etc/hello/",
		"/nix/profile/etc/hello/volume -> " + s.storePath("hello") + "/etc/hello/volume",
		"/nix/profile/share/", "/nix/profile/share/doc/", "/nix/profile/share/doc/hello/",
		"/nix/profile/share/doc/hello/read me.txt -> " + s.storePath("hello") + "/share/doc/hello/read me.txt",
		"/usr/", "/usr/bin/", "/usr/bin/env -> " + tools + "env",
	})
	if diff := cmp.Diff(before, s.tree("nix/store")); diff != "" {
		t.Errorf("the store has changed (-before +after):\n%s", diff)
	}
	s.must(`nix-store --verify --check-contents`)
	s.checkStore("/dist")

	for name, mode := range map[string]fs.FileMode{"dist": 0o755, "dist/nix/profile": 0o755, "dist/nix/store": 0o755} {
		info, err := os.Stat(filepath.Join(s.root, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode || info.ModTime().Unix() != 1 {
			t.Errorf("%s: mode %v, time %v, want %v and 1", name, info.Mode().Perm(), info.ModTime().Unix(), mode)
		}
	}
}

// checkStore compares the store objects below a folder with those of the store:
// contents, kinds, modes, times and targets of links.
func (s sandbox) checkStore(dir string) {
	s.t.Helper()
	list := func(in string) string {
		return s.must(`names=$(ls ` + dir + `/nix/store); cd ` + in + `; find $names -printf '%p %y %m %T@ %l\n' | sort`)
	}
	if diff := cmp.Diff(list("/nix/store"), list(dir+"/nix/store")); diff != "" {
		s.t.Errorf("%s/nix/store (-store +copy):\n%s", dir, diff)
	}
	s.must(`cd ` + dir + `/nix/store; for p in *; do diff -r --no-dereference $p /nix/store/$p; done`)
}

func TestExportedProgramsRun(t *testing.T) {
	s := newSandbox(t)
	s.must(`nix-env -i ./hello ./tools && export-profile /dist`)
	// the scripts of packages.nix want a shell of the machine: mounted like everything else there
	got := s.must(`
		cd /dist; rm bin/sh; mkdir -p lib lib64 work
		for d in usr bin lib lib64; do mkdir -p $d; mount --rbind /$d $d; done
		PATH=/nix/profile/bin:/bin /usr/sbin/chroot /dist /bin/sh -c hello`)
	if got != "Hello" {
		t.Errorf("hello says %q, want Hello", got)
	}
}

func TestExportLinksFiles(t *testing.T) {
	s := newSandbox(t)
	s.must(`nix-env -i ./hello && export-profile /dist`)
	var there, here syscall.Stat_t
	name := s.storePath("greeting") + "/lib/greeting"
	if err := syscall.Lstat(filepath.Join(s.root, name), &there); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Lstat(filepath.Join(s.root, "dist", name), &here); err != nil {
		t.Fatal(err)
	}
	if there.Ino != here.Ino {
		t.Errorf("%s: another file than in the store", name)
	}
}

// On overlayfs, what is older than the container is in a layer below: it is copied, for a
// link would wait for the disk after each file. What the container has made is linked.
func TestExportCopiesFromEarlierLayers(t *testing.T) {
	s := newSandbox(t)
	s.must(`nix-env -i ./hello`)
	greeting, hello := s.storePath("greeting"), s.storePath("hello")
	s.write("nix/profile/bin/stat", `#!/bin/sh
case "$*" in
"-f -c %T"*) echo overlayfs ;;
"--printf %Z %d %n"*) /usr/bin/stat "$@" | sed -z 's|^[0-9]* \([0-9]* `+greeting+`\)$|1 \1|' ;;
*) exec /usr/bin/stat "$@" ;;
esac
`)
	s.must(`export-profile /dist`)
	s.checkStore("/dist")
	same := func(name string) bool {
		return s.must(`if [ `+name+` -ef /dist`+name+` ]; then echo yes; fi`) == "yes"
	}
	if same(greeting+"/lib/greeting") || !same(hello+"/bin/hello") {
		t.Errorf("linked are greeting: %v, hello: %v, want only hello", same(greeting+"/lib/greeting"), same(hello+"/bin/hello"))
	}
}

func TestExportCopiesBetweenFileSystems(t *testing.T) {
	s := newSandbox(t)
	s.must(`nix-env -i ./hello ./tools
		export-profile /other/dist
		cp -a /other/dist /dist; ls -A /other > /proj/others`, tmpfsVariable+"=/other:size=4m")
	s.checkStore("/dist")
	if got := s.must(`cat others`); got != "dist" {
		t.Errorf("beside ROOT there is %q", got)
	}
}

func TestExportWithOddNames(t *testing.T) {
	s := newSandbox(t)
	s.must(`mkdir '/R&D'; ln -s //proj/hello result; nix-env -i ./hello
		export-profile '/R&D/a b [*]' hello
		export-profile '/R&D/new
line' //proj/hello
		export-profile --profile result /R\&D/linked
		export-profile --profile "/$(readlink hello)" //R\&D/stored
		HOME=/ export-profile '/R&D/-' ./hello`)
	for _, dir := range []string{"a b [*]", "new\nline", "linked", "stored", "-"} {
		if _, err := os.Lstat(filepath.Join(s.root, "R&D", dir, s.storePath("hello"))); err != nil {
			t.Error(err)
		}
		if _, err := os.Readlink(filepath.Join(s.root, "R&D", dir, "nix/profile/bin/hello")); err != nil {
			t.Error(err)
		}
	}
	if got := s.must(`ls /`); strings.Contains(got, "RD") {
		t.Errorf("beside ROOT: %s", got)
	}
}

func TestExportCopiesWhereLinksAreForbidden(t *testing.T) {
	s := newSandbox(t)
	// as with fs.protected_hardlinks and a file of somebody else's, after the first files
	s.write("nix/profile/bin/cp", `#!/bin/sh
case "$*" in
*--link*) mkdir "$4/half"; chmod 555 "$4/half"; echo "cp: Operation not permitted" >&2; exit 1 ;;
esac
exec /bin/cp "$@"
`)
	s.must(`nix-env -i ./hello`)
	if r := s.do(`export-profile /dist`); r.code != 0 || strings.Contains(r.stderr, "permitted") {
		t.Fatalf("exit code %d, stderr %q", r.code, r.stderr)
	}
	s.checkStore("/dist")
}

func TestExportWalksProfiles(t *testing.T) {
	s := newSandbox(t)
	s.must(`export-profile /dist ./odd`)
	odd := s.storePath("odd")
	s.checkTree("dist", []string{
		"/", "/nix/", "/nix/store/", odd, s.storePath("greeting"),
		"/run/", "/run/profile -> ../nix/profile", "/nix/profile/",
		"/nix/profile/.hidden/",
		"/nix/profile/.hidden/up/",
		"/nix/profile/.hidden/up/loop -> " + odd + "/include/loop",
		"/nix/profile/bin/",
		"/nix/profile/bin/* -> " + odd + "/bin/*",
		"/nix/profile/bin/new\nline -> " + odd + "/bin/new\nline",
		"/nix/profile/bin/outside -> " + odd + "/bin/outside",
		"/nix/profile/bin/outside-folder -> " + odd + "/bin/outside-folder",
		"/nix/profile/include/",
		"/nix/profile/include/loop -> " + odd + "/include/loop",
		"/nix/profile/lib/", "/nix/profile/lib/greeting -> " + s.storePath("greeting") + "/lib/greeting",
	})
}

func TestExportStorePaths(t *testing.T) {
	tests := []struct {
		name, script string
		want         []string // store paths, besides those of a profile
		files        string   // of nix/profile, in one line
	}{
		{"a store path", `export-profile /dist $(readlink hello)`, []string{"hello", "greeting"}, "bin etc share"},
		{"a link to one", `ln -s hello result; export-profile /dist ./result`, []string{"hello", "greeting"}, "bin etc share"},
		{"several", `export-profile /dist hello tools`, []string{"hello", "greeting", "tools"}, "bin etc share"},
		{"the same twice", `export-profile /dist hello hello ./greeting`, []string{"hello", "greeting"}, "bin etc lib share"},
		{"a file", `export-profile /dist file`, []string{"file"}, ""},
		{"a store path that is a link", `export-profile /dist link`, []string{"link", "hello", "greeting"}, "bin etc share"},
		{"with the profile", `nix-env -i ./tools; export-profile /dist hello`, []string{"hello", "greeting", "tools"}, "bin etc share"},
		{"without the profile", `nix-env -i ./tools; export-profile --profile ./hello /dist`, []string{"hello", "greeting"}, "bin etc share"},
		{"with another profile", `nix-env -p p -i ./tools; export-profile --profile=p /dist hello`, []string{"hello", "greeting", "tools"}, "bin etc share"},
		{"with an empty profile", `nix-env -i ./tools; nix-env -e tools; export-profile /dist hello`, []string{"hello", "greeting"}, "bin etc share"},
		{"options anywhere", `export-profile /dist --profile hello -- ./tools`, []string{"hello", "greeting", "tools"}, "bin etc share"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSandbox(t)
			s.must(tt.script)
			var want []string
			for _, name := range tt.want {
				want = append(want, filepath.Base(s.storePath(name)))
			}
			got := strings.Fields(s.must(`cd /dist/nix/store; ls`))
			got = slices.DeleteFunc(got, func(name string) bool {
				return strings.HasSuffix(name, "-user-environment") || strings.HasSuffix(name, "-env-manifest.nix")
			})
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("store paths (-want +got):\n%s", diff)
			}
			if files := s.must(`cd /dist/nix/profile 2>/dev/null && echo * || true`); files != tt.files && files != "*" {
				t.Errorf("nix/profile has %q, want %q", files, tt.files)
			}
		})
	}
}

func TestExportPlaces(t *testing.T) {
	tests := []struct {
		name, script, at string
		mounts           string
	}{
		{"new", `export-profile /dist hello`, "/dist", ""},
		{"below folders that are not there", `export-profile /a/b/dist hello`, "/a/b/dist", ""},
		{"relative", `export-profile dist hello`, "/proj/dist", ""},
		{"with a slash", `export-profile dist// hello`, "/proj/dist", ""},
		{"with blanks and patterns", `export-profile "/a [b]*  c" hello; mv "/a [b]*  c" /dist`, "/dist", ""},
		{"an empty folder", `mkdir dist; chmod 2750 dist; export-profile dist hello; [ $(stat -c %a dist) = 2750 ]`, "/proj/dist", ""},
		{"this folder", `mkdir dist; cd dist; export-profile . ../hello`, "/proj/dist", ""},
		{"a link to an empty folder", `mkdir real; ln -s real dist; export-profile dist hello`, "/proj/real", ""},
		{"a mount point", `export-profile /mnt hello; [ $(stat -c %d /mnt/nix) = $(stat -c %d /mnt) ]; cp -a /mnt/. /dist`, "/dist", "/mnt:size=4m"},
		{"a mount point of the same file system", `mkdir /real /mnt; mount --bind /real /mnt; export-profile /mnt hello`, "/real", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSandbox(t)
			s.must(tt.script, tmpfsVariable+"="+tt.mounts)
			hello := s.storePath("hello")
			s.checkTree(tt.at, []string{
				"/", "/etc/", "/etc/hello/", "/etc/hello/volume -> " + hello + "/etc/hello/volume",
				"/nix/", "/nix/store/", hello, s.storePath("greeting"),
				"/run/", "/run/profile -> ../nix/profile", "/nix/profile/",
				"/nix/profile/bin/", "/nix/profile/bin/hello -> " + hello + "/bin/hello",
				"/nix/profile/etc/", "/nix/profile/etc/hello/", "/nix/profile/etc/hello/volume -> " + hello + "/etc/hello/volume",
				"/nix/profile/share/", "/nix/profile/share/doc/", "/nix/profile/share/doc/hello/",
				"/nix/profile/share/doc/hello/read me.txt -> " + hello + "/share/doc/hello/read me.txt",
			})
		})
	}
}

func TestExportHelp(t *testing.T) {
	s := newSandbox(t)
	for _, flag := range []string{"-h", "--help"} {
		r := s.do(`export-profile ` + flag)
		if r.code != 0 || r.stderr != "" || !strings.HasPrefix(r.stdout, "usage: export-profile [--profile P] ROOT [STORE-PATH…]\n") ||
			!strings.Contains(r.stdout, "COPY --from=build /dist /") {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", flag, r.code, r.stdout, r.stderr)
		}
	}
}

func TestExportInterrupted(t *testing.T) {
	// What ignores SIGHUP, as nohup does, has its children ignore it. A signal that is
	// caught is theirs to decide.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	t.Cleanup(func() { signal.Reset(syscall.SIGHUP) })
	for _, tt := range []struct {
		signal syscall.Signal
		code   int
		root   string
	}{
		{syscall.SIGTERM, 143, "/dist"},
		{syscall.SIGINT, 130, "/a/b/dist"},
		{syscall.SIGHUP, 129, "/empty"},
	} {
		t.Run(tt.signal.String(), func(t *testing.T) {
			t.Parallel()
			s := newSandbox(t)
			s.must(`mkdir /empty; mkfifo copying`)
			// copies, says so, and is not done before the test is
			s.write("nix/profile/bin/cp", `#!/bin/bash
/bin/cp "$@"
exec >/proj/copying
echo copied
exec sleep 1000
`)
			before := s.tree("")
			var copying *os.File
			r := run(t.Context(), s.root, nil, func(p *os.Process) {
				var err error
				if copying, err = os.Open(filepath.Join(s.root, "proj/copying")); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(copying, make([]byte, len("copied\n"))); err != nil {
					t.Error(err)
				}
				if err := p.Signal(tt.signal); err != nil {
					t.Error(err)
				}
			}, "export-profile", tt.root, "hello")
			defer copying.Close()
			// its end comes when cp is gone
			if rest, err := io.ReadAll(copying); err != nil || len(rest) > 0 {
				t.Errorf("cp says %q, %v", rest, err)
			}
			if want := "export-profile: interrupted; " + tt.root + " is as it was\n"; r.code != tt.code || r.stderr != want {
				t.Errorf("exit code %d, stderr %q, want %d, %q", r.code, r.stderr, tt.code, want)
			}
			if diff := cmp.Diff(before, s.tree("")); diff != "" {
				t.Errorf("left behind (-before +after):\n%s", diff)
			}
		})
	}
}

// Processes are started for folders, not for files.
func TestExportManyFiles(t *testing.T) {
	s := newSandbox(t)
	s.write("nix/profile/bin/ln", `#!/bin/sh
echo >> /proj/calls
exec /bin/ln "$@"
`)
	s.must(`
		mkdir -p many/share/few many/share/lots
		(cd many/share/few; seq 400 | xargs touch)
		(cd many/share/lots; seq 1600 | xargs touch)
		export-profile /dist $(nix-store --add many)`)
	if got := s.must(`find /dist/nix/profile/share -type l | wc -l`); got != "2000" {
		t.Errorf("%s links, want 2000", got)
	}
	if got := s.must(`wc -l < calls`); got != "2" && got != "3" {
		t.Errorf("ln was called %s times for 2 folders", got)
	}
}
