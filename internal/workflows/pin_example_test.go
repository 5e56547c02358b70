package workflows

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The example that updates nixpkgs commits what factory pin writes, opens a pull
// request once, edits the one that is open, and does nothing where nothing changed.
func TestWorkflowThatPins(t *testing.T) {
	file := examples + "/update-nixpkgs.yml"
	lint(t, file, "")
	w := readWorkflow(t, file)
	var scripts []string
	for _, s := range w.Jobs[0].Steps {
		if s.Uses != "" && (!pinnedAction.MatchString(s.Uses+" # v1.0.0") || s.With["persist-credentials"] == "" && strings.Contains(s.Uses, "checkout")) {
			t.Errorf("%s is not pinned, or leaves a token", s.Uses)
		}
		if s.Run != "" && !strings.HasPrefix(s.Run, "go install ") {
			scripts = append(scripts, s.Run)
		}
	}
	if len(scripts) != 2 {
		t.Fatalf("%d scripts, want 2", len(scripts))
	}

	dir := t.TempDir()
	origin, clone := filepath.Join(dir, "origin"), filepath.Join(dir, "clone")
	log := filepath.Join(dir, "gh.log")
	env := append(os.Environ(),
		"PATH="+stub(t, map[string]string{
			"factory": `case "$*" in
				"pin --output json")
					[ -z "$TO" ] || echo "FROM 127.0.0.1:5000/org/nixpkgs-nixos-26.05:$TO" >Dockerfile
					echo "{\"image\": \"127.0.0.1:5000/org/nixpkgs-nixos-26.05:latest\", \"channel\": \"nixos-26.05\", \"rev\": \"$TO\",
						\"pins\": [{\"file\": \"x.yml\", \"state\": \"left\", \"reason\": \"no\"}, {\"file\": \"Dockerfile\", \"what\": \"image\", \"rev\": \"$WAS\", \"state\": \"pinned\"}]}" ;;
				"diff --output markdown "*) echo "$4 and $5"; [ "$TO" != 3 ] ;;
				esac` + "\n",
			"gh": `echo "$*" >>"$LOG"; case $* in "pr list"*) echo "$OPEN" ;; esac` + "\n",
		})+":"+os.Getenv("PATH"),
		"RUNNER_TEMP="+dir, "LOG="+log, "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1",
	)
	run := func(more []string, script string) {
		t.Helper()
		cmd := exec.Command("bash", "-eo", "pipefail", "-c", script)
		cmd.Env = append(env, more...)
		if cmd.Dir = dir; len(more) > 0 {
			cmd.Dir = clone
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
	}
	run(nil, `git init -q --bare origin && git init -q -b main clone && cd clone && git remote add origin "$PWD/../origin" &&
		echo FROM org/nixpkgs-nixos-26.05:1 >Dockerfile && git add . && git -c user.name=a -c user.email=b commit -qm first`)

	was := strings.Repeat("a", 40)
	const table = "| file | what | was | |\n|---|---|---|---|\n| `x.yml` |  |  | left no |\n"
	const image = "127.0.0.1:5000/org/nixpkgs-nixos-26.05:"
	texts := map[string]string{
		"2": table + "| `Dockerfile` | image | " + was + " | pinned  |\n\n" + image + was + " and " + image + "2\n",
		"3": table + "| `Dockerfile` | image | " + was + " | pinned  |\n\n" + image + was + " and " + image + "3\nThe images cannot be compared.\n",
	}
	for _, c := range []struct{ to, open, called, pushed string }{
		{"", "", "", ""},
		{"2", "", "pr create --head update-nixpkgs --title nixpkgs: nixos-26.05 at 2 --body-file " + dir + "/body", "FROM 127.0.0.1:5000/org/nixpkgs-nixos-26.05:2"},
		{"3", "17", "pr edit 17 --title nixpkgs: nixos-26.05 at 3 --body-file " + dir + "/body", "FROM 127.0.0.1:5000/org/nixpkgs-nixos-26.05:3"},
	} {
		os.Remove(log)
		for _, script := range scripts {
			run([]string{"TO=" + c.to, "OPEN=" + c.open, "WAS=" + was}, script)
		}
		called, _ := os.ReadFile(log) // not there if gh was not called
		if c.called == "" != (len(called) == 0) || !strings.Contains(string(called), c.called) {
			t.Errorf("to %q: gh was called with\n%s\nwant %q", c.to, called, c.called)
		}
		out, err := exec.Command("git", "-C", origin, "show", "update-nixpkgs:Dockerfile").Output()
		if got := strings.TrimSpace(string(out)); got != c.pushed || err != nil && c.pushed != "" {
			t.Errorf("to %q: pushed was %q (%v), want %q", c.to, got, err, c.pushed)
		}
		if c.to == "" {
			continue
		}
		body, err := os.ReadFile(filepath.Join(dir, "body"))
		if err != nil || string(body) != texts[c.to] {
			t.Errorf("to %q: the text of the pull request is\n%s(%v), want\n%s", c.to, body, err, texts[c.to])
		}
	}
}
