package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/fetch/fetchtest"
)

// stuck writes a configuration of which the API does not answer, with a limit of
// one second for a cycle.
func stuck(t *testing.T) string {
	t.Helper()
	api := httptest.NewServer(fetchtest.Hostile(t, fetchtest.Silent))
	t.Cleanup(api.Close)
	image, err := filepath.Abs("../../images/base")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "channels.yaml")
	text := fmt.Sprintf("upstream: { api: %q }\nimages: [ { folder: %q } ]\nlimit: 1s\nschedule: '@every 1h'\nchannels: [ { name: nixos-26.05 } ]\n", api.URL, image)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLimitEndsOneCycle(t *testing.T) {
	t.Parallel()
	file := stuck(t)
	var out, log bytes.Buffer
	code := run(t.Context(), []string{"--config", file, "--cache-dir", t.TempDir(), "run", "--once"}, &out, &log)
	if want := "factory: the cycle took longer than its limit of 1s\n"; code != exitFailed || log.String() != want {
		t.Errorf("exit code %d\n%s\nwant %s", code, log.String(), want)
	}
}

// A cycle that takes too long is ended, and seen by who asks for the health of a daemon.
func TestLimitIsSeenInHealth(t *testing.T) {
	t.Parallel()
	file := stuck(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var log shared
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"--config", file, "--cache-dir", t.TempDir(), "run", "--listen", "127.0.0.1:0"}, &log, &log)
	}()
	address := regexp.MustCompile(`address=(\S+)`)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the limit is not seen:\n%s", log.String())
		}
		at := address.FindStringSubmatch(log.String())
		if at == nil {
			continue
		}
		resp, err := http.Get("http://" + at[1] + "/healthz")
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(text), "cut off: the cycle took longer than its limit of 1s") {
			break
		}
	}
	stop()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d\n%s", code, log.String())
	}
}
