package workflows

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

const guide = root + "/docs/operators-guide.md"

// Documents in which commands, variables and files are named.
var documents = []string{
	guide, root + "/README.md", publishYML,
	root + "/examples/github-workflow.yml", root + "/examples/gitlab-ci.yml", root + "/examples/forgejo-workflow.yml", root + "/examples/kubernetes-cronjob.yaml",
	root + "/docs/pushing.md", root + "/examples/push/gitlab-ci.yml", root + "/examples/push/bazel-and-dockerfile.sh", imageAction,
	root + "/docs/CHANGELOG.md", githubDir + "/CONTRIBUTING.md", githubDir + "/SECURITY.md",
	root + "/docs/page.md", root + "/docs/pinning.md", root + "/examples/update-nixpkgs.yml",
	root + "/examples/systemd/factory.service", root + "/examples/systemd/factory-daemon.service", root + "/examples/prometheus-alerts.yaml",
}

// help gives what the factory prints for --help of a command.
var help = func() func(t *testing.T, command string) string {
	var once sync.Once
	var program string
	return func(t *testing.T, command string) string {
		t.Helper()
		once.Do(func() { program = compile(t) })
		args := []string{"--help"}
		if command != "" {
			args = []string{command, "--help"}
		}
		out, err := exec.Command(program, args...).CombinedOutput()
		if err != nil {
			return ""
		}
		return string(out)
	}
}()

// compile compiles the factory and returns its file, which is for the whole test
// run.
func compile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(programs, "factory")
	cmd := exec.Command("go", "build", "-trimpath", "-o", file, "./cmd/factory")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build, so that Go has most of it
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

var (
	code       = regexp.MustCompile("(?s)```[a-z]*\n(.*?)```|`([^`\n]+)`")
	invocation = regexp.MustCompile(`(?:^|[\s|;({\["]|bin/)factory((?:[ \t]+[^\s|;<>")\]` + "`" + `]+)*)`)
	flag       = regexp.MustCompile(`^--[a-z-]+`)
)

// Every command and flag that a document names is one that the factory has.
func TestCommandsInDocuments(t *testing.T) {
	seen := 0
	for _, file := range documents {
		text := string(readFile(t, file))
		if strings.HasSuffix(file, ".md") {
			var parts []string
			for _, m := range code.FindAllStringSubmatch(text, -1) {
				parts = append(parts, m[1]+m[2])
			}
			text = strings.Join(parts, "\n")
		}
		text = strings.ReplaceAll(text, "\\\n", " ")
		for _, m := range invocation.FindAllStringSubmatch(text, -1) {
			if problem := checkInvocation(t, strings.Fields(m[1])); problem != "" {
				t.Errorf("%s: factory%s: %s", file, m[1], problem)
			}
			seen++
		}
	}
	if seen < 30 {
		t.Errorf("%d commands found in all documents: the test no longer sees them", seen)
	}
}

// checkInvocation says what is wrong with the arguments of a command line.
func checkInvocation(t *testing.T, args []string) string {
	t.Helper()
	command := ""
	var flags []string
	for _, arg := range args {
		switch {
		case flag.MatchString(arg):
			flags = append(flags, flag.FindString(arg))
		case command == "" && regexp.MustCompile(`^[a-z-]+$`).MatchString(arg) && len(flags) == 0:
			command = arg
		}
	}
	general := help(t, "")
	if command != "" && !strings.Contains(general, "\n  "+command+" ") {
		return "" // prose, or a name such as that of a volume
	}
	text := help(t, command)
	for _, f := range flags {
		// Flags before the command belong to all, those behind it to it.
		if !strings.Contains(text, f+" ") && !slices.ContainsFunc(args, func(a string) bool {
			return regexp.MustCompile(`^[a-z-]+$`).MatchString(a) && strings.Contains(help(t, a), f+" ")
		}) {
			return "there is no flag " + f
		}
	}
	return ""
}

var variable = regexp.MustCompile(`\b(?:FACTORY|REGISTRY|ATTIC|CACHIX|DOCKERHUB)_[A-Z_]*[A-Z]\b`)

// Every variable that a document names is read: by the factory, or by the
// configuration's own notify.
func TestVariablesInDocuments(t *testing.T) {
	sources := string(readFile(t, root+"/channels.yaml"))
	for _, pattern := range []string{"cmd/factory/*.go", "cmd/ownimage/*.go", "internal/upload/*.go", "internal/cycle/*.go"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				sources += string(readFile(t, file))
			}
		}
	}
	for _, file := range documents {
		for _, name := range variable.FindAllString(string(readFile(t, file)), -1) {
			if !strings.Contains(sources, name) {
				t.Errorf("%s: nothing reads the variable %s", file, name)
			}
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

// Links within the repository lead somewhere.
func TestLinks(t *testing.T) {
	for _, file := range []string{guide, root + "/README.md", root + "/images/base/README.md", root + "/docs/pushing.md", root + "/docs/page.md", root + "/docs/supply-chain.md",
		root + "/docs/CHANGELOG.md", githubDir + "/CONTRIBUTING.md", githubDir + "/SECURITY.md"} {
		for _, m := range link.FindAllStringSubmatch(string(readFile(t, file)), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			name, anchor, _ := strings.Cut(m[1], "#")
			target := file
			if name != "" {
				target = filepath.Join(filepath.Dir(file), name)
			}
			found, err := filepath.Glob(target)
			if err != nil || len(found) == 0 {
				t.Errorf("%s: %s is not there", file, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(readFile(t, target)), anchor) {
				t.Errorf("%s: %s has no heading #%s", file, target, anchor)
			}
		}
	}
}

// anchors are the names that GitHub gives to the headings of a document.
func anchors(document []byte) (names []string) {
	for _, m := range heading.FindAllSubmatch(document, -1) {
		name := strings.ToLower(string(bytes.TrimSpace(m[1])))
		name = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(name, "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

// What the guide and README show of channels.yaml is right.
func TestConfigurationInDocuments(t *testing.T) {
	block := regexp.MustCompile("(?ms)^( *)```yaml\n(.*?)^ *```")
	seen := 0
	for _, file := range []string{guide, root + "/README.md"} {
		for _, m := range block.FindAllStringSubmatch(string(readFile(t, file)), -1) {
			text := strings.ReplaceAll("\n"+m[2], "\n"+m[1], "\n") // some stand in lists
			if !strings.Contains(text, "\nchannels:") {
				text += "channels: [ { name: nixos-unstable }, { name: nixos-26.05 } ]\n"
			}
			checkChannels(t, file, text)
			seen++
		}
	}
	if seen < 4 {
		t.Errorf("%d pieces of configuration found: the test no longer sees them", seen)
	}
}
