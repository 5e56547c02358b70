package scaffold

import (
	"testing"

	"github.com/nixpkgs-factory/factory/internal/config"
)

func TestParseRemote(t *testing.T) {
	const web = "https://github.com/My-Org/images"
	for address, want := range map[string]Repository{
		"git@github.com:My-Org/images.git":               {"github.com", "My-Org/images", web},
		"github.com:My-Org/images":                       {"github.com", "My-Org/images", web},
		"https://github.com/My-Org/images.git":           {"github.com", "My-Org/images", web},
		"https://ann:pa55word@github.com/My-Org/images/": {"github.com", "My-Org/images", web},
		"ssh://git@github.com:22/My-Org/images.git":      {"github.com", "My-Org/images", web},
		"git://github.com/My-Org/images.git":             {"github.com", "My-Org/images", web},
		"https://gitlab.com/a/b/c.git":                   {"gitlab.com", "a/b/c", "https://gitlab.com/a/b/c"},
		"http://git.example.org:3000/a/b":                {"git.example.org:3000", "a/b", "http://git.example.org:3000/a/b"},
		"":                                               {},
		"/srv/git/images.git":                            {},
		"../images":                                      {},
		"file:///srv/git/images.git":                     {},
		"https://github.com/images":                      {},
		"https://github.com/a b/images":                  {},
		"git@github.com:images.git":                      {},
		"C:\\images\\a":                                  {},
		"https://github.com/My-Org/images\n: x":          {},
		"https://[::1]/a/b":                              {},
		"https://token_without_user@/a/b":                {},
	} {
		got, ok := ParseRemote(address)
		if got != want || ok != (want != Repository{}) {
			t.Errorf("ParseRemote(%q) = %+v, %v, want %+v", address, got, ok, want)
		}
	}
}

func TestDestination(t *testing.T) {
	hub, lab, own := "https://github.com/My-Org/images", "https://gitlab.com/Group/sub/images", "https://git.example.org/Group/images"
	for _, tt := range []struct {
		address string
		service Service
		org     string
		want    string
	}{
		{hub, GitHub, "", "ghcr.io/my-org"},
		{hub, None, "Other", "ghcr.io/other"},
		{lab, GitLab, "", "registry.gitlab.com/group/sub/images"},
		{lab, GitLab, "other", "registry.gitlab.com/other/images"},
		{lab, None, "other", "registry.gitlab.com/other/images"},
		{own, Forgejo, "", "git.example.org/group"},
		{own, Forgejo, "other", "git.example.org/other"},
		{own, GitLab, "", ""},
		{own, GitHub, "", "ghcr.io/group"},
		{"", GitHub, "", ""},
		{"", None, "org", "ghcr.io/org"},
		{"", Forgejo, "org", ""},
	} {
		r, _ := ParseRemote(tt.address)
		if got := r.Destination(tt.service, tt.org); got != tt.want {
			t.Errorf("Destination of %q for %q and %q = %q, want %q", tt.address, tt.service, tt.org, got, tt.want)
		}
	}
}

// Whatever a remote is called, what is made of it is a configuration or an error.
func FuzzParseRemote(f *testing.F) {
	for _, address := range []string{"git@github.com:a/b.git", "https://u:p@git.example.org:3000/a/b/c", "ssh://git@h:22/a/b", "x:../y", "http://a/..//b"} {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		r, ok := ParseRemote(address)
		if !ok {
			return
		}
		for _, s := range []Service{None, GitHub, GitLab, Forgejo} {
			o := Options{Service: s, Source: r.Web}
			if to := r.Destination(s, ""); to != "" {
				if _, err := config.ParseDestination(to, "."); err != nil {
					continue // told to whoever called
				}
				o.Publish = []string{to}
			}
			if _, err := Files(o); err != nil {
				t.Errorf("Files(%+v): %v", o, err)
			}
		}
	})
}
