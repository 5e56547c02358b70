package run

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What secrets are taken from shows them to nobody, by its environment or its
// memory. The test binary does it, in a process of its own.
func TestTakeSecrets(t *testing.T) {
	const secret = "5f0c3a-taken"
	if os.Getenv("GITHUB_TOKEN") == secret {
		get := TakeSecrets()
		shown, err := os.ReadFile("/proc/self/environ")
		dumpable, _, _ := unix.Syscall(unix.SYS_PRCTL, unix.PR_GET_DUMPABLE, 0, 0)
		fmt.Println("took", get("GITHUB_TOKEN") == secret, get("OTHER"), os.Getenv("OTHER"), os.Getenv("GITHUB_TOKEN") == "",
			err, strings.Contains(string(shown), secret), dumpable)
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestTakeSecrets$")
	cmd.Env = []string{"GITHUB_TOKEN=" + secret, "OTHER=other"}
	out, err := cmd.CombinedOutput()
	if want := "took true other other true <nil> false 0\n"; err != nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("%s%v, want %s", out, err, want)
	}
}
