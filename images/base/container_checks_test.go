package base_test

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/containertest"
)

// A check is a script for the sh of a container. It ends at the first command
// that fails.
type check struct {
	name, script string
	want         string // all of standard output but for the end of the last line
	like         string // or an expression that matches it
	code         int
}

// runChecks runs all scripts one after the other by a single command, then
// judges each in a subtest. The command is theirs, but for its arguments.
func runChecks(t *testing.T, c containertest.Container, with containertest.Command, checks []check) {
	t.Helper()
	with.Args = []string{"sh", "-c", joined(checks)}
	r := c.Exec(t, with)
	for i, tt := range checks {
		t.Run(tt.name, func(t *testing.T) {
			stdout, code, ok := section(r.Stdout, i)
			if !ok {
				t.Fatalf("did not run; exit code of all %d\n%s", r.Code, tail(r.Stderr))
			}
			stderr, _, _ := section(r.Stderr, i)
			good := stdout == tt.want
			if tt.like != "" {
				good = regexp.MustCompile(tt.like).MatchString(stdout)
			}
			if !good || code != fmt.Sprint(tt.code) {
				t.Errorf("%s\nexit code %s, prints %q, want %d, %q\n%s", tt.script, code, stdout, tt.code, tt.want+tt.like, stderr)
			}
		})
	}
}

// joined is a script that runs those of the checks and marks on both outputs
// where each begins and ends.
func joined(checks []check) string {
	var b strings.Builder
	b.WriteString("mark() { echo; echo \"@@@ $*\"; echo >&2; echo \"@@@ $*\" >&2; }\n")
	for i, c := range checks {
		fmt.Fprintf(&b, "mark begin %d\nsh -ec %s </dev/null\nmark end %d $?\n", i, quoted(c.script), i)
	}
	return b.String()
}

// section returns what a check printed, and its exit code.
func section(output string, i int) (text, code string, ok bool) {
	_, text, ok = strings.Cut(output, fmt.Sprintf("\n@@@ begin %d\n", i))
	if !ok {
		return "", "", false
	}
	text, rest, ok := strings.Cut("\n"+text, fmt.Sprintf("\n@@@ end %d ", i))
	code, _, _ = strings.Cut(rest, "\n")
	return strings.TrimSuffix(strings.TrimPrefix(text, "\n"), "\n"), code, ok
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// tail returns the last lines of a text.
func tail(s string) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "")
}

// must runs a script that has to work and returns the lines that it prints, sorted.
func must(t *testing.T, c containertest.Container, with containertest.Command, script string) []string {
	t.Helper()
	with.Args = []string{"sh", "-ec", script}
	r := c.Exec(t, with)
	if r.Code != 0 {
		t.Fatalf("%s\nexit code %d\n%s%s", script, r.Code, r.Stdout, r.Stderr)
	}
	lines := strings.Split(strings.TrimSpace(r.Stdout), "\n")
	slices.Sort(lines)
	return lines
}

// TestCheckSections shows that runChecks sees what it is for: a section is what one
// check printed and how it ended, whatever the others do.
func TestCheckSections(t *testing.T) {
	checks := []check{{script: "echo one; echo 'it'\"'\"'s'; exit 3; echo never"}, {script: "printf two >&2"}, {script: "if"}, {script: "false; echo never"}, {script: "printf three"}}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", joined(checks))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := []struct{ stdout, stderr, code string }{{"one\nit's", "", "3"}, {"", "two", "0"}, {"", "?", "2"}, {"", "", "1"}, {"three", "", "0"}}
	for i, w := range want {
		out, code, ok := section(string(stdout), i)
		trouble, _, _ := section(stderr.String(), i)
		if !ok || out != w.stdout || code != w.code || (w.stderr != "?" && trouble != w.stderr) {
			t.Errorf("section %d is %q, %q, %s, %v, want %q, %q, %s", i, out, trouble, code, ok, w.stdout, w.stderr, w.code)
		}
	}
	if _, _, ok := section(string(stdout), len(want)); ok {
		t.Error("there is a section for a check that was not there")
	}
}
