package config

import (
	"strings"
	"testing"
	"time"
)

func TestEvaluation(t *testing.T) {
	const (
		valid  = "channels: [ { name: a } ]\n"
		memory = "an amount of memory from 256MiB to 1024GiB, such as 4GiB"
		limit  = "a duration from 10s to 24h, such as 10m"
	)
	for _, tt := range []struct {
		text string
		want Evaluation
		err  string
	}{
		{"", Evaluation{10 * time.Minute, 4 << 30}, ""},
		{"evaluation: { timeout: 1h }", Evaluation{time.Hour, 4 << 30}, ""},
		{"evaluation: { memory: 512MiB }", Evaluation{10 * time.Minute, 512 << 20}, ""},
		{"evaluation: { timeout: 10s, memory: 1024GiB }", Evaluation{10 * time.Second, 1 << 40}, ""},
		{"evaluation: { timeout: 9s }", Evaluation{}, limit},
		{"evaluation: { memory: 4096 }", Evaluation{}, memory},
		{"evaluation: { memory: 4GB }", Evaluation{}, memory},
		{"evaluation: { memory: 255MiB }", Evaluation{}, memory},
		{"evaluation: { memory: 1025GiB }", Evaluation{}, memory},
		{"evaluation: { memory: 9999999GiB }", Evaluation{}, memory},
		{"evaluation: { cpu: 1 }", Evaluation{}, "unknown key"},
		{"evaluation: 10m", Evaluation{}, "a mapping with timeout or memory"},
	} {
		c, err := Parse("c.yaml", []byte(valid+tt.text))
		switch {
		case tt.err == "" && (err != nil || c.Evaluation != tt.want):
			t.Errorf("%s: %+v, %v, want %+v", tt.text, c.Evaluation, err, tt.want)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), "2:") || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%s: error %v, want one that says %q", tt.text, err, tt.err)
		}
	}
}

// Which Nix evaluates is one of three words.
func TestNix(t *testing.T) {
	for text, want := range map[string]string{"": "auto", "nix: auto": "auto", "nix: tree": "tree", "nix: path": "path", "nix: none": "", "nix: [ path ]": ""} {
		c, err := Parse("channels.yaml", []byte(text+"\nchannels: [ { name: nixos-26.05 } ]\n"))
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "auto, tree or path") {
				t.Errorf("%s: %+v, %v", text, c.Nix, err)
			}
		} else if err != nil || c.Nix != want {
			t.Errorf("%s: %q, %v, want %q", text, c.Nix, err, want)
		}
	}
}
