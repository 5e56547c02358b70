package base_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tmateStandIn writes down how it is called and answers as tmate does. The file
// clients has the numbers of connected clients it is to report, one per line;
// at its end the session is over.
const tmateStandIn = `#!/bin/bash
[ "$1" = -S ] || exit 99
socket=$2
shift 2
echo "$*" >> /proj/calls
case "$*" in
new-session*) [ ! -e /proj/broken ] || { echo "tmate: no terminal" >&2; exit 1; } ;;
wait*) [ ! -e /proj/unreachable ] || exec cat /proj/never ;;
*tmate_num_clients*)
	read -r line < /proj/clients || exit 1
	sed -i 1d /proj/clients
	echo "$line" ;;
*"{tmate_ssh}"*) echo "ssh token@example.org" ;;
*"{tmate_web}"*) echo "https://example.org/t/token" ;;
display*) echo ;;
esac
`

// newTmateSandbox has a tmate that reports so many clients, and no time passes in it.
func newTmateSandbox(t *testing.T, clients ...string) sandbox {
	t.Helper()
	s := toolSandbox(t)
	s.write("nix/profile/bin/tmate", tmateStandIn)
	s.write("nix/profile/bin/sleep", "#!/bin/sh\necho sleep \"$*\" >> /proj/calls\n")
	s.write("proj/clients", strings.Join(append(clients, ""), "\n"))
	return s
}

func (s sandbox) calls() []string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.root, "proj/calls"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

func count(list []string, want string) int {
	n := 0
	for _, s := range list {
		if s == want {
			n++
		}
	}
	return n
}

func TestStartTmate(t *testing.T) {
	zeros := strings.Fields(strings.Repeat("0 ", 100))
	tests := []struct {
		name, run string
		clients   []string
		polls     int
		stderr    string
	}{
		{"nobody comes", `start-tmate 3`, zeros, 3, "start-tmate: nobody has been connected for 3 s, so the session ends\n"},
		{"by default after a minute", `start-tmate`, zeros, 60, "start-tmate: nobody has been connected for 60 s, so the session ends\n"},
		{"somebody comes and goes", `start-tmate 3`, []string{"0", "0", "1", "2", "0", "1", "0", "0", "0", "0"}, 9, "start-tmate: nobody has been connected for 3 s, so the session ends\n"},
		{"clients are not counted yet", `start-tmate 3`, []string{"", "", "1", "0", "0", "0"}, 6, "start-tmate: nobody has been connected for 3 s, so the session ends\n"},
		{"somebody leaves the shell", `start-tmate 3`, []string{"1", "1"}, 3, "start-tmate: the session was ended\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newTmateSandbox(t, tt.clients...)
			r := s.do(tt.run)
			if r.code != 0 || r.stderr != tt.stderr {
				t.Errorf("exit code %d, stderr %q, want 0, %q", r.code, r.stderr, tt.stderr)
			}
			for _, want := range []string{"A session is open in /proj.", "\n  ssh                ssh token@example.org\n", "\n  browser            https://example.org/t/token\n"} {
				if !strings.Contains(r.stdout, want) {
					t.Errorf("stdout lacks %q:\n%s", want, r.stdout)
				}
			}
			if strings.Contains(r.stdout, "to watch") {
				t.Errorf("an address that there is not:\n%s", r.stdout)
			}
			calls := s.calls()
			if got := count(calls, "sleep 1"); got != tt.polls {
				t.Errorf("%d s passed, want %d", got, tt.polls)
			}
			if diff := cmp.Diff([]string{"new-session -d", "wait tmate-ready"}, calls[:2]); diff != "" {
				t.Errorf("first calls (-want +got):\n%s", diff)
			}
			if last := calls[len(calls)-1]; last != "kill-server" {
				t.Errorf("last call %q, want kill-server", last)
			}
			if left := s.must(`ls -A /tmp`); left != "" {
				t.Errorf("left in /tmp: %s", left)
			}
		})
	}
}

func TestStartTmateFails(t *testing.T) {
	tests := []struct {
		name, run string
		code      int
		want      []string
	}{
		{"not a number", `start-tmate soon`, 2, []string{"not 'soon'", "usage: start-tmate [maxIdle]"}},
		{"no time at all", `start-tmate 0`, 2, []string{"not '0'"}},
		{"too many arguments", `start-tmate 1 2`, 2, []string{"not '1 2'"}},
		{"no tmate", `PATH=/nowhere /nix/profile/bin/start-tmate`, 1, []string{"there is no tmate in this image", "NIXPKGS_ALLOW_INSECURE=1"}},
		{"tmate does not start", `touch broken; start-tmate`, 1, []string{"tmate: no terminal", "tmate does not start"}},
		{"server out of reach", `touch unreachable; mkfifo never
			printf '#!/bin/sh\n[ "$1" = 30 ] || exit 99\nshift; exec /bin/timeout 0.1 "$@"\n' > /nix/profile/bin/timeout; chmod +x /nix/profile/bin/timeout
			start-tmate`, 1, []string{"was not reached within 30 s", "ssh.tmate.io", ".tmate.conf"}},
		{"interrupted", `printf '#!/bin/sh\nkill -TERM $PPID\n' > /nix/profile/bin/sleep; start-tmate`, 143, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newTmateSandbox(t, "0", "0")
			r := s.do(tt.run)
			if r.code != tt.code {
				t.Errorf("exit code %d, want %d", r.code, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("stderr lacks %q:\n%s", want, r.stderr)
				}
			}
			if calls := s.calls(); len(calls) > 0 && calls[len(calls)-1] != "kill-server" {
				t.Errorf("tmate runs on; calls %q", calls)
			}
			if left := s.must(`ls -A /tmp`); left != "" {
				t.Errorf("left in /tmp: %s", left)
			}
		})
	}
}

func TestBashTmate(t *testing.T) {
	tests := []struct {
		name, run string
		code      int
		stdout    string
		session   bool
	}{
		{"success", `bash-tmate -c 'echo fine'`, 0, "fine\n", false},
		{"failure", `bash-tmate -c 'echo bad; exit 7'`, 7, "bad\n", true},
		{"the first command that fails ends the script", `bash-tmate -c 'false; echo on'`, 1, "", true},
		{"also in a pipe", `bash-tmate -c 'sh -c "exit 5" | cat; echo on'`, 5, "", true},
		{"a file with arguments", `printf 'echo "$0 $@"; exit 3' > script; bash-tmate ./script "a b" c`, 3, "./script a b c\n", true},
		{"options of its own", `bash-tmate -e -o pipefail -c 'exit 4'`, 4, "", true},
		{"long options", `bash-tmate --noprofile --norc --rcfile /nowhere -c 'exit 4'`, 4, "", true},
		{"standard input", `printf 'echo in\nexit 6\n' | bash-tmate`, 6, "in\n", true},
		{"killed", `bash-tmate -c 'kill -KILL $$'`, 137, "", true},
		{"no such command", `bash-tmate -c nonsense`, 127, "", true},
		{"version", `bash-tmate --version | sed 's/,.*//;q'`, 0, "GNU bash\n", false},
		{"no session to be had", `touch broken; bash-tmate -c 'exit 7'`, 7, "", true},
		{"stopped", `bash-tmate -c 'kill -TERM $PPID; exit 1'`, 143, "", false},
		{"interrupted", `bash-tmate -c 'kill -INT $PPID; exit 1'`, 130, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newTmateSandbox(t)
			r := s.do(tt.run)
			if r.code != tt.code || r.stdout != tt.stdout {
				t.Errorf("exit code %d, stdout %q, want %d, %q\n%s", r.code, r.stdout, tt.code, tt.stdout, r.stderr)
			}
			if got := len(s.calls()) > 0; got != tt.session {
				t.Errorf("session: %v, want %v\n%s", got, tt.session, r.stderr)
			}
			if tt.session && !strings.Contains(r.stderr, "bash-tmate: exit code ") {
				t.Errorf("stderr does not say why:\n%s", r.stderr)
			}
		})
	}
}

func TestBashTmateSession(t *testing.T) {
	s := newTmateSandbox(t, "0", "0", "0", "0")
	r := s.do(`mkdir here; cd here; TMATE_MAX_IDLE=2 bash-tmate -c 'exit 1'`)
	if want := "A session is open in /proj/here."; !strings.Contains(r.stderr, want) {
		t.Errorf("stderr lacks %q:\n%s", want, r.stderr)
	}
	if got := count(s.calls(), "sleep 1"); got != 2 {
		t.Errorf("%d s passed, want 2", got)
	}
}

func TestTmateHelp(t *testing.T) {
	s := toolSandbox(t)
	for _, tt := range []struct{ run, want string }{
		{"start-tmate --help", "usage: start-tmate [maxIdle]\n"},
		{"start-tmate -h", "usage: start-tmate [maxIdle]\n"},
		{"bash-tmate --help", "usage: bash-tmate [argument of bash]…\n"},
	} {
		r := s.do(tt.run)
		if r.code != 0 || r.stderr != "" || !strings.HasPrefix(r.stdout, tt.want) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", tt.run, r.code, r.stdout, r.stderr)
		}
	}
}
