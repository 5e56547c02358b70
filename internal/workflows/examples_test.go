package workflows

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
	"github.com/nixpkgs-factory/factory/internal/metrics"
)

const examples = root + "/examples"

// programs is where tests keep programs that they compile once.
var programs string

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "workflows-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(programs)
	os.Exit(code)
}

// Every example is known to one of the tests here, or to those of the images.
func TestAllExamplesAreTested(t *testing.T) {
	known := []string{
		"hello/Dockerfile", "hello/default.nix", // built by scripts/smoke-test
		"attic-server/compose.yml", "attic-server/kubernetes.yaml", "attic-server/server.toml", // run by the test of images/attic-server
		"gitlab-ci.yml", "forgejo-workflow.yml", "github-workflow.yml", "embed.go", "kubernetes-cronjob.yaml", "prometheus-alerts.yaml",
		"push/github-workflow.yml", "push/forgejo-workflow.yml", "push/gitlab-ci.yml", "push/bazel-and-dockerfile.sh",
		"push/default.nix", "push/flake/flake.nix", "update-nixpkgs.yml", "renovate.json",
		"systemd/factory.service", "systemd/factory.timer", "systemd/factory-daemon.service",
	}
	err := filepath.WalkDir(examples, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(examples, name)
		if !slices.Contains(known, filepath.ToSlash(rel)) {
			t.Errorf("%s has no test", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// strictly decodes YAML into a value that names every key there may be.
func strictly(t *testing.T, file string, data []byte, into any) {
	t.Helper()
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func checkChannels(t *testing.T, file, text string) {
	t.Helper()
	if _, err := config.Parse("channels.yaml", []byte(text)); err != nil {
		t.Errorf("%s: %v", file, err)
	}
}

// stub puts programs on a PATH that print what they are given.
func stub(t *testing.T, scripts map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const tellAll = `echo "factory $*"; env | grep -E '^(FACTORY|REGISTRY|GITHUB_TOKEN)' | sort` + "\n"

// gitlabJob has the keywords of https://docs.gitlab.com/ci/yaml/ that are used.
type gitlabJob struct {
	Image struct {
		Name       string
		Entrypoint []string
	}
	Rules         []struct{ If string }
	ResourceGroup string `yaml:"resource_group"`
	Interruptible *bool
	Timeout       string
	Variables     map[string]string
	Cache         struct {
		Key   string
		Paths []string
		When  string
	}
	Script []string
}

func TestGitLab(t *testing.T) {
	file := examples + "/gitlab-ci.yml"
	var jobs map[string]gitlabJob
	strictly(t, file, readFile(t, file), &jobs)
	if len(jobs) != 1 {
		t.Fatalf("jobs: %v, want one", slices.Collect(maps.Keys(jobs)))
	}
	job := jobs["factory"]
	if diff := cmp.Diff([]string{""}, job.Image.Entrypoint); diff != "" {
		t.Errorf("entrypoint mismatch: the image's is no shell (-want +got):\n%s", diff)
	}
	if job.ResourceGroup == "" || job.Timeout == "" || job.Interruptible == nil || *job.Interruptible {
		t.Error("two cycles may run at once, or one forever, or be cut off")
	}
	for _, rule := range job.Rules {
		if strings.Contains(rule.If, "merge_request") || rule.If == "" {
			t.Errorf("the rule %q publishes for merge requests", rule.If)
		}
	}
	checkScript(t, "sh", strings.Join(job.Script, "\n"))

	// GitLab expands its own variables in those of the file.
	dir := t.TempDir()
	gitlab := map[string]string{
		"CI_PROJECT_DIR": dir, "CI_REGISTRY": "registry.gitlab.com", "CI_REGISTRY_IMAGE": "registry.gitlab.com/group/images",
		"CI_REGISTRY_USER": "gitlab-ci-token", "CI_REGISTRY_PASSWORD": "p",
	}
	run := func() string {
		cmd := exec.Command("sh", "-ec", strings.Join(job.Script, "\n"))
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + stub(t, map[string]string{"factory": tellAll}) + ":" + os.Getenv("PATH"), "FACTORY_CONFIG=/etc/factory/channels.yaml"}
		for name, value := range job.Variables {
			cmd.Env = append(cmd.Env, name+"="+os.Expand(value, func(v string) string {
				if _, ok := gitlab[v]; !ok {
					t.Errorf("GitLab has no variable %s", v)
				}
				return gitlab[v]
			}))
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	environment := func(config string) string {
		return "FACTORY_CACHE_DIR=/tmp/factory\nFACTORY_CONFIG=" + config + "\nFACTORY_PUBLISH=registry.gitlab.com/group/images\nFACTORY_STATE=" + dir +
			"/.factory/factory.db\nREGISTRY_HOST=registry.gitlab.com\nREGISTRY_PASSWORD=p\nREGISTRY_USER=gitlab-ci-token\n"
	}
	both := func(config string) string {
		return "factory run --once\n" + environment(config) + "factory status\n" + environment(config)
	}
	if diff := cmp.Diff(both("/etc/factory/channels.yaml"), run()); diff != "" {
		t.Errorf("without a channels.yaml: mismatch (-want +got):\n%s", diff)
	}
	if err := os.WriteFile(filepath.Join(dir, "channels.yaml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(both(dir+"/channels.yaml"), run()); diff != "" {
		t.Errorf("with a channels.yaml: mismatch (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{strings.TrimPrefix(filepath.Join(dir, ".factory/factory.db"), dir+"/")}, job.Cache.Paths); diff != "" {
		t.Errorf("the cache keeps another file than the state (-want +got):\n%s", diff)
	}
}

func TestForgejo(t *testing.T) {
	file := examples + "/forgejo-workflow.yml"
	lint(t, file, "self-hosted-runner:\n  labels: [docker]\n")
	w := readWorkflow(t, file)
	text := string(readFile(t, file))
	for rule, broken := range map[string]func(string, workflow) []string{"injection": noInjectionBut("bash"), "credentials": noCredentialsLeft, "pull requests": harmlessPullRequests, "schedule": oddMinutes} {
		for _, problem := range broken(text, w) {
			t.Errorf("%s: %s", rule, problem)
		}
	}
	step := w.Jobs[0].Steps[0]
	if len(w.Jobs) != 1 || len(w.Jobs[0].Steps) != 1 || step.Uses != "" {
		t.Error("the image has no Node.js, so the job can be one script only")
	}
	for _, channels := range []bool{true, false} {
		clone := `test "$2" = "http.extraHeader=Authorization: token job" || exit 1; shift $(($# - 2)); test "$1" = https://code.example.org/Org/Images || exit 1; mkdir -p "$2"` + "\n"
		want := ""
		if channels {
			clone += `touch "$2/channels.yaml"` + "\n"
			want = "FACTORY_CONFIG=WORK/repository/channels.yaml\n"
		}
		cmd := exec.Command("bash", "-eo", "pipefail", "-c", step.Run)
		work := t.TempDir()
		cmd.Env = []string{
			"PATH=" + stub(t, map[string]string{"factory": tellAll, "git": clone, "mktemp": "echo " + work}) + ":" + os.Getenv("PATH"),
			"GITHUB_TOKEN=job", "GITHUB_SERVER_URL=https://code.example.org", "GITHUB_REPOSITORY=Org/Images",
			"GITHUB_REPOSITORY_OWNER=Org", "GITHUB_REF_NAME=main", "REGISTRY_USER=ann", "REGISTRY_PASSWORD=p", "API_TOKEN=api", "JOB_TOKEN=job",
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		// The server's token must not go to GitHub.
		want = "factory run --once\n" + want + "FACTORY_PUBLISH=code.example.org/org\nGITHUB_TOKEN=api\nREGISTRY_HOST=code.example.org\nREGISTRY_PASSWORD=p\nREGISTRY_USER=ann\n"
		if diff := cmp.Diff(want, strings.ReplaceAll(string(out), work, "WORK")); diff != "" {
			t.Errorf("with a channels.yaml: %v: mismatch (-want +got):\n%s", channels, diff)
		}
	}
}

// The workflow for GitHub keeps the rules of our own, but for the digest of the factory's
// image: that changes with every version.
func TestGitHub(t *testing.T) {
	file := examples + "/github-workflow.yml"
	lint(t, file, "{}")
	text, w := string(readFile(t, file)), readWorkflow(t, file)
	for rule, broken := range policy {
		for _, problem := range broken(text, w) {
			if !strings.HasSuffix(problem, " is not pinned by its digest: ghcr.io/nixpkgs-factory/factory:latest") {
				t.Errorf("%s: %s", rule, problem)
			}
		}
	}
	// Dependabot looks after our own workflows, not after examples.
	ours := append(actions(readWorkflow(t, publishYML)), actions(readWorkflow(t, ciYML))...)
	for _, action := range actions(w) {
		if !slices.Contains(ours, action) {
			t.Errorf("%s is none of the actions of our own workflows: %v", action, ours)
		}
	}
	for _, s := range w.Jobs[0].Steps {
		if problem := checkInvocation(t, strings.Fields(strings.TrimPrefix(s.Run, "factory "))); s.Run != "" && problem != "" {
			t.Errorf("%s: %s", s.Run, problem)
		}
	}
	// A secret that publish.yml hands to the factory has a place here, too.
	for _, m := range regexp.MustCompile(`secrets\.([A-Z_]+)`).FindAllStringSubmatch(string(readFile(t, publishYML)), -1) {
		if !strings.Contains(text, "."+m[1]+" }}") {
			t.Errorf("nothing gets %s", m[1])
		}
	}
	if got := w.Jobs[0].Permissions; !maps.Equal(*got, map[string]string{"contents": "read", "packages": "write"}) {
		t.Errorf("permissions: %v", *got)
	}
	if w.Env["FACTORY_CONFIG"] != "channels.yaml" { // that of the image is another one
		t.Error("the configuration of the repository is not used")
	}
}

// actions are those that a workflow uses.
func actions(w workflow) (all []string) {
	for _, j := range w.Jobs {
		for _, s := range j.Steps {
			if s.Uses != "" {
				all = append(all, s.Uses)
			}
		}
	}
	return all
}

// noInjectionBut is noInjection for a workflow whose steps name that shell: other
// runners have no defaults.
func noInjectionBut(shell string) func(string, workflow) []string {
	return func(text string, w workflow) []string {
		for i := range w.Jobs {
			steps := slices.Clone(w.Jobs[i].Steps)
			for j := range steps {
				if steps[j].Shell == shell {
					steps[j].Shell = ""
				}
			}
			w.Jobs[i].Steps = steps
		}
		return noInjection(text, w)
	}
}

// kubernetesObject has the fields of the API that are used, of all kinds.
type kubernetesObject struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct{ Name string }
	Data       map[string]string
	Spec       struct {
		AccessModes []string `yaml:"accessModes"`
		Resources   struct{ Requests map[string]string }

		Schedule                   string
		TimeZone                   string `yaml:"timeZone"`
		ConcurrencyPolicy          string `yaml:"concurrencyPolicy"`
		StartingDeadlineSeconds    int    `yaml:"startingDeadlineSeconds"`
		SuccessfulJobsHistoryLimit int    `yaml:"successfulJobsHistoryLimit"`
		FailedJobsHistoryLimit     int    `yaml:"failedJobsHistoryLimit"`
		JobTemplate                struct {
			Spec struct {
				BackoffLimit          *int `yaml:"backoffLimit"`
				ActiveDeadlineSeconds int  `yaml:"activeDeadlineSeconds"`
				Template              struct {
					Metadata struct{ Labels map[string]string }
					Spec     podSpec
				}
			}
		} `yaml:"jobTemplate"`
	}
}

type podSpec struct {
	RestartPolicy                 string `yaml:"restartPolicy"`
	AutomountServiceAccountToken  *bool  `yaml:"automountServiceAccountToken"`
	TerminationGracePeriodSeconds int    `yaml:"terminationGracePeriodSeconds"`
	SecurityContext               struct {
		RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
		RunAsUser      int                   `yaml:"runAsUser"`
		RunAsGroup     int                   `yaml:"runAsGroup"`
		FSGroup        int                   `yaml:"fsGroup"`
		SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	Containers []struct {
		Name, Image string
		Args        []string
		Env         []struct{ Name, Value string }
		EnvFrom     []struct {
			SecretRef struct{ Name string } `yaml:"secretRef"`
		} `yaml:"envFrom"`
		SecurityContext struct {
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities             struct{ Drop []string }
		} `yaml:"securityContext"`
		Resources    struct{ Requests, Limits map[string]string }
		VolumeMounts []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	Volumes []struct {
		Name                  string
		ConfigMap             struct{ Name string } `yaml:"configMap"`
		PersistentVolumeClaim struct {
			ClaimName string `yaml:"claimName"`
		} `yaml:"persistentVolumeClaim"`
		EmptyDir struct {
			SizeLimit string `yaml:"sizeLimit"`
		} `yaml:"emptyDir"`
	}
}

func TestKubernetes(t *testing.T) {
	file := examples + "/kubernetes-cronjob.yaml"
	objects := make(map[string]kubernetesObject)
	decoder := yaml.NewDecoder(bytes.NewReader(readFile(t, file)))
	decoder.KnownFields(true)
	for {
		var o kubernetesObject
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		objects[o.APIVersion+" "+o.Kind] = o
	}
	if diff := cmp.Diff([]string{"batch/v1 CronJob", "v1 ConfigMap", "v1 PersistentVolumeClaim"}, slices.Sorted(maps.Keys(objects))); diff != "" {
		t.Fatalf("objects mismatch (-want +got):\n%s", diff)
	}
	cron := objects["batch/v1 CronJob"].Spec
	if cron.ConcurrencyPolicy != "Forbid" || cron.JobTemplate.Spec.ActiveDeadlineSeconds == 0 || cron.JobTemplate.Spec.BackoffLimit == nil {
		t.Error("two cycles may run at once, or one forever, or again at once")
	}
	pod := cron.JobTemplate.Spec.Template.Spec
	c := pod.Containers[0]
	if !pod.SecurityContext.RunAsNonRoot || !c.SecurityContext.ReadOnlyRootFilesystem || *c.SecurityContext.AllowPrivilegeEscalation ||
		!slices.Equal(c.SecurityContext.Capabilities.Drop, []string{"ALL"}) || *pod.AutomountServiceAccountToken {
		t.Error("the container may more than it needs")
	}
	// Every path that the factory is told of lies in a volume that is there.
	conf := objects["v1 ConfigMap"]
	volumes := make(map[string]bool)
	for _, v := range pod.Volumes {
		volumes[v.Name] = v.ConfigMap.Name == conf.Metadata.Name || v.PersistentVolumeClaim.ClaimName == objects["v1 PersistentVolumeClaim"].Metadata.Name || v.EmptyDir.SizeLimit != ""
	}
	mounts := []string{}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("the volume %s is not there, or has nothing in it", m.Name)
		}
		mounts = append(mounts, m.MountPath)
	}
	for _, e := range c.Env {
		if !slices.ContainsFunc(mounts, func(m string) bool { return e.Value == m || strings.HasPrefix(e.Value, m+"/") }) {
			t.Errorf("%s=%s is in no volume", e.Name, e.Value)
		}
		if e.Name == "FACTORY_CONFIG" && conf.Data[filepath.Base(e.Value)] == "" {
			t.Errorf("the ConfigMap has no %s", filepath.Base(e.Value))
		}
	}
	parsed, err := config.Parse("/config/channels.yaml", []byte(conf.Data["channels.yaml"]))
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Images[0].Folder != "/etc/factory/images/base" {
		t.Errorf("the image folder is %s, in the factory's image it is /etc/factory/images/base", parsed.Images[0].Folder)
	}
	if cron.Schedule != parsed.Schedule {
		t.Errorf("the schedule is %q, the configuration's %q", cron.Schedule, parsed.Schedule)
	}
	if problem := checkInvocation(t, c.Args); problem != "" {
		t.Errorf("args %q: %s", c.Args, problem)
	}
}

// alerts is a file of rules of Prometheus.
type alerts struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

func TestAlerts(t *testing.T) {
	file := examples + "/prometheus-alerts.yaml"
	var a alerts
	strictly(t, file, readFile(t, file), &a)
	known := metricNames(t)
	documented := string(readFile(t, guide))
	name := regexp.MustCompile(`\bfactory_[a-z_]+`)
	for _, rule := range a.Groups[0].Rules {
		for _, metric := range name.FindAllString(rule.Expr, -1) {
			if !known[metric] {
				t.Errorf("%s: the factory has no metric %s", rule.Alert, metric)
			}
		}
		if rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
			t.Errorf("%s says nothing", rule.Alert)
		}
		if _, err := time.ParseDuration(rule.For); err != nil {
			t.Errorf("%s: for: %v", rule.Alert, err)
		}
		if strings.Count(rule.Expr, "(") != strings.Count(rule.Expr, ")") {
			t.Errorf("%s: %s", rule.Alert, rule.Expr)
		}
		if !strings.Contains(documented, "| "+rule.Alert+" |") {
			t.Errorf("the guide does not say what to do about %s", rule.Alert)
		}
	}
	for _, metric := range name.FindAllString(documented, -1) {
		if !known[metric] {
			t.Errorf("the guide names the metric %s, which the factory does not have", metric)
		}
	}
}

// metricNames are the numbers that the daemon serves.
func metricNames(t *testing.T) map[string]bool {
	t.Helper()
	none := func() int64 { return 0 }
	m := metrics.New(metrics.Options{Fetched: none, Pushed: none, Ready: func() error { return nil }})
	m.Images([]metrics.Image{{Channel: "x", Name: "base"}})
	m.Rate(1, 1, time.Now())
	m.Head("x", gittest.Rev("e"), time.Now())
	m.Published(metrics.Image{Channel: "x", Name: "base"}, gittest.Rev("e"), time.Now())
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	names := make(map[string]bool)
	for _, q := range regexp.MustCompile(`(?m)^# HELP (factory_[a-z_]+)`).FindAllStringSubmatch(w.Body.String(), -1) {
		names[q[1]] = true
	}
	return names
}
