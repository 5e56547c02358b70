package heads

import (
	"testing"

	"github.com/nixpkgs-factory/factory/internal/fetch"
)

func TestArchives(t *testing.T) {
	const token = "ghp_s3cr3t"
	tests := []struct {
		name, token, api, archive string
		shown                     bool
	}{
		{"GitHub", token, "", "https://github.com", true},
		{"GitHub by name", token, "https://api.github.com", "https://github.com", true},
		{"no token", " \n", "", "https://github.com", false},
		{"Enterprise", token, "https://ghe.example.org/api/v3", "https://ghe.example.org", true},
		{"Enterprise with a port", token, "https://ghe.example.org:8443/api/v3", "https://ghe.example.org:8443", true},
		{"another port", token, "https://ghe.example.org:8443/api/v3", "https://ghe.example.org", false},
		{"Enterprise cloud", token, "https://api.org.ghe.com", "https://org.ghe.com", true},
		{"Enterprise, and archives of GitHub", token, "https://ghe.example.org/api/v3", "https://github.com", false},
		{"a mirror of archives", token, "", "https://mirror.example.org", false},
		{"a host that sounds alike", token, "", "https://github.com.example.org", false},
		{"without encryption", token, "https://ghe.example.org/api/v3", "http://ghe.example.org", false},
		{"on this machine", token, "http://127.0.0.1:1/api/v3", "http://localhost:2", true},
		{"API on this machine", token, "http://127.0.0.1:1/api/v3", "https://github.com", false},
		{"API without encryption", token, "http://ghe.example.org/api/v3", "https://ghe.example.org", false},
		{"no token at all", "ghp s3cr3t", "", "https://github.com", false},
	}
	f := fetch.New(fetch.Options{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Archives(f, tt.token, tt.api, tt.archive) != f; got != tt.shown {
				t.Errorf("the token is shown: %t, want %t", got, tt.shown)
			}
		})
	}
}
