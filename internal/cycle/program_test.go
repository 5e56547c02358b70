package cycle_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var programs string // folder of the built program, "" as long as there is none

func TestMain(m *testing.M) {
	code := m.Run()
	if programs != "" {
		os.RemoveAll(programs)
	}
	os.Exit(code)
}

// built is the program as users have it, without the race detector.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "factory-test-")
	if err != nil {
		return "", err
	}
	programs = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "factory"), "../../cmd/factory")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-race=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return filepath.Join(dir, "factory"), nil
})

func program(t testing.TB) string {
	t.Helper()
	file, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// process is a run of the program.
type process struct {
	*exec.Cmd
	stdout, stderr bytes.Buffer
}

// command is the program with the world's configuration. before are commands
// that run it, such as setpriv with its options.
func (w *world) command(before []string, args ...string) *process {
	w.t.Helper()
	line := append(append(before, program(w.t), "--config", filepath.Join(w.dir, "channels.yaml")), args...)
	p := &process{Cmd: exec.Command(line[0], line[1:]...)}
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	p.Dir = w.dir
	p.Env = append(os.Environ(), "HOME="+w.dir, "DOCKER_CONFIG="+w.dir)
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return p
}

// succeeds runs the program to its end, which has to be a good one.
func (p *process) succeeds(t testing.TB) {
	t.Helper()
	if err := p.Run(); err != nil {
		t.Fatalf("%v: %v\n%s%s", p.Args, err, &p.stdout, &p.stderr)
	}
}

func (p *process) start(t testing.TB) {
	t.Helper()
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill() })
}

// ends waits for the program and returns its exit code, -1 if a signal ended it.
func (p *process) ends(t testing.TB, within time.Duration) int {
	t.Helper()
	timer := time.AfterFunc(within, func() { p.Process.Signal(syscall.SIGQUIT) })
	err := p.Wait()
	if !timer.Stop() {
		t.Fatalf("did not end within %s:\n%s", within, &p.stderr)
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

// holds makes the upstream keep requests waiting that match. reached is closed
// when there is one, letGo lets them go on.
func (w *world) holds(match func(path string) bool) (reached <-chan struct{}, letGo func()) {
	at, freed := make(chan struct{}), make(chan struct{})
	var once, twice sync.Once
	remove := w.upstream.Handle(func(_ http.ResponseWriter, r *http.Request) bool {
		if !match(r.URL.Path) {
			return false
		}
		once.Do(func() { close(at) })
		select {
		case <-freed:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
		return false
	})
	letGo = func() { twice.Do(func() { remove(); close(freed) }) }
	w.t.Cleanup(letGo)
	return at, letGo
}

func aNAR(path string) bool { return strings.HasPrefix(path, "/cache/nar/") }

// waitFor waits for a channel to be closed.
func waitFor(t testing.TB, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatalf("%s: not within a minute", what)
	}
}
