package atticserver

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/nixpkgs-factory/factory/internal/containertest"
)

// compose is the command of the compose plugin, or of the program before it.
func compose(t *testing.T) []string {
	t.Helper()
	for _, argv := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if exec.Command(argv[0], append(argv[1:], "version")...).Run() == nil {
			return argv
		}
	}
	t.Skip("there is no docker compose here (Debian package docker-compose)")
	return nil
}

// project is a copy of the example in a folder of its own.
type project struct {
	argv []string
	dir  string
	env  []string
}

func (p project) do(args ...string) (string, error) {
	argv := append(slices.Clone(p.argv), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), p.env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%q: %w\n%s", argv, err, &stderr)
	}
	return strings.TrimSpace(string(out)), err
}

func (p project) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := p.do(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (in attic) testCompose(t *testing.T) {
	p := project{dir: t.TempDir(), env: []string{"ATTIC_IMAGE=" + in.image, "ATTIC_PORT=0"}}
	p.argv = append(compose(t), "--project-name", fmt.Sprintf("nixpkgs-factory-test-%d", os.Getpid()))
	for _, name := range []string{"compose.yml", "server.toml"} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(example(t, name)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.argv = append(p.argv, "--file", "compose.yml")
	if _, err := p.do("up", "--detach"); err == nil || !strings.Contains(err.Error(), "see the first lines of compose.yml") {
		t.Errorf("without a secret: %v", err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, ".env"), []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := p.do("down", "--volumes"); err != nil {
			t.Logf("clean-up: %v", err)
		}
	})
	p.must(t, "up", "--detach")
	s := containertest.ServiceOf(p.must(t, "ps", "-q", "attic"))
	serves(t, s, "configuration: /attic/server.toml", "signing: rs256-secret")
	token := p.must(t, "exec", "-T", "attic", "/bin/atticadm", "make-token", "--sub", "root", "--validity", "1 year", "--pull", "*")
	if !strings.HasPrefix(token, "standin.root.") {
		t.Errorf("the token is %q", token)
	}
	// What is in the volume outlives the container.
	p.must(t, "up", "--detach", "--force-recreate")
	again := containertest.ServiceOf(p.must(t, "ps", "-q", "attic"))
	if again == s {
		t.Error("the container is the same")
	}
	serves(t, again)
	if code := again.Stop(t); code != 143 {
		t.Errorf("stopped with exit code %d, want 143", code)
	}
}

// object is what is used of the objects of Kubernetes.
type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   metadata
	Data       map[string]string
	Spec       struct {
		AccessModes []string `yaml:"accessModes"` // PersistentVolumeClaim
		Resources   struct{ Requests map[string]string }

		Replicas int // Deployment
		Strategy struct{ Type string }
		Template struct {
			Metadata metadata
			Spec     pod
		}

		Selector map[string]any // Deployment, Service
		Ports    []struct {
			Name       string
			Port       int
			TargetPort string `yaml:"targetPort"`
		}
	}
}

type metadata struct {
	Name   string
	Labels map[string]string
}

type pod struct {
	AutomountServiceAccountToken *bool `yaml:"automountServiceAccountToken"`
	ShareProcessNamespace        bool  `yaml:"shareProcessNamespace"`
	SecurityContext              struct {
		RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
		RunAsUser      int                   `yaml:"runAsUser"`
		RunAsGroup     int                   `yaml:"runAsGroup"`
		FSGroup        int                   `yaml:"fsGroup"`
		SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	Containers []container
	Volumes    []struct {
		Name                  string
		ConfigMap             metadata `yaml:"configMap"`
		PersistentVolumeClaim struct {
			ClaimName string `yaml:"claimName"`
		} `yaml:"persistentVolumeClaim"`
	}
}

type container struct {
	Name, Image string
	EnvFrom     []struct {
		SecretRef metadata `yaml:"secretRef"`
	} `yaml:"envFrom"`
	Ports []struct {
		Name          string
		ContainerPort int `yaml:"containerPort"`
	}
	Startup         probe `yaml:"startupProbe"`
	Liveness        probe `yaml:"livenessProbe"`
	SecurityContext struct {
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct{ Drop []string }
	} `yaml:"securityContext"`
	Resources    struct{ Requests map[string]string }
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly"`
	} `yaml:"volumeMounts"`
}

type probe struct {
	HTTPGet          struct{ Path, Port string } `yaml:"httpGet"`
	FailureThreshold int                         `yaml:"failureThreshold"`
}

// objects reads the manifest, by kind.
func objects(t *testing.T) map[string]object {
	t.Helper()
	all := make(map[string]object)
	decoder := yaml.NewDecoder(strings.NewReader(example(t, "kubernetes.yaml")))
	decoder.KnownFields(true)
	for {
		var o object
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("kubernetes.yaml: %v", err)
		}
		all[o.APIVersion+" "+o.Kind] = o
	}
	want := []string{"apps/v1 Deployment", "v1 ConfigMap", "v1 PersistentVolumeClaim", "v1 Service"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(all))); diff != "" {
		t.Fatalf("objects (-want +got):\n%s", diff)
	}
	return all
}

// The manifest is held against itself, and its container runs in Docker as far as
// what is said of it has a counterpart there.
func (in attic) testKubernetes(t *testing.T) {
	all := objects(t)
	deployment, service := all["apps/v1 Deployment"].Spec, all["v1 Service"].Spec
	if diff := cmp.Diff(example(t, "server.toml"), all["v1 ConfigMap"].Data["server.toml"]); diff != "" {
		t.Errorf("the configuration is not server.toml (-want +got):\n%s", diff)
	}
	labels := deployment.Template.Metadata.Labels
	for name, selector := range map[string]any{"Deployment": deployment.Selector["matchLabels"], "Service": service.Selector} {
		if got := fmt.Sprint(selector); got != fmt.Sprint(labels) {
			t.Errorf("%s selects %s, the labels are %v", name, got, labels)
		}
	}
	p := deployment.Template.Spec
	c := p.Containers[0]
	if p.AutomountServiceAccountToken == nil || *p.AutomountServiceAccountToken || !p.SecurityContext.RunAsNonRoot || p.SecurityContext.FSGroup != p.SecurityContext.RunAsGroup ||
		c.SecurityContext.AllowPrivilegeEscalation == nil || *c.SecurityContext.AllowPrivilegeEscalation || deployment.Replicas != 1 || deployment.Strategy.Type != "Recreate" {
		t.Error("the container may more than it needs, or there may be two")
	}
	for what, name := range map[string]string{"startupProbe": c.Startup.HTTPGet.Port, "livenessProbe": c.Liveness.HTTPGet.Port, "Service": service.Ports[0].TargetPort} {
		if name != c.Ports[0].Name {
			t.Errorf("%s has the port %s", what, name)
		}
	}
	s := containertest.Serve(t, in.image, p.flags(t, all))
	serves(t, s, "configuration: /attic/server.toml", "signing: rs256-secret")
	if status, _ := s.Get(t, fmt.Sprintf("%d/tcp", c.Ports[0].ContainerPort), c.Liveness.HTTPGet.Path); status != 200 {
		t.Errorf("the probe gets %d", status)
	}
	makesTokens(t, s)
	if code := s.Stop(t); code != 143 {
		t.Errorf("stopped with exit code %d, want 143", code)
	}
}

// flags are those of docker run that say the same of the container.
func (p pod) flags(t *testing.T, all map[string]object) []string {
	t.Helper()
	c := p.Containers[0]
	flags := []string{
		"--user", fmt.Sprintf("%d:%d", p.SecurityContext.RunAsUser, p.SecurityContext.RunAsGroup), "--env", secret,
		"--publish", fmt.Sprintf("127.0.0.1::%d", c.Ports[0].ContainerPort), "--security-opt", "no-new-privileges",
		fmt.Sprintf("--init=%t", p.ShareProcessNamespace), fmt.Sprintf("--read-only=%t", c.SecurityContext.ReadOnlyRootFilesystem),
	}
	for _, drop := range c.SecurityContext.Capabilities.Drop {
		flags = append(flags, "--cap-drop", drop)
	}
	folders := make(map[string]string)
	for _, v := range p.Volumes {
		switch {
		case v.ConfigMap.Name == all["v1 ConfigMap"].Metadata.Name:
			folders[v.Name] = filepath.Dir(file(t, all["v1 ConfigMap"].Data["server.toml"]))
			if err := os.Chmod(folders[v.Name], 0o755); err != nil {
				t.Fatal(err)
			}
		case v.PersistentVolumeClaim.ClaimName == all["v1 PersistentVolumeClaim"].Metadata.Name:
			folders[v.Name] = "" // a new one
		default:
			t.Errorf("the volume %s is of nothing", v.Name)
		}
	}
	for _, m := range c.VolumeMounts {
		from, ok := folders[m.Name]
		if !ok {
			t.Errorf("%s is of a volume %s, which is not there", m.MountPath, m.Name)
		}
		volume := m.MountPath
		if from != "" {
			volume = from + ":" + volume
		}
		if m.ReadOnly {
			volume += ":ro"
		}
		flags = append(flags, "--volume", volume)
	}
	return flags
}
