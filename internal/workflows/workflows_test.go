// Package workflows tests what makes the factory run elsewhere: the workflows of
// this repository, which are linted and held against rules, the factory's own image,
// and the examples for other places. scripts/test-workflow runs publish.yml.
package workflows

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gopkg.in/yaml.v3"
)

const (
	root       = "../.."
	githubDir  = root + "/.github"
	folder     = githubDir + "/workflows"
	publishYML = folder + "/publish.yml"
	ciYML      = folder + "/ci.yml"
)

// workflow is a workflow file, as far as it is looked at here.
type workflow struct {
	Name        string
	On          yaml.Node
	Permissions *map[string]string
	Concurrency concurrency
	Env         map[string]string
	Defaults    struct{ Run struct{ Shell string } }
	Jobs        jobs
}

type concurrency struct {
	Group            string
	CancelInProgress string `yaml:"cancel-in-progress"`
}

// jobs are in the order of the file.
type jobs []job

func (j *jobs) UnmarshalYAML(node *yaml.Node) error {
	for i := 0; i < len(node.Content); i += 2 {
		next := job{ID: node.Content[i].Value}
		if err := node.Content[i+1].Decode(&next); err != nil {
			return err
		}
		*j = append(*j, next)
	}
	return nil
}

type job struct {
	ID          string `yaml:"-"`
	Name        string
	Needs       list
	If          string
	RunsOn      string `yaml:"runs-on"`
	Container   *struct{ Image, Options string }
	Timeout     int `yaml:"timeout-minutes"`
	Permissions *map[string]string
	Environment struct{ Name, URL string }
	Env         map[string]string
	Strategy    struct {
		Matrix   string
		FailFast *bool `yaml:"fail-fast"`
	}
	Steps []step
}

type step struct {
	Name  string
	ID    string
	If    string
	Uses  string
	With  map[string]string
	Env   map[string]string
	Shell string
	Run   string
}

// title is how the step is called in messages.
func (s step) title() string {
	for _, t := range []string{s.Name, s.Uses, s.Run} {
		if t != "" {
			return t
		}
	}
	return s.ID
}

// list is one text or a list of them.
type list []string

func (l *list) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*l = list{node.Value}
		return nil
	}
	return node.Decode((*[]string)(l))
}

func readFile(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func readWorkflow(t testing.TB, file string) workflow {
	t.Helper()
	var w workflow
	if err := yaml.Unmarshal(readFile(t, file), &w); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return w
}

// workflowFiles are all workflows of the repository.
func workflowFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(folder + "/*.y*ml")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{publishYML, ciYML} {
		if !slices.Contains(files, want) {
			t.Fatalf("%s is not there", want)
		}
	}
	return files
}
