package workflows

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rhysd/actionlint"
)

// lint reports what actionlint, and shellcheck for the scripts in it, find.
func lint(t *testing.T, file string, settings string) {
	t.Helper()
	config := filepath.Join(t.TempDir(), "actionlint.yaml")
	if err := os.WriteFile(config, []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	linter, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{Shellcheck: shellcheck(t), ConfigFile: config})
	if err != nil {
		t.Fatal(err)
	}
	problems, err := linter.Lint(file, readFile(t, file), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s", p)
	}
}

func shellcheck(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skip("shellcheck is not installed (Debian package shellcheck)")
	}
	return program
}

func TestWorkflowsAreSound(t *testing.T) {
	for _, file := range workflowFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) { lint(t, file, "{}") })
	}
}

// The linter of this test finds mistakes: in the workflow, in inputs of actions,
// in expressions and in scripts.
func TestLintFinds(t *testing.T) {
	program := shellcheck(t)
	for name, text := range map[string]string{
		"key":        "on: push\njobs: { a: { runs-on: ubuntu-24.04, stepz: [] } }\n",
		"input":      "on: push\njobs: { a: { runs-on: ubuntu-24.04, steps: [ { uses: actions/checkout@v6, with: { paht: x } } ] } }\n",
		"expression": "on: push\njobs: { a: { runs-on: ubuntu-24.04, steps: [ { run: true, if: steps.none.outputs.x } ] } }\n",
		"script":     "on: push\njobs: { a: { runs-on: ubuntu-24.04, steps: [ { run: 'rm $GITHUB_ENV/$x' } ] } }\n",
	} {
		t.Run(name, func(t *testing.T) {
			linter, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{Shellcheck: program})
			if err != nil {
				t.Fatal(err)
			}
			if problems, err := linter.Lint("w.yml", []byte(text), nil); err != nil || len(problems) == 0 {
				t.Errorf("Lint(%q) = %v, %v, want a problem", text, problems, err)
			}
		})
	}
}

// checkScript reports what shellcheck finds in a script.
func checkScript(t *testing.T, shell, script string) {
	t.Helper()
	cmd := exec.Command(shellcheck(t), "--shell", shell, "-")
	cmd.Stdin = bytes.NewReader([]byte(script))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("shellcheck: %v\n%s", err, out)
	}
}
