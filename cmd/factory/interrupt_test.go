package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/standin"
)

// An interrupt, wherever it comes, is told once and truly, and is nobody's
// failure: nothing of it is reported, recorded or sent to webhooks.
func TestInterrupted(t *testing.T) {
	f, err := prepare()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, at string // part of the path whose request is interrupted
		args     []string
		want     string
	}{
		{"asking", "/api/", []string{"run", "--once"}, "asking upstream and the registries"},
		{"source", "/archive/", []string{"run", "--once"}, "building nixos-26.05@[0-9a-f]{12}"},
		{"closure", "/cache/nar/", []string{"run", "--once"}, "building nixos-26.05@[0-9a-f]{12}"},
		{"plan", "/api/", []string{"plan"}, "asking upstream and the registries"},
		{"rebuild", "/cache/nar/", []string{"rebuild", "--channel", "nixos-26.05"}, "building nixos-26.05@[0-9a-f]{12}"},
		{"build", "/cache/nar/", []string{"build", "--channel", "nixos-26.05", "--system", "aarch64-linux"}, "building nixos-26.05 for aarch64-linux"},
		{"prefetch", "/archive/", []string{"prefetch", "ARCHIVE"}, "reading http.*"},
		{"doctor", "/api/", []string{"doctor"}, "examining.*"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			upstream, err := f.Start(context.Background(), standin.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer upstream.Close()
			told := 0
			hook := newHook(t, &told)
			t.Setenv("HOOK", hook)
			file := writeConfiguration(t, upstream, "notify: [ { urlFrom: HOOK } ]\nchannels: [ { name: nixos-26.05, tags: [ latest ] }, { name: nixos-unstable } ]\n")
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			upstream.Handle(func(_ http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, tt.at) {
					return false
				}
				interrupt()
				<-r.Context().Done()
				return true
			})
			args := append([]string{"--config", file, "--cache-dir", t.TempDir()}, tt.args...)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "ARCHIVE", upstream.Archive()+"/NixOS/nixpkgs/archive/"+upstream.Head("nixos-26.05")+".tar.gz")
			}
			var stdout, stderr bytes.Buffer
			if code := run(ctx, args, &stdout, &stderr); code != exitInterrupted {
				t.Errorf("exit code %d, want %d", code, exitInterrupted)
			}
			lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
			if last := lines[len(lines)-1]; !regexp.MustCompile("^factory: stopped: interrupted while " + tt.want + "$").MatchString(last) {
				t.Errorf("the last line is %q, want %q", last, tt.want)
			}
			for _, wrong := range []string{"canceled", "Nix on PATH", "hint", "level=ERROR", "level=WARN"} {
				if strings.Contains(stderr.String(), wrong) {
					t.Errorf("stderr has %q", wrong)
				}
			}
			if strings.Count(stderr.String(), "factory:") != 1 || told > 0 {
				t.Errorf("%d events were sent, stderr:\n%s", told, &stderr)
			}
			if tt.args[0] == "prefetch" || tt.args[0] == "doctor" {
				return
			}
			var status bytes.Buffer
			run(t.Context(), []string{"--config", file, "status", "--output", "json"}, &status, &stderr)
			if strings.Count(status.String(), `"failure": null`) != 2 {
				t.Errorf("the interrupt was recorded as a failure:\n%s", &status)
			}
			if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "registry", "*")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// What one run says of a failure it says once: in its report, as records of the
// log where that is JSON, as annotations in GitHub Actions.
func TestSaidOnce(t *testing.T) {
	f, err := prepare()
	if err != nil {
		t.Fatal(err)
	}
	upstream, err := f.Start(context.Background(), standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	const what = "no such channel here"
	upstream.Handle(func(w http.ResponseWriter, r *http.Request) bool {
		if agent := r.UserAgent(); !regexp.MustCompile(`^nixpkgs-factory/\S+ \(\+https://`).MatchString(agent) {
			t.Errorf("%s: asked by %q, want the version in it", r.URL.Path, agent)
		}
		if strings.Contains(r.URL.Path, "/archive/") {
			http.Error(w, what, http.StatusNotFound)
			return true
		}
		return false
	})
	file := writeConfiguration(t, upstream, "channels: [ { name: nixos-26.05 } ]\n")
	for _, tt := range []struct {
		name, actions string
		args          []string
		want          string // a line of stderr
	}{
		{"report", "", nil, `^factory: nixos-26.05@[0-9a-f]{12}: source: .*404`},
		{"records", "", []string{"--log-format", "json"}, `^\{.*"level":"ERROR","msg":"failed","error":"nixos-26.05@[0-9a-f]{12}: source: .*404`},
		{"annotations", "true", nil, `^::error title=nixos-26.05@[0-9a-f]{12}::source: .*404`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("GITHUB_ACTIONS", tt.actions)
			var stdout, stderr bytes.Buffer
			args := append(tt.args, "--config", file, "--cache-dir", t.TempDir(), "run", "--once")
			if code := run(t.Context(), args, &stdout, &stderr); code != exitFailed {
				t.Errorf("exit code %d", code)
			}
			if !regexp.MustCompile("(?m)" + tt.want).MatchString(stderr.String()) {
				t.Errorf("no line like %s", tt.want)
			}
			if n := strings.Count(stderr.String(), "404"); n != 1 || t.Failed() {
				t.Errorf("the failure is said %d times:\n%s", n, &stderr)
			}
		})
	}
}

// newHook starts a webhook that counts what it is told.
func newHook(t *testing.T, told *int) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { *told++ }))
	t.Cleanup(server.Close)
	return server.URL
}
