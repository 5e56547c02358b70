package workflows

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unit is a file of systemd: section, key, values in order.
type unit map[string]map[string][]string

func readUnit(t *testing.T, file string) unit {
	t.Helper()
	u, section := unit{}, ""
	lines := bufio.NewScanner(bytes.NewReader(readFile(t, file)))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok {
			section = strings.TrimSuffix(name, "]")
			if !slices.Contains([]string{"Unit", "Service", "Timer", "Install"}, section) || u[section] != nil {
				t.Errorf("%s:%d: section %q", file, n, line)
			}
			u[section] = make(map[string][]string)
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section == "" || key != strings.TrimSpace(key) || strings.HasSuffix(value, " ") {
			t.Fatalf("%s:%d: %q is not Key=value in a section", file, n, line)
		}
		u[section][key] = append(u[section][key], value)
	}
	return u
}

func TestSystemd(t *testing.T) {
	files, err := filepath.Glob(examples + "/systemd/*")
	if err != nil || len(files) != 3 {
		t.Fatalf("units: %v, %v, want 3", files, err)
	}
	units := make(map[string]unit)
	for _, file := range files {
		units[filepath.Base(file)] = readUnit(t, file)
	}
	once, daemon := units["factory.service"]["Service"], units["factory-daemon.service"]["Service"]
	if diff := cmp.Diff([]string{"/usr/local/bin/factory run --once"}, once["ExecStart"]); diff != "" {
		t.Errorf("ExecStart mismatch (-want +got):\n%s", diff)
	}
	for name, service := range map[string]map[string][]string{"factory": once, "factory-daemon": daemon} {
		if problem := checkInvocation(t, strings.Fields(service["ExecStart"][0])[1:]); problem != "" {
			t.Errorf("%s: %s", name, problem)
		}
	}
	// Both are the same but for how they are run.
	for _, own := range []string{"Type", "ExecStart", "ExecReload", "TimeoutStartSec", "TimeoutStopSec", "SuccessExitStatus", "Restart", "RestartSec"} {
		delete(once, own)
		delete(daemon, own)
	}
	if diff := cmp.Diff(once, daemon); diff != "" {
		t.Errorf("settings of the two services mismatch (-once +daemon):\n%s", diff)
	}
	if got := units["factory.timer"]["Timer"]["OnCalendar"]; len(got) != 1 || got[0] != "*-*-* *:47:00" {
		t.Errorf("the timer starts at %v", got)
	}
	verifyUnits(t, files)
}

// verifyUnits lets systemd itself read the units where it is installed. The program
// that they start has to be there for it.
func verifyUnits(t *testing.T, files []string) {
	t.Helper()
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not installed: the units were parsed here only")
		return
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "factory"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{"verify", "--man=no"}
	for _, file := range files {
		copied := filepath.Join(dir, filepath.Base(file))
		text := strings.ReplaceAll(string(readFile(t, file)), "/usr/local/bin/factory", dir+"/factory")
		if err := os.WriteFile(copied, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, copied)
	}
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
