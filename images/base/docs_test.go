package base_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	fromBase = regexp.MustCompile(`^FROM \S+ AS build$`)
	starts   = regexp.MustCompile(`(?m)^CMD \[`)
)

// instructions returns a Dockerfile's lines without what differs from use to use:
// comments, arguments, blank lines and the name of the base image.
func instructions(text string) (lines []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "ARG ") {
			continue
		}
		lines = append(lines, fromBase.ReplaceAllString(line, "FROM the base AS build"))
	}
	return lines
}

// The Dockerfile of the example, which a container test builds and starts, is the
// one that README.md and export-profile show.
func TestOneDockerfile(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	example := read("../../examples/hello/Dockerfile")
	if !starts.MatchString(example) {
		t.Error("the example does not say what the image starts")
	}
	for name, shown := range map[string]*regexp.Regexp{
		"../../README.md":    regexp.MustCompile("(?s)```\n(FROM .*?)```"),
		"bin/export-profile": regexp.MustCompile(`(?s)\n(  FROM .*?)\nROOT gets`),
	} {
		found := shown.FindStringSubmatch(read(name))
		if found == nil {
			t.Errorf("%s has no Dockerfile", name)
			continue
		}
		if diff := cmp.Diff(instructions(example), instructions(found[1])); diff != "" {
			t.Errorf("the Dockerfile of %s (-examples/hello +there):\n%s", name, diff)
		}
	}
}
