package evaluator

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// No link may lead to what may be private.
func TestClosed(t *testing.T) {
	for name, tt := range map[string]struct {
		target string
		more   map[string]string // other links
		refuse bool
	}{
		"a file beside it":               {target: "file"},
		"a folder beside it":             {target: "folder"},
		"up and down again":              {target: "folder/../file"},
		"the other folder":               {target: "OTHER/file"},
		"nothing in the tree":            {target: "missing/file"},
		"itself":                         {target: "link"},
		"a program of the system":        {target: "/usr/bin/env"},
		"the device for nothing":         {target: "/dev/null"},
		"a folder of the system":         {target: "/usr/lib", refuse: true}, // has links to /etc
		"the root":                       {target: "/", refuse: true},
		"a file outside":                 {target: "../home/secret", refuse: true},
		"a file outside, absolute":       {target: "HOME/secret", refuse: true},
		"a folder outside":               {target: "../home", refuse: true},
		"the folder around it":           {target: "..", refuse: true},
		"nothing outside":                {target: "../home/missing"},
		"the store":                      {target: "/nix/store"},
		"nothing in the store":           {target: "/nix/store/00000000000000000000000000000000-x/secret"},
		"another device":                 {target: "/dev/zero", refuse: true},
		"a name that begins as the tree": {target: "../tree-of-another/secret", refuse: true},
		"out by another link":            {target: "up/secret", more: map[string]string{"folder/up": "../../home", "up": "folder/up"}, refuse: true},
	} {
		t.Run(name, func(t *testing.T) {
			base, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			tree, other := filepath.Join(base, "tree"), filepath.Join(base, "other")
			for _, file := range []string{"tree/file", "tree/folder/file", "other/file", "home/secret", "tree-of-another/secret"} {
				if err := os.MkdirAll(filepath.Join(base, filepath.Dir(file)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(base, file), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if tt.more == nil {
				tt.more = map[string]string{}
			}
			tt.more["link"] = strings.NewReplacer("HOME", filepath.Join(base, "home"), "OTHER", other).Replace(tt.target)
			for link, target := range tt.more {
				if err := os.Symlink(target, filepath.Join(tree, link)); err != nil {
					t.Fatal(err)
				}
			}
			if err := closed([]string{tree, other}); (err != nil) != tt.refuse {
				t.Errorf("closed() = %v", err)
			}
		})
	}
}
