package containertest

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Docker returns the Docker engine, for what no other engine here can do. The test
// is skipped where none answers.
func Docker(t testing.TB) Engine {
	t.Helper()
	d, ok := findDocker(t)
	if !ok {
		t.Skip("no Docker engine answers")
	}
	return d
}

// A Service is a container of Docker that runs what its image says, and is removed
// when the test ends.
type Service struct{ dockerContainer }

// Serve starts a container in the background, with flags of docker run, and with
// args in the place of the image's command if there are any.
func Serve(t testing.TB, image string, flags []string, args ...string) Service {
	t.Helper()
	id := do(t, slices.Concat([]string{"docker", "run", "--detach", "--label", mark + "=" + newTag()}, flags, []string{image}, args)...)
	later(t, "docker", "container", "rm", "--force", "--volumes", id)
	return ServiceOf(id)
}

// ServiceOf is a container that somebody else started, and removes.
func ServiceOf(id string) Service { return Service{dockerContainer{id: id}} }

// Logs returns what the container has printed until now.
func (s Service) Logs(t testing.TB) string {
	t.Helper()
	r, err := run(t.Context(), "", "docker", "logs", s.id)
	if err != nil || r.Code != 0 {
		t.Fatalf("docker logs: exit code %d, %v\n%s", r.Code, err, r.Stderr)
	}
	return r.Stdout + r.Stderr
}

// Address returns where a port of the container is on this machine.
func (s Service) Address(t testing.TB, port string) string {
	t.Helper()
	first, _, _ := strings.Cut(do(t, "docker", "port", s.id, port), "\n")
	return first
}

// Get asks for a page of the container until there is an answer, unless the
// container ends first.
func (s Service) Get(t testing.TB, port, page string) (status int, body string) {
	t.Helper()
	url := "http://" + s.Address(t, port) + page
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		response, err := http.Get(url)
		if err == nil {
			text, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err == nil {
				return response.StatusCode, string(text)
			}
		}
		if do(t, "docker", "inspect", "--format", "{{.State.Running}}", s.id) != "true" {
			t.Fatalf("%s: the container has ended:\n%s", url, s.Logs(t))
		}
	}
	t.Fatalf("%s: no answer\n%s", url, s.Logs(t))
	return 0, ""
}

// Stop asks the container to end, and returns the exit code that it ended with.
func (s Service) Stop(t testing.TB) int {
	t.Helper()
	do(t, "docker", "stop", s.id)
	code, err := strconv.Atoi(do(t, "docker", "inspect", "--format", "{{.State.ExitCode}}", s.id))
	if err != nil {
		t.Fatal(err)
	}
	return code
}
