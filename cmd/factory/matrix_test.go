package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/plan"
)

const someRev = "0123456789abcdef0123456789abcdef01234567"

// GitHub refuses a matrix of more than 256 jobs. No image is begun whose last
// system would not fit.
func TestMatrixIsBounded(t *testing.T) {
	jobs := make([]plan.Job, 200)
	for i := range jobs {
		jobs[i] = plan.Job{Channel: fmt.Sprint("c", i), ImageName: "base", Action: plan.Build, Systems: []config.System{{Nix: "a"}, {Nix: "b"}, {Nix: "c"}}}
	}
	m := matrixOf(jobs)
	if got, want := len(m.Include), 255; got != want {
		t.Errorf("a matrix of %d entries, want %d", got, want)
	}
}

// One job makes all images of a commit and a system that are due.
func TestMatrixSharesJobs(t *testing.T) {
	var jobs []plan.Job
	for _, j := range []plan.Job{
		{ImageName: "base", Action: plan.Build}, {ImageName: "slim", Action: plan.None}, {ImageName: "attic-server", Action: plan.Rebuild},
	} {
		j.Channel, j.Systems = "c", []config.System{{Nix: "a"}, {Nix: "b"}}
		jobs = append(jobs, j)
	}
	want := []matrixEntry{
		{Channel: "c", System: config.System{Nix: "a"}, Images: "base,attic-server"},
		{Channel: "c", System: config.System{Nix: "b"}, Images: "base,attic-server"},
	}
	if diff := cmp.Diff(want, matrixOf(jobs).Include, cmp.AllowUnexported(git.Rev{})); diff != "" {
		t.Errorf("the matrix (-want +got):\n%s", diff)
	}
	commits := addDue([][]cycle.Part{{{Channel: "c", ImageName: "base"}}}, matrixOf(jobs))
	if len(commits) != 2 || commits[1][0].ImageName != "attic-server" {
		t.Errorf("due are %+v, want attic-server beside base", commits)
	}
}

func TestParseMatrix(t *testing.T) {
	entry := `{"channel":"c","rev":"` + someRev + `","system":"x86_64-linux","images":"base"}`
	without := `{"channel":"c","rev":"` + someRev + `","system":"x86_64-linux"}`
	for name, test := range map[string]struct{ text, want string }{
		"not JSON":         {`matrix`, "invalid character"},
		"no matrix":        {`{}`, "no include"},
		"a part":           {entry, "no include"},
		"no system":        {`{"include":[` + entry + `,{"channel":"c","rev":"` + someRev + `"}]}`, "include[1]"},
		"no image":         {`{"include":[` + without + `]}`, "include[0]"},
		"no commit":        {`{"include":[{"channel":"c","rev":"main","system":"x86_64-linux"}]}`, "is not a revision"},
		"too many entries": {`{"include":[` + strings.Repeat(entry+",", 256) + entry + `]}`, "257 entries, more than 256"},
		"too long":         {`{"include":[]}` + strings.Repeat(" ", 1<<20), "larger than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parseMatrix(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("parseMatrix() = %v, want %q", err, test.want)
			}
		})
	}
}

// What is read is what was written.
func FuzzParseMatrix(f *testing.F) {
	f.Add(`{"include":[]}`)
	f.Add(`{"include":[{"channel":"c","rev":"` + someRev + `","system":"x86_64-linux","images":"base,slim"}]}`)
	f.Add(`{"include":null}`)
	f.Add(`[{"include":{}}]`)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseMatrix(text)
		if err != nil {
			return
		}
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseMatrix(string(data))
		if diff := cmp.Diff(m, again); err != nil || diff != "" {
			t.Errorf("parseMatrix(%q) mismatch (-first +again): %v\n%s", data, err, diff)
		}
	})
}

func FuzzParsePart(f *testing.F) {
	f.Add([]byte(`{"channel":"c","imageName":"base","rev":"` + someRev + `","system":"x86_64-linux","recipe":"","digest":"d","nix":"2.18"}`))
	f.Add([]byte(`{"channel":"c","rev":"HEAD","system":"x86_64-linux"}`))
	f.Add([]byte(`{"channel":["c"]}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, data []byte) {
		part, err := parsePart(data)
		if err != nil {
			if part != (cycle.Part{}) {
				t.Errorf("parsePart(%q) = %v with %v", data, part, err)
			}
			return
		}
		written, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parsePart(written); err != nil || again != part {
			t.Errorf("parsePart(%q) = %v, %v, want %v", written, again, err, part)
		}
	})
}
