// Package docs is the documentation. Its test holds architecture.md against the code.
package docs

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestImports holds the direction of imports: none leads from a line of
// architecture.md to one above it.
func TestImports(t *testing.T) {
	page, err := os.ReadFile("architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(page), "```imports\n")
	list, _, _ = strings.Cut(list, "\n```")
	line := make(map[string]int)
	for i, names := range strings.Split(list, "\n") {
		for _, name := range strings.Fields(names) {
			line[name] = i
		}
	}
	const module = "github.com/nixpkgs-factory/factory/"
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	name := func(path string) string { return strings.TrimPrefix(strings.TrimPrefix(path, module), "internal/") }
	there := make(map[string]bool)
	for _, text := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		paths := strings.Fields(text)
		from := name(paths[0])
		there[from] = true
		if _, known := line[from]; !known {
			t.Errorf("architecture.md has no line for %s", from)
		}
		for _, path := range paths[1:] {
			if to := name(path); strings.HasPrefix(path, module) && line[to] < line[from] {
				t.Errorf("%s imports %s, which is above it", from, to)
			}
		}
	}
	for name := range line {
		if !there[name] {
			t.Errorf("architecture.md names %s, and there is no such package", name)
		}
	}
}
