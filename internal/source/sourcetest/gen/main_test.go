package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/source/sourcetest"
)

func TestRun(t *testing.T) {
	var want, stdout, stderr bytes.Buffer
	if err := sourcetest.Write(&want, sourcetest.Options{Files: 50, Bytes: 100_000}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x.tar.gz")
	if code := run([]string{"-files", "50", "-bytes", "100000", "-o", file}, &stdout, &stderr); code != 0 || stdout.Len()+stderr.Len() > 0 {
		t.Fatalf("exit code %d, output %q and %q", code, &stdout, &stderr)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("file has %d bytes (%v), want %d", len(got), err, want.Len())
	}
	if code := run([]string{"-files", "50", "-bytes", "100000"}, &stdout, &stderr); code != 0 || !bytes.Equal(stdout.Bytes(), want.Bytes()) {
		t.Errorf("without -o: exit code %d, %d bytes, want %d", code, stdout.Len(), want.Len())
	}
}

func TestRunFails(t *testing.T) {
	tests := []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{"-size", "1"}, 2, "flag provided but not defined: -size"},
		{[]string{"x.tar.gz"}, 2, "gen: unexpected argument \"x.tar.gz\""},
		{[]string{"-o", "/nonexistent/x.tar.gz"}, 1, "gen: open /nonexistent/x.tar.gz: no such file or directory"},
	}
	for _, tt := range tests {
		var stdout, stderr bytes.Buffer
		if code := run(tt.args, &stdout, &stderr); code != tt.code || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("run(%q) = %d with %q, want %d with %q", tt.args, code, &stderr, tt.code, tt.stderr)
		}
	}
}
