package workflows

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// github stands in for GitHub Actions: it runs the jobs of a workflow, in the order
// of their needs, with the scripts of the file and actions that behave as GitHub's.
// Every job has a machine of its own, on which nothing is but what it fetches.
type github struct {
	t       *testing.T
	dir     string // caches and artifacts
	sources string // what actions/checkout copies
	env     []string
	vars    object
	secrets object

	caches []cached
	run    int
}

const runnerToken = "ghs_tokenOfTheJob"

func newGitHub(t *testing.T, sources string) *github {
	t.Helper()
	g := &github{t: t, dir: t.TempDir(), sources: sources, vars: object{}, secrets: object{}}
	// Go finds what it has compiled and fetched, although HOME is another one.
	out, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB").Output()
	if err != nil {
		t.Fatal(err)
	}
	values := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	for i, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB"} {
		g.env = append(g.env, name+"="+values[i])
	}
	return g
}

// event is what starts a workflow.
type event struct {
	name   string
	inputs object
	branch string // "": the default one
}

// outcome is what became of a run.
type outcome struct {
	results map[string]string            // success, failure or skipped by job
	outputs map[string]map[string]string // by job
	ran     []string                     // "job: step", in order, of all steps that ran
	log     string
	summary string
}

// start runs a workflow to its end.
func (g *github) start(file string, e event) outcome {
	g.t.Helper()
	g.run++
	w := readWorkflow(g.t, file)
	r := &running{github: g, event: e, workflow: w, outcome: outcome{
		results: make(map[string]string), outputs: make(map[string]map[string]string),
	}}
	for _, j := range w.Jobs {
		for _, need := range j.Needs {
			if _, ok := r.results[need]; !ok {
				g.t.Fatalf("job %s needs %s, which comes later", j.ID, need)
			}
		}
		if err := r.job(j); err != nil {
			g.t.Fatalf("run %d: job %s: %v\n%s", g.run, j.ID, err, r.log)
		}
	}
	for name, secret := range g.secrets {
		if strings.Contains(r.log+r.summary, text(secret)) {
			g.t.Errorf("run %d shows the secret %s", g.run, name)
		}
	}
	if strings.Contains(r.log+r.summary, runnerToken) {
		g.t.Errorf("run %d shows the job's token", g.run)
	}
	return r.outcome
}

// running is a run.
type running struct {
	*github
	event    event
	workflow workflow
	outcome
}

// contexts are those that every expression can see.
func (r *running) contexts() object {
	branch := r.event.branch
	if branch == "" {
		branch = "main"
	}
	payload := object{"repository": object{"default_branch": "main"}}
	if r.event.name == "schedule" { // that of a schedule may say nothing else
		payload = object{"schedule": "47 * * * *"}
	}
	return object{
		"github": object{
			"server_url": "https://github.com",
			"event_name": r.event.name, "ref_name": branch, "ref": "refs/heads/" + branch, "actor": "ann",
			"repository_owner": "Org", "repository": "Org/images", "token": runnerToken,
			"run_id": float64(1000 + r.run), "run_attempt": float64(1), "sha": strings.Repeat("5e", 20),
			"event": payload,
		},
		"inputs": r.event.inputs, "vars": r.vars,
	}
}

func (r *running) job(j job) error {
	needs := object{}
	for _, need := range j.Needs {
		outputs := object{}
		for k, v := range r.outputs[need] {
			outputs[k] = v
		}
		needs[need] = object{"result": r.results[need], "outputs": outputs}
	}
	contexts := r.contexts()
	contexts["needs"] = needs
	s := scope{contexts: contexts, functions: functions(func() bool {
		return !slices.ContainsFunc(j.Needs, func(need string) bool { return r.results[need] != "success" })
	})}
	run, err := s.condition(j.If)
	if err != nil {
		return err
	}
	if !run {
		r.results[j.ID] = "skipped"
		return nil
	}
	entries := []object{nil}
	if j.Strategy.Matrix != "" {
		if entries, err = matrix(s, j.Strategy.Matrix); err != nil {
			return err
		}
	}
	r.results[j.ID] = "success"
	for _, entry := range entries {
		if err := r.machine(j, contexts, entry); err != nil {
			return err
		}
	}
	return nil
}

// matrix is the list of what a job is run for.
func matrix(s scope, expression string) ([]object, error) {
	v, err := s.evaluate(strings.TrimSuffix(strings.TrimPrefix(expression, "${{"), "}}"))
	if err != nil {
		return nil, err
	}
	include, ok := field(v.(object), "include").([]any)
	if !ok || len(include) == 0 || len(include) > 256 {
		return nil, fmt.Errorf("a matrix of %d entries: %v", len(include), v)
	}
	entries := make([]object, len(include))
	for i, entry := range include {
		entries[i] = entry.(object)
	}
	return entries, nil
}

// functions of expressions. What they need to know of the run is success.
func functions(success func() bool) map[string]func([]any) (any, error) {
	return map[string]func([]any) (any, error){
		"success":   func([]any) (any, error) { return success(), nil },
		"failure":   func([]any) (any, error) { return !success(), nil },
		"always":    func([]any) (any, error) { return true, nil },
		"cancelled": func([]any) (any, error) { return false, nil },
		"fromjson": func(args []any) (v any, err error) {
			err = json.Unmarshal([]byte(text(args[0])), &v)
			return v, err
		},
	}
}

// machine is where a job runs.
type machine struct {
	github    *github
	workspace string
	temp      string
	lacks     string // folder of programs that are not there
	exported  []string
	steps     object
	failed    bool
	log       bytes.Buffer
	contexts  object
}

// machine runs the steps of a job.
func (r *running) machine(j job, contexts, entry object) error {
	dir, err := os.MkdirTemp(r.dir, "machine-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m := &machine{github: r.github, steps: object{}, contexts: maps.Clone(contexts)}
	for at, name := range map[*string]string{&m.workspace: "workspace", &m.temp: "temp", &m.lacks: "lacks"} {
		*at = filepath.Join(dir, name)
		if err := os.Mkdir(*at, 0o755); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "home"), 0o755); err != nil {
		return err
	}
	for _, names := range absent {
		for _, name := range names {
			script := "#!/bin/sh\necho \"" + name + " is not on this machine\" >&2\nexit 127\n"
			if err := os.WriteFile(filepath.Join(m.lacks, name), []byte(script), 0o755); err != nil {
				return err
			}
		}
	}
	m.contexts["matrix"], m.contexts["secrets"], m.contexts["steps"] = entry, r.secrets, m.steps
	m.contexts["runner"] = object{"os": "Linux", "arch": "X64", "temp": m.temp}
	delete(m.contexts, "needs")
	m.contexts["needs"] = contexts["needs"]
	summary := filepath.Join(dir, "summary")
	for _, s := range j.Steps {
		if err := r.step(m, j, s, dir, summary); err != nil {
			return fmt.Errorf("step %q: %w\n%s", s.title(), err, m.log.Bytes())
		}
	}
	r.log += m.log.String()
	if data, err := os.ReadFile(summary); err == nil {
		r.summary += string(data)
	}
	if m.failed {
		r.results[j.ID] = "failure"
	}
	return r.keepOutputs(j, m)
}

// keepOutputs hands on a job's outputs, whatever became of it. One in which a
// secret is seen is dropped, as GitHub does.
func (r *running) keepOutputs(j job, m *machine) error {
	outputs := make(map[string]string)
	for name, template := range j.Outputs {
		value, err := m.scope().fill(template)
		if err != nil {
			return fmt.Errorf("output %s: %w", name, err)
		}
		secret := slices.ContainsFunc(slices.Collect(maps.Values(r.secrets)), func(s any) bool {
			return text(s) != "" && strings.Contains(value, text(s))
		})
		if value != "" && !secret {
			outputs[name] = value
		}
	}
	r.outputs[j.ID] = outputs
	return nil
}

func (m *machine) scope() scope {
	f := functions(func() bool { return !m.failed })
	f["hashfiles"] = m.hashFiles
	return scope{contexts: m.contexts, functions: f}
}

// step runs a step if its condition holds. An error is one of the workflow or of
// this stand-in; a step that fails makes the machine failed.
func (r *running) step(m *machine, j job, s step, dir, summary string) error {
	run, err := m.scope().condition(s.If)
	if err != nil || !run {
		return err
	}
	r.ran = append(r.ran, j.ID+": "+s.title())
	fmt.Fprintf(&m.log, "--- %s: %s\n", j.ID, s.title())
	var outputs map[string]string
	if s.Uses != "" {
		outputs, err = m.use(s)
	} else {
		outputs, err = r.script(m, j, s, dir, summary)
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		fmt.Fprintf(&m.log, "exit code %d\n", exit.ExitCode())
		m.failed = true
	case err != nil:
		return err
	}
	if s.ID != "" {
		values := object{}
		for k, v := range outputs {
			values[k] = v
		}
		m.steps[s.ID] = object{"outputs": values}
	}
	return nil
}

func (m *machine) use(s step) (map[string]string, error) {
	name, _, _ := strings.Cut(s.Uses, "@")
	do, ok := knownActions[name]
	if !ok {
		return nil, fmt.Errorf("the action %s is not known here", name)
	}
	with := make(map[string]string)
	for k, template := range s.With {
		value, err := m.scope().fill(template)
		if err != nil {
			return nil, err
		}
		with[k] = value
	}
	return do(m, with)
}

// script runs what stands in run, the way GitHub runs shell: bash.
func (r *running) script(m *machine, j job, s step, dir, summary string) (map[string]string, error) {
	file := filepath.Join(m.temp, "script.sh")
	if err := os.WriteFile(file, []byte(s.Run), 0o644); err != nil {
		return nil, err
	}
	files := map[string]string{"GITHUB_OUTPUT": filepath.Join(m.temp, "output"), "GITHUB_ENV": filepath.Join(m.temp, "env")}
	env := append(slices.Clone(m.github.env), "PATH="+m.lacks+":"+os.Getenv("PATH"), "HOME="+filepath.Join(dir, "home"),
		"CI=true", "GITHUB_ACTIONS=true", "GITHUB_WORKSPACE="+m.workspace, "RUNNER_TEMP="+m.temp, "GITHUB_STEP_SUMMARY="+summary,
		"GITHUB_SERVER_URL=https://github.com", "GITHUB_ACTOR=ann", "GITHUB_REPOSITORY_OWNER=Org", "GITHUB_REPOSITORY=Org/images", "GITHUB_SHA="+strings.Repeat("5e", 20))
	for name, file := range files {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			return nil, err
		}
		env = append(env, name+"="+file)
	}
	env = append(env, m.exported...)
	for _, settings := range []map[string]string{r.workflow.Env, j.Env, s.Env} {
		for name, template := range settings {
			value, err := m.scope().fill(template)
			if err != nil {
				return nil, err
			}
			env = append(env, name+"="+value)
		}
	}
	cmd := exec.CommandContext(r.t.Context(), "bash", "--noprofile", "--norc", "-eo", "pipefail", file)
	cmd.Dir, cmd.Env = m.workspace, env
	cmd.Stdout, cmd.Stderr = &m.log, &m.log
	failure := cmd.Run()
	exported, err := settings(files["GITHUB_ENV"])
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(exported)) {
		m.exported = append(m.exported, name+"="+exported[name])
	}
	outputs, err := settings(files["GITHUB_OUTPUT"])
	if err != nil {
		return nil, err
	}
	return outputs, failure
}

// settings reads lines of name=value.
func settings(file string) (map[string]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	values := make(map[string]string)
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), "=")
		if !ok || strings.ContainsAny(name, " <") {
			return nil, fmt.Errorf("%s: %q is not name=value", filepath.Base(file), lines.Text())
		}
		values[name] = value
	}
	return values, lines.Err()
}

// hashFiles is a digest of all files of the workspace that fit a pattern.
func (m *machine) hashFiles(patterns []any) (any, error) {
	h := sha256.New()
	err := filepath.WalkDir(m.workspace, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(m.workspace, name)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(patterns, func(p any) bool { return fits(text(p), filepath.ToSlash(rel)) }) {
			return nil
		}
		data, err := os.ReadFile(name)
		fmt.Fprintf(h, "%s %d\n%s", rel, len(data), data)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// fits tells whether a file fits a pattern: a name, or a folder and /**.
func fits(pattern, name string) bool {
	if dir, ok := strings.CutSuffix(pattern, "/**"); ok {
		return strings.HasPrefix(name, dir+"/")
	}
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

func (o outcome) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(o.results)) {
		b.WriteString(name + ": " + o.results[name] + " " + strconv.Quote(fmt.Sprint(o.outputs[name])) + "\n")
	}
	return b.String() + o.log
}
