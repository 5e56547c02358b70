package workflows

import (
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// The rules that the workflows keep, beside being sound.
var policy = map[string]func(text string, w workflow) []string{
	"third-party code is pinned by a commit, with its version beside it": pinned,
	"no permissions but those that a job names":                          leastPermissions,
	"runs do not get in each other's way":                                bounded,
	"nothing from outside is put into a script":                          noInjection,
	"credentials stay out of the workspace":                              noCredentialsLeft,
	"a pull request gets no secrets and pushes nothing":                  harmlessPullRequests,
	"schedules keep away from full hours":                                oddMinutes,
}

func TestPolicy(t *testing.T) {
	for _, file := range workflowFiles(t) {
		text, w := string(readFile(t, file)), readWorkflow(t, file)
		for rule, broken := range policy {
			t.Run(filepath.Base(file)+"/"+rule, func(t *testing.T) {
				for _, problem := range broken(text, w) {
					t.Error(problem)
				}
			})
		}
	}
}

var (
	usesLine     = regexp.MustCompile(`(?m)^\s*(?:- )?uses:\s*(.*)$`)
	pinnedAction = regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	pinnedImage  = regexp.MustCompile(`^[\w./:-]+@sha256:[0-9a-f]{64}$`)
)

func pinned(text string, w workflow) (problems []string) {
	for _, m := range usesLine.FindAllStringSubmatch(text, -1) {
		if !pinnedAction.MatchString(m[1]) {
			problems = append(problems, "not pinned as owner/name@commit # vX.Y.Z: "+m[1])
		}
	}
	commits := make(map[string]string)
	for _, j := range w.Jobs {
		for _, s := range j.Steps {
			name, commit, _ := strings.Cut(s.Uses, "@")
			owner := strings.Join(strings.SplitN(name, "/", 3)[:min(2, strings.Count(name, "/")+1)], "/")
			if had, ok := commits[owner]; ok && had != commit {
				problems = append(problems, owner+" is pinned to two commits")
			}
			commits[owner] = commit
		}
		if j.Container != nil && !pinnedImage.MatchString(j.Container.Image) {
			problems = append(problems, "the image of job "+j.ID+" is not pinned by its digest: "+j.Container.Image)
		}
	}
	return problems
}

// ofReleases are what only a workflow for tags may do, which pull requests and pushes do
// not start.
var ofReleases = []string{"contents: write", "id-token: write", "attestations: write"}

func leastPermissions(_ string, w workflow) (problems []string) {
	if w.Permissions == nil || len(*w.Permissions) > 0 {
		problems = append(problems, "want permissions: {} at the top")
	}
	for _, j := range w.Jobs {
		if j.Permissions == nil {
			problems = append(problems, "job "+j.ID+" does not name its permissions")
			continue
		}
		allowed := []string{"contents: read", "packages: read", "packages: write"}
		if onlyTags(w) {
			allowed = append(allowed, ofReleases...)
		}
		if j.Environment.Name == "github-pages" {
			allowed = append(allowed, "pages: write", "id-token: write")
		}
		if strings.Contains(j.If, "vars.COSIGN_KEYLESS == 'true'") {
			allowed = append(allowed, "id-token: write") // it signs by who it is
		}
		for scope, access := range *j.Permissions {
			if !slices.Contains(allowed, scope+": "+access) {
				problems = append(problems, "job "+j.ID+" has the permission "+scope+": "+access)
			}
		}
	}
	return problems
}

// onlyTags tells whether nothing but a tag starts a workflow.
func onlyTags(w workflow) bool {
	var on map[string]map[string][]string
	if w.On.Decode(&on) != nil || len(on) != 1 || len(on["push"]) != 1 {
		return false
	}
	return len(on["push"]["tags"]) > 0
}

func bounded(_ string, w workflow) (problems []string) {
	if w.Concurrency.Group == "" || w.Concurrency.CancelInProgress == "" {
		problems = append(problems, "want a concurrency group, and whether it cancels what runs")
	}
	if w.Defaults.Run.Shell != "bash" { // else a failure within a pipe is none
		problems = append(problems, "want defaults.run.shell: bash")
	}
	for _, j := range w.Jobs {
		if j.Timeout < 1 || j.Timeout > 120 {
			problems = append(problems, "job "+j.ID+" has no timeout-minutes, or one of hours")
		}
		if strings.HasSuffix(j.RunsOn, "-latest") {
			problems = append(problems, "job "+j.ID+" runs on whatever is the latest machine")
		}
		if j.Strategy.Matrix != "" && (j.Strategy.FailFast == nil || *j.Strategy.FailFast) {
			problems = append(problems, "job "+j.ID+" ends when one of its matrix fails (want fail-fast: false)")
		}
	}
	return problems
}

// noInjection: text of a script is code. What comes from outside enters it by the
// environment only.
func noInjection(_ string, w workflow) (problems []string) {
	for _, j := range w.Jobs {
		for _, s := range j.Steps {
			if strings.Contains(s.Run, "${{") {
				problems = append(problems, "job "+j.ID+", step "+s.title()+": an expression in its script (want env)")
			}
			if s.Shell != "" {
				problems = append(problems, "job "+j.ID+", step "+s.title()+": a shell of its own")
			}
		}
	}
	return problems
}

func noCredentialsLeft(_ string, w workflow) (problems []string) {
	for name, value := range w.Env {
		if strings.Contains(value, "secrets.") || strings.Contains(value, "github.token") {
			problems = append(problems, "every step gets the secret "+name)
		}
	}
	for _, j := range w.Jobs {
		for name, value := range j.Env {
			if strings.Contains(value, "secrets.") || strings.Contains(value, "github.token") {
				problems = append(problems, "every step of job "+j.ID+" gets the secret "+name)
			}
		}
		for _, s := range j.Steps {
			if strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["persist-credentials"] != "false" {
				problems = append(problems, "job "+j.ID+" leaves the token in .git (want persist-credentials: false)")
			}
			for name, value := range s.With {
				if strings.Contains(value, "secrets.") {
					problems = append(problems, "job "+j.ID+" gives "+s.Uses+" a secret in "+name)
				}
			}
		}
	}
	return problems
}

// triggers are the events that start a workflow.
func triggers(w workflow) (events []string) {
	switch w.On.Kind {
	case yaml.ScalarNode:
		return []string{w.On.Value}
	case yaml.SequenceNode:
		for _, n := range w.On.Content {
			events = append(events, n.Value)
		}
	case yaml.MappingNode:
		for i := 0; i < len(w.On.Content); i += 2 {
			events = append(events, w.On.Content[i].Value)
		}
	}
	return events
}

func harmlessPullRequests(text string, w workflow) (problems []string) {
	events := triggers(w)
	for _, e := range events {
		if e == "pull_request_target" || e == "workflow_run" || e == "issue_comment" {
			problems = append(problems, "a stranger's "+e+" starts it with secrets")
		}
	}
	if !slices.Contains(events, "pull_request") {
		return problems
	}
	if strings.Contains(text, "secrets.") || strings.Contains(text, "github.token") {
		problems = append(problems, "a pull request gets a credential")
	}
	for _, j := range w.Jobs {
		if j.Permissions == nil {
			continue
		}
		for scope, access := range *j.Permissions {
			if access != "read" {
				problems = append(problems, "a pull request gets "+scope+": "+access)
			}
		}
	}
	return problems
}

func oddMinutes(_ string, w workflow) (problems []string) {
	var on struct{ Schedule []struct{ Cron string } }
	if w.On.Kind == yaml.MappingNode {
		if err := w.On.Decode(&on); err != nil {
			return []string{err.Error()}
		}
	}
	for _, s := range on.Schedule {
		minute, rest, _ := strings.Cut(s.Cron, " ")
		n, err := strconv.Atoi(minute)
		if err != nil || n%2 == 0 || n%5 == 0 || rest == "" {
			problems = append(problems, "the schedule "+s.Cron+" is when everybody's is")
		}
	}
	return problems
}

// Every rule finds what breaks it.
func TestPolicyFinds(t *testing.T) {
	const head = "permissions: {}\nconcurrency: { group: x, cancel-in-progress: false }\ndefaults: { run: { shell: bash } }\n"
	job := func(steps string) string {
		return "on: push\n" + head + "jobs:\n  a:\n    runs-on: ubuntu-24.04\n    timeout-minutes: 5\n    permissions: { contents: read }\n    steps:\n" + steps
	}
	broken := map[string][]string{
		"third-party code is pinned by a commit, with its version beside it": {
			job("      - uses: actions/checkout@v6\n"),
			job("      - uses: actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd\n"),
			job("      - uses: a/b@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v1.0.0\n      - uses: a/b/c@aaaaac2e4500dabe0009e67214ff5f5447ce83dd # v1.0.0\n"),
			"on: push\njobs: { a: { container: { image: debian } } }\n",
		},
		"no permissions but those that a job names": {
			"on: push\njobs: { a: { permissions: {} } }\n",
			"on: push\npermissions: { contents: read }\njobs: { a: { permissions: {} } }\n",
			"on: push\npermissions: {}\njobs: { a: {} }\n",
			"on: push\npermissions: {}\njobs: { a: { permissions: { contents: write } } }\n",
			"on: push\npermissions: {}\njobs: { a: { permissions: { pages: write } } }\n",
			"on: push\npermissions: {}\njobs: { a: { if: github.ref, permissions: { id-token: write } } }\n",
			"on: { push: { tags: [v*], branches: [main] } }\npermissions: {}\njobs: { a: { permissions: { contents: write } } }\n",
			"on: { push: { tags: [v*] }, pull_request: { branches: [main] } }\npermissions: {}\njobs: { a: { permissions: { id-token: write } } }\n",
			"on: { push: { tags: [v*] } }\npermissions: {}\njobs: { a: { permissions: { actions: write } } }\n",
		},
		"runs do not get in each other's way": {
			"on: push\n" + strings.Replace(head, "group: x, ", "", 1) + "jobs: { a: { timeout-minutes: 5 } }\n",
			"on: push\n" + strings.Replace(head, "bash", "sh", 1) + "jobs: { a: { timeout-minutes: 5 } }\n",
			"on: push\n" + head + "jobs: { a: {} }\n",
			"on: push\n" + head + "jobs: { a: { timeout-minutes: 5, runs-on: ubuntu-latest } }\n",
			"on: push\n" + head + "jobs: { a: { timeout-minutes: 5, strategy: { matrix: x } } }\n",
		},
		"nothing from outside is put into a script": {
			job("      - run: echo ${{ github.event.head_commit.message }}\n"),
			job("      - run: echo\n        shell: python\n"),
		},
		"credentials stay out of the workspace": {
			job("      - uses: actions/checkout@v6\n"),
			job("      - uses: a/b@v1\n        with: { token: '${{ secrets.X }}' }\n"),
			"on: push\nenv: { X: '${{ secrets.X }}' }\njobs: {}\n",
			"on: push\njobs: { a: { env: { X: '${{ github.token }}' } } }\n",
		},
		"a pull request gets no secrets and pushes nothing": {
			"on: pull_request_target\njobs: {}\n",
			"on: [ push, pull_request ]\njobs: { a: { env: { X: '${{ secrets.X }}' } } }\n",
			"on: { pull_request: }\njobs: { a: { permissions: { packages: write } } }\n",
		},
		"schedules keep away from full hours": {
			"on: { schedule: [ { cron: '0 * * * *' } ] }\njobs: {}\n",
			"on: { schedule: [ { cron: '*/15 * * * *' } ] }\njobs: {}\n",
			"on: { schedule: [ { cron: '15 * * * *' } ] }\njobs: {}\n",
		},
	}
	for rule, find := range policy {
		for _, text := range broken[rule] {
			var w workflow
			if err := yaml.Unmarshal([]byte(text), &w); err != nil {
				t.Fatalf("%s: %v\n%s", rule, err, text)
			}
			if len(find(text, w)) == 0 {
				t.Errorf("the rule %q does not find what is wrong in\n%s", rule, text)
			}
		}
		if len(broken[rule]) == 0 {
			t.Errorf("no workflow breaks the rule %q", rule)
		}
	}
}

// What publish.yml promises beyond what the rules ask of every workflow.
func TestPublishIsOnlyForTheDefaultBranch(t *testing.T) {
	w := readWorkflow(t, publishYML)
	if slices.Contains(triggers(w), "pull_request") {
		t.Error("publish.yml is started by pull requests")
	}
	if want := "github.event_name == 'schedule' || github.ref_name == github.event.repository.default_branch"; w.Jobs[0].If != want {
		t.Errorf("the first job runs if %q, want %q", w.Jobs[0].If, want)
	}
	for _, j := range w.Jobs[1:] {
		if !slices.Contains(j.Needs, w.Jobs[0].ID) {
			t.Errorf("job %s does not wait for job %s", j.ID, w.Jobs[0].ID)
		}
	}
}

// What publish.yml decides is decided by commands, which have tests of their own.
func TestPublishHasNoScripts(t *testing.T) {
	for _, j := range readWorkflow(t, publishYML).Jobs {
		for _, s := range j.Steps {
			if strings.Count(strings.TrimSpace(s.Run), "\n") > 1 {
				t.Errorf("job %s, step %s: a script of more than two lines", j.ID, s.title())
			}
		}
	}
}

// A compiled factory is found by all jobs under one key, and the key changes with
// everything that is in it.
func TestKeysOfTheFactory(t *testing.T) {
	keys := make(map[string][]string) // jobs
	for _, j := range readWorkflow(t, publishYML).Jobs {
		for _, s := range j.Steps {
			if s.With["path"] == "bin/factory" && strings.HasPrefix(s.With["key"], "factory-") {
				keys[s.With["key"]] = append(keys[s.With["key"]], j.ID)
			}
		}
	}
	if len(keys) != 1 {
		t.Fatalf("the factory has %d keys, want one: %v", len(keys), keys)
	}
	key := slices.Collect(maps.Keys(keys))[0]
	list, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if .Main}}{{$.ImportPath}}{{end}}{{end}}", "../../cmd/factory").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range strings.Fields(string(list)) {
		folder := strings.TrimPrefix(pkg, "github.com/nixpkgs-factory/factory/")
		top, _, _ := strings.Cut(folder, "/")
		if !strings.Contains(key, "'"+folder+"/*") && !strings.Contains(key, "'"+top+"/*") {
			t.Errorf("the key does not change with %s: %s", folder, key)
		}
	}
}

// A rebuild by hand that waits is not replaced by the next hour's run, nor by
// another rebuild: what was asked for is in the name of its group. What is due, by
// hand, has no channel, and the group of the hours.
func TestGroupsOfPublish(t *testing.T) {
	w := readWorkflow(t, publishYML)
	if w.Concurrency.CancelInProgress != "false" {
		t.Error("a run is cancelled by the next one")
	}
	const want = "publish${{ inputs.channel && '-by-hand-' }}${{ inputs.channel }}${{ inputs.channel && inputs.rev }}${{ inputs.channel && inputs.image }}"
	if w.Concurrency.Group != want {
		t.Errorf("the group is %s, want %s", w.Concurrency.Group, want)
	}
}

// A job of the release that may change something runs nothing of this repository, and
// what is made is made by the command that developers run.
func TestRelease(t *testing.T) {
	w := readWorkflow(t, folder+"/release.yml")
	if !onlyTags(w) {
		t.Error("something else than a tag starts it")
	}
	makes := false
	for _, j := range w.Jobs {
		for _, s := range j.Steps {
			makes = makes || s.Run == `make release VERSION="$VERSION"`
			if strings.Contains(strings.TrimSpace(s.Run), "\n") {
				t.Errorf("job %s, step %s: a script", j.ID, s.title())
			}
			if (*j.Permissions)["contents"] == "write" && strings.HasPrefix(s.Uses, "actions/checkout@") {
				t.Errorf("job %s may change the repository and has its code", j.ID)
			}
		}
	}
	if !makes {
		t.Error("make release is not run")
	}
}

// The schedules that people read say the same.
func TestScheduleIsTheConfigurations(t *testing.T) {
	var channels struct{ Schedule string }
	if err := yaml.Unmarshal(readFile(t, root+"/channels.yaml"), &channels); err != nil {
		t.Fatal(err)
	}
	if want := `cron: "` + channels.Schedule + `"`; !strings.Contains(string(readFile(t, publishYML)), want) {
		t.Errorf("publish.yml does not have %s", want)
	}
}

// ci.yml runs what developers run, and nothing else.
func TestCI(t *testing.T) {
	w := readWorkflow(t, ciYML)
	last := w.Jobs[len(w.Jobs)-1].Steps
	if got := last[len(last)-1].Run; got != ".ci/run" {
		t.Errorf("the last step of ci.yml runs %q, want .ci/run", got)
	}
	if !slices.Contains(triggers(w), "pull_request") {
		t.Error("pull requests are not checked")
	}
}

// What is pinned is kept fresh.
func TestDependabot(t *testing.T) {
	var d struct {
		Version int
		Updates []struct {
			Ecosystem string `yaml:"package-ecosystem"`
			Directory string
			Schedule  struct{ Interval string }
			Groups    map[string]struct{ Patterns []string }
		}
	}
	strictly(t, githubDir+"/dependabot.yml", readFile(t, githubDir+"/dependabot.yml"), &d)
	var ecosystems []string
	for _, u := range d.Updates {
		ecosystems = append(ecosystems, u.Ecosystem)
		if u.Directory != "/" || u.Schedule.Interval == "" {
			t.Errorf("%s is not looked at", u.Ecosystem)
		}
	}
	if !slices.Equal(ecosystems, []string{"github-actions", "gomod"}) || d.Version != 2 {
		t.Errorf("version %d looks at %v", d.Version, ecosystems)
	}
}
