package source

import (
	"io"
	"strings"
	"testing"
)

// A file that is wanted early is handed on once, before the archive has ended.
func TestEarly(t *testing.T) {
	archive := tarOf(t, dir("top/"), dir("top/a/"), regular("top/a/b", "text"), regular("top/a/c", strings.Repeat("x", 1<<20)))
	for name, tt := range map[string]struct {
		early Early
		want  string
	}{
		"there":        {Early{Path: "a/b", Most: 4}, "text"},
		"too large":    {Early{Path: "a/b", Most: 3}, ""},
		"not there":    {Early{Path: "b", Most: 100}, ""},
		"a folder":     {Early{Path: "a", Most: 100}, ""},
		"the top":      {Early{Path: "", Most: 100}, ""},
		"another root": {Early{Path: "top/a/b", Most: 100}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			ended := false
			r := io.MultiReader(strings.NewReader(string(archive)), atEnd(func() { ended = true }))
			tt.early.Take = func(text []byte) {
				if ended {
					t.Error("it comes after the archive has ended")
				}
				got = append(got, string(text))
			}
			tree, err := readTar(t.Context(), r, Options{Limits: Limits{}.withDefaults(), Dir: t.TempDir(), Early: tt.early})
			if err != nil {
				t.Fatal(err)
			}
			defer tree.Close()
			if text := strings.Join(got, "|"); text != tt.want {
				t.Errorf("handed on: %q, want %q", text, tt.want)
			}
		})
	}
}

// atEnd is an empty reader that says when it is read.
type atEnd func()

func (e atEnd) Read([]byte) (int, error) {
	e()
	return 0, io.EOF
}
