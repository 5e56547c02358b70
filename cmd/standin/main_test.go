package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/nixpkgs-factory/factory/internal/standin"
)

// TestMain is, when asked so by its environment, the command itself.
func TestMain(m *testing.M) {
	if os.Getenv("STANDIN_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// TestServe starts the command as a user does, talks to it and stops it.
func TestServe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "channels.yaml")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "--addr", "127.0.0.1:0", "--channels-yaml", file,
		"--system", "x86_64-linux,aarch64-linux", "--publish", "127.0.0.1:5000/org", "--image", "/images/base")
	cmd.Env = append(os.Environ(), "STANDIN_TEST_MAIN=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var at addresses
	if err := json.NewDecoder(stdout).Decode(&at); err != nil {
		t.Fatal(err)
	}
	if len(at.Channels) != 2 || len(at.Channels[0].Revs) < 4 {
		t.Fatalf("channels are %v", at.Channels)
	}
	checkChannelsYAML(t, file, at)

	channel := at.Channels[0]
	addr := strings.TrimPrefix(at.URL, "http://")
	var out bytes.Buffer
	if code := run([]string{"set-head", "--addr", addr, channel.Name, "next"}, &out, t.Output()); code != 0 || out.String() != channel.Revs[3]+"\n" {
		t.Errorf("set-head next: exit %d, output %q, want %s", code, &out, channel.Revs[3])
	}
	if code := run([]string{"set-head", "--addr", addr, channel.Name, channel.Revs[0]}, &out, t.Output()); code != 0 {
		t.Errorf("set-head %s: exit %d", channel.Revs[0], code)
	}
	if head := headOf(t, at.Control, channel.Name); head != channel.Revs[0] {
		t.Errorf("head is %s, want %s", head, channel.Revs[0])
	}
	var stderr bytes.Buffer
	if code := run([]string{"set-head", "--addr", addr, channel.Name, "none"}, io.Discard, &stderr); code != 1 || !strings.Contains(stderr.String(), `nixos-26.05 never points at "none"`) {
		t.Errorf("set-head none: exit %d, %s", code, &stderr)
	}
	stderr.Reset()
	if code := run([]string{"--addr", addr}, io.Discard, &stderr); code != 1 || !strings.Contains(stderr.String(), "address already in use") {
		t.Errorf("a second one at %s: exit %d, %s", addr, code, &stderr)
	}

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(stdout); err != nil || len(bytes.TrimSpace(rest)) != 0 {
		t.Errorf("more output: %q, %v", rest, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	stderr.Reset()
	if code := run([]string{"set-head", "--addr", addr, channel.Name, "next"}, io.Discard, &stderr); code != 1 {
		t.Errorf("set-head with nobody there: exit %d, %s", code, &stderr)
	}
}

func checkChannelsYAML(t *testing.T, file string, at addresses) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := yaml.Unmarshal(data, &got); err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	want := map[string]any{
		"upstream":     map[string]any{"repository": "NixOS/nixpkgs", "api": at.API, "archive": at.Archive},
		"substituters": []any{map[string]any{"url": at.Cache, "keys": []any{at.PublicKey}}},
		"publish":      []any{map[string]any{"to": "127.0.0.1:5000/org"}},
		"images":       []any{map[string]any{"folder": "/images/base"}},
		"systems":      []any{"x86_64-linux", "aarch64-linux"},
		"schedule":     "* * * * *",
		"channels": []any{
			map[string]any{"name": "nixos-26.05", "tags": []any{"latest"}},
			map[string]any{"name": "nixos-unstable"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("channels.yaml (-want +got):\n%s", diff)
	}
}

func headOf(t *testing.T, url, channel string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var states []standin.ChannelState
	if err := json.NewDecoder(resp.Body).Decode(&states); err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		if s.Name == channel {
			return s.Head
		}
	}
	return ""
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string
	}{
		{name: "help", args: []string{"--help"}, stdout: "standin set-head nixos-26.05 next"},
		{name: "help of set-head", args: []string{"set-head", "--help"}, stdout: "The word next"},
		{name: "unknown flag", args: []string{"--port", "1"}, code: 2, stderr: "unknown flag: --port"},
		{name: "unknown command", args: []string{"serve"}, code: 2, stderr: `unknown command "serve"`},
		{name: "few arguments", args: []string{"set-head", "nixos-26.05"}, code: 2, stderr: "want 2 arguments, got 1"},
		{name: "bad address", args: []string{"set-head", "--addr", "%", "c", "next"}, code: 2, stderr: "invalid URL escape"},
		{name: "no place to keep it", args: []string{"--cache", "/dev/null/x"}, code: 1, stderr: "/dev/null"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(c.args, &stdout, &stderr); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("stdout %q, stderr %q; want %q, %q in them", &stdout, &stderr, c.stdout, c.stderr)
			}
		})
	}
}
