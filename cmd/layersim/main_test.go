package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/layersim"
)

func TestRun(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run([]string{"--graph", "miniature", "--limit", "20"}, &stdout, &stderr); code != 0 || strings.Count(stdout.String(), "### miniature, ") != 3 {
		t.Errorf("code %d, %s%s", code, stdout.String(), stderr.String())
	}
	if code := run([]string{"--graph", "none"}, &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), "desktop") {
		t.Errorf("code %d, %s", code, stderr.String())
	}
}

func TestReleases(t *testing.T) {
	const text = `tool (1:2.0-1) unstable; urgency=medium

  * New version.

 -- Ada Example <ada@example.org>  Sat, 20 Aug 2022 00:30:00 +0200

tool (1:1.0-1) unstable; urgency=medium

 -- Ada Example <ada@example.org>  Sun, 1 Aug 2021 10:00:00 +0000
`
	want := []layersim.Release{{Source: "tool", Day: "2022-08-19", Suite: "unstable", Version: "1:2.0-1"}}
	if diff := cmp.Diff(want, releases("tool", []byte(text), since.Add(time.Hour))); diff != "" {
		t.Errorf("releases (-want +got):\n%s", diff)
	}
}
