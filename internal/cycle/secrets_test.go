package cycle_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// What must be nowhere.
const (
	secretToken    = "ghp_0dWlUR8tTlPwnQvA5yL7kXb3mZcE1sF9hJ2g"
	secretPassword = "correct-horse-battery-staple"
)

// htpasswd has the user ann, with secretPassword.
const htpasswd = "ann:$2b$05$abcdefghijklmnopqrstuu85MXjg6exOQL.AXFImpsqFFSBHJgLRe"

// TestSecrets: no token and no password is in what the program prints, writes or
// publishes, nor in the arguments or environment of what it runs. All goes well,
// or the credentials are refused, or what they are sent to fails.
func TestSecrets(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name        string
		code        int
		user, token string
		api         http.HandlerFunc // nil: all is well
		want        []string
	}{
		{name: "all is well", user: "ann", token: secretToken},
		{name: "wrong user", code: 1, user: "bob", token: secretToken, want: []string{"401"}},
		{name: "wrong token", code: 1, user: "ann", token: secretToken + "x", want: []string{"401"}, api: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(401)
			fmt.Fprint(w, `{"message": "Bad credentials"}`)
		}},
		{name: "API redirects elsewhere", code: 1, user: "ann", token: secretToken, api: func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				w.WriteHeader(500) // whoever is asked without a token
				return
			}
			http.Redirect(w, r, "http://localhost:1/elsewhere?token="+secretToken, http.StatusFound)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, settings{channels: onlyRelease, publish: []string{
				registrytest.Start(t, registrytest.Options{Htpasswd: htpasswd}) + "/org", "oci:registry",
			}})
			if tc.api != nil {
				w.upstream.Handle(func(rw http.ResponseWriter, r *http.Request) bool {
					if !strings.HasPrefix(r.URL.Path, "/api/") {
						return false
					}
					tc.api(rw, r)
					return true
				})
			}
			bin, spied := spies(t, w.dir)
			p := w.command(nil, "run", "--once", "--verbose", "--log-format", "json", "--output", "json")
			p.Env = append(p.Env, "GITHUB_TOKEN="+tc.token, "REGISTRY_USER="+tc.user, "REGISTRY_PASSWORD="+secretPassword,
				"PATH="+bin+":"+os.Getenv("PATH"))
			p.start(t)
			if code := p.ends(t, 60e9); code != tc.code {
				t.Errorf("exit code %d, want %d\n%s", code, tc.code, &p.stderr)
			}
			contains(t, "stderr", p.stderr.String(), tc.want...)
			noSecrets(t, "stdout", p.stdout.Bytes())
			noSecrets(t, "stderr", p.stderr.Bytes())
			told := spied()
			noSecrets(t, "arguments and environment of Nix", told)
			seen := files(t, w.dir)
			for _, file := range seen {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				noSecrets(t, file, data)
				if zr, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
					plain, _ := io.ReadAll(zr)
					noSecrets(t, file+" (unpacked)", plain)
				}
			}
			if runs := bytes.Count(told, []byte("SPIED")); tc.code == 0 && (runs < 3 || len(seen) < 25) {
				t.Errorf("%d runs of Nix were spied on and %d files looked through: this shows nothing", runs, len(seen))
			}
		})
	}
}

// TestEnvironmentIsTaken: what the factory runs has no secret in its environment,
// and finds none in the factory's own, as the kernel shows it.
func TestEnvironmentIsTaken(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"", "65534"} {
		t.Run("user "+user, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, settings{channels: onlyRelease, image: copyImage(t)})
			file := filepath.Join(w.dir, "channels.yaml")
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, `verify: [ 'env > seen; cat /proc/$PPID/environ >> seen; tr "\\0" "\\n" < /proc/$PPID/cmdline > parent' ]
notify: [ { urlFrom: HOOK } ]
`...)
			if err := os.WriteFile(file, text, 0o644); err != nil {
				t.Fatal(err)
			}
			var before []string
			if user != "" {
				if os.Geteuid() != 0 {
					return // it is an ordinary user who runs this
				}
				before = []string{"setpriv", "--reuid", user, "--regid", user, "--clear-groups"}
				if err := os.Chmod(filepath.Dir(w.dir), 0o755); err != nil {
					t.Fatal(err)
				}
				if out, err := exec.Command("chown", "-R", user, w.dir).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			p := w.command(before, "run", "--once")
			p.Env = append(p.Env, "GITHUB_TOKEN="+secretToken, "CACHIX_AUTH_TOKEN="+secretToken, "HOOK=http://127.0.0.1:1/"+secretToken, "VERIFY_THIS=meant for it", "UNKNOWN="+secretToken)
			p.start(t)
			p.ends(t, 60e9) // not well: there is nobody at the webhook's address
			seen, err := os.ReadFile(filepath.Join(w.dir, "seen"))
			if err != nil {
				t.Fatalf("%v\n%s", err, &p.stderr)
			}
			noSecrets(t, "what a command of verify sees", seen)
			contains(t, "what a command of verify sees", string(seen), "VERIFY_THIS=meant for it", "IMAGE=", "PATH=")
			parent, err := os.ReadFile(filepath.Join(w.dir, "parent"))
			if err != nil || !strings.Contains(string(parent), "run\n--once\n") {
				t.Errorf("its parent is %q, %v: this shows nothing", parent, err)
			}
		})
	}
}

func noSecrets(t testing.TB, where string, data []byte) {
	t.Helper()
	for _, secret := range []string{secretToken, secretPassword, "YW5uOmNvcnJlY3Q", "Ym9iOmNvcnJlY3Q"} { // basic authentication, too
		if i := bytes.Index(data, []byte(secret)); i >= 0 {
			t.Errorf("%s has a secret: …%s…", where, data[max(0, i-100):i])
		}
	}
}

// spies makes a folder of programs that tell with which arguments and
// environment Nix is run, and run it. seen ends that and gives what they told.
// They tell it by a pipe: an evaluation may not write to files.
func spies(t testing.TB, dir string) (bin string, seen func() []byte) {
	t.Helper()
	bin, pipe := filepath.Join(dir, "spies"), filepath.Join(dir, "spied")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(pipe, os.O_RDWR, 0) // so that nobody has to wait for us
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nix-instantiate", "nix-store"} {
		real, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		script := fmt.Sprintf("#!/bin/sh\n{ echo SPIED; printf '%%s\\n' \"$@\"; /usr/bin/env; } > %s\nexec %s \"$@\"\n", pipe, real)
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	told := make(chan []byte)
	const end = "that is all\n"
	go func() {
		var all []byte
		buffer := make([]byte, 64<<10)
		for !bytes.HasSuffix(all, []byte(end)) {
			n, err := f.Read(buffer)
			if err != nil {
				break
			}
			all = append(all, buffer[:n]...)
		}
		told <- all
	}()
	return bin, func() []byte {
		io.WriteString(f, end)
		all := <-told
		f.Close()
		os.Remove(pipe)
		return all
	}
}
