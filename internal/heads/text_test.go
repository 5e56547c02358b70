package heads

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
)

// What the API says can be anything; an error of ours cannot.
func TestTextOfOthersIsShort(t *testing.T) {
	loud := `\u001b[31m\u0007` + strings.Repeat("x", 100_000)
	for name, r := range map[string]reply{
		"message":          {status: 422, body: `{"message":"` + loud + `"}`},
		"page":             {status: 500, body: "<html>" + strings.Repeat("\x1b", 100_000)},
		"name of a branch": {body: `{"name":"` + loud + `"}`},
		"id of a commit":   {body: `{"name":"nixos-unstable","commit":{"sha":"` + loud + `"}}`},
		"no JSON":          {body: "\x1b" + strings.Repeat("x", 100_000)},
		"wrong JSON":       {body: `{"commit":{"commit":{"committer":{"date":"` + loud + `"}}}}`},
		"moved":            {status: 301, header: map[string]string{"Location": "http://%" + strings.Repeat("x", 10_000)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, map[string]reply{branchPath + "nixos-unstable": r})
			_, err := client(t, Options{API: s.URL}).Head(t.Context(), "nixos-unstable")
			text := fmt.Sprint(err)
			if err == nil || len(text) > 600 || strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("%d bytes: %q", len(text), text[:min(len(text), 1000)])
			}
		})
	}
}
