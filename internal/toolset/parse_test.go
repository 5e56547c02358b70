package toolset

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const nixPath = "/nix/store/" + digest + "-nix-2.31"

// saying is what a small image.nix evaluates to, with more fields.
func saying(fields string) string {
	return `{"tools": [{"attr": "nix", "path": "` + nixPath + `"}]` + fields + `}`
}

// Only tools have to be there, and a package is enough for one.
func TestParseDefaults(t *testing.T) {
	set, err := Parse([]byte(`{"tools": ["/nix/store/` + digest + `-nix-ld-2.0.4-bin", "/nix/store/` + digest + `-hello"]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := toolList{
		{Attr: "nix-ld", Name: "nix-ld", Version: "2.0.4-bin", Path: storePath(t, "nix-ld-2.0.4-bin")},
		{Attr: "hello", Name: "hello", Path: storePath(t, "hello"), At: 1},
	}
	if diff := cmp.Diff(want, set.Tools); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}
	if !set.HasNixpkgs() || !set.HasDatabase() || set.Env["PATH"] != DefaultPath {
		t.Errorf("nixpkgs %t, database %t, PATH %q", set.HasNixpkgs(), set.HasDatabase(), set.Env["PATH"])
	}
}

func TestParse(t *testing.T) {
	set, err := Parse([]byte(saying(`, "nixpkgs": false, "env": {"PATH": "/bin"}, "entrypoint": ["/bin/nix"], "user": "1000:100", "ports": ["8080", "53/udp"],
		"volumes": ["/data"], "stopSignal": "SIGRTMIN+3", "workdir": "/data", "version": "0-unstable-2025", "labels": {"org.opencontainers.image.title": "x"}`)))
	if err != nil {
		t.Fatal(err)
	}
	if set.HasNixpkgs() || set.HasDatabase() || set.Env["PATH"] != "/bin" {
		t.Errorf("nixpkgs %t, database %t, PATH %q", set.HasNixpkgs(), set.HasDatabase(), set.Env["PATH"])
	}
	if set, err = Parse([]byte(saying(`, "nixpkgs": false, "database": true`))); err != nil || !set.HasDatabase() {
		t.Errorf("a database without nixpkgs: %t, %v", set.HasDatabase(), err)
	}
}

// Every error names the field.
func TestParseRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"no tools":              {`{"tools": []}`, "no tools"},
		"unknown field":         {saying(`, "environment": {}`), `unknown field "environment"`},
		"too many tools":        {`{"tools": [` + strings.Repeat(`"`+nixPath+`",`, maxTools) + `"` + nixPath + `"]}`, "1001 tools"},
		"tools of another kind": {`{"tools": {}}`, "tools: want a list, not {}"},
		"no path":               {`{"tools": [{"attr": "nix"}]}`, "tools[0]: want a package, or attr and path"},
		"a number for a tool":   {`{"tools": [1]}`, "tools[0]: want a set, not a number"},
		"a tool's other field":  {`{"tools": [{"attr": "nix", "path": "` + nixPath + `", "x": 1}]}`, `tools[0]: unknown field "x"`},
		"a tool's other kind":   {`{"tools": [{"attr": 1}]}`, "tools[0]: attr: want a string, not a number"},
		"bad path":              {`{"tools": [{"attr": "nix", "path": "/nix/store/short-nix"}]}`, "tools[0]"},
		"path elsewhere":        {`{"tools": ["/gnu/store/` + digest + `-nix"]}`, "tools[0]"},
		"a path below":          {`{"tools": ["` + nixPath + `/bin/nix"]}`, "tools[0]"},
		"cut off":               {`{"tools": ["` + nixPath + `"`, "unexpected"},
		"not JSON":              {`error: attribute missing`, "invalid"},
		"two values":            {saying("") + "{}", "more than one"},
		"another kind":          {saying(`, "env": []`), "env: want a set, not a list"},
		"a list for a text":     {saying(`, "user": ["1"]`), "user: want a string"},
		"a text for a list":     {saying(`, "ports": "8080"`), "ports: want a list, not a string"},
		"a text for a bool":     {saying(`, "nixpkgs": "no"`), "nixpkgs: want true or false, not a string"},
		"a number in a list":    {saying(`, "ports": [8080]`), "ports: want a string, not a number"},
		"variable":              {saying(`, "env": {"A=B": ""}`), `env: "A=B"`},
		"no variable":           {saying(`, "env": {"": ""}`), `env: ""`},
		"port":                  {saying(`, "ports": ["80", "http"]`), `ports[1]: want a port as in "8080/tcp", not "http"`},
		"port too large":        {saying(`, "ports": ["65536"]`), `ports[0]`},
		"port 0":                {saying(`, "ports": ["0/udp"]`), `ports[0]`},
		"volume":                {saying(`, "volumes": ["data"]`), `volumes[0]: want an absolute path, not "data"`},
		"volume of everything":  {saying(`, "volumes": ["/"]`), `volumes[0]`},
		"volume with dots":      {saying(`, "volumes": ["/a/../b"]`), `volumes[0]`},
		"work folder":           {saying(`, "workdir": "x"`), `workdir: want an absolute path, not "x"`},
		"user by name":          {saying(`, "user": "attic"`), `user: want numbers as in "1000:1000", not "attic"`},
		"signal":                {saying(`, "stopSignal": "TERM"`), `stopSignal: want a signal as in "SIGINT", not "TERM"`},
		"version":               {saying(`, "version": "1 2"`), `version: want`},
		"version for no tag":    {saying(`, "version": "1+git"`), `version: want what a tag may have in it`},
		"label of ours":         {saying(`, "labels": {"io.github.nixpkgs-factory.recipe": ""}`), `labels: "io.github.nixpkgs-factory.recipe"`},
		"label of the version":  {saying(`, "labels": {"org.opencontainers.image.version": ""}`), `labels: "org.opencontainers.image.version"`},
		"label":                 {saying(`, "labels": {"A b": ""}`), `labels: "A b"`},
		"no database":           {saying(`, "database": false`), "database: it cannot be false"},
	} {
		if set, err := Parse([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Parse() = %+v, %v, want an error with %q", name, set, err, tt.want)
		}
	}
}

// Whatever is taken is taken again in the form that it is written in.
func FuzzParse(f *testing.F) {
	f.Add([]byte(saying("")))
	f.Add([]byte(`{"tools": ["` + nixPath + `"], "nixpkgs": false, "user": "1:2", "ports": ["1"], "volumes": ["/d"], "labels": {"a.b": "c"}}`))
	f.Add([]byte(`{"tools": [{"attr": "a", "path": "` + nixPath + `", "drvPath": "x"}], "env": {"A": "b"}, "wanted": [{"attr": "a", "required": true}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := Parse(data)
		if err != nil {
			return
		}
		text, err := json.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff(set.Digest(), again.Digest()); diff != "" {
			t.Errorf("%s\n%s", text, diff)
		}
	})
}

// The digest is over all that an image is made of, and over nothing else.
func TestDigest(t *testing.T) {
	parsed := func(fields string) Toolset {
		set, err := Parse([]byte(saying(fields)))
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	plain := parsed("").Digest()
	if wanted := parsed(`, "wanted": [{"attr": "nix", "required": true}]`); wanted.Digest() != plain {
		t.Error("what was asked for changes the digest")
	}
	built := parsed("")
	built.Tools[0].DrvPath, built.Tools[0].Output = "/nix/store/x.drv", "out"
	if built.Digest() != plain || built.Tools[0].DrvPath == "" {
		t.Error("how a tool is built changes the digest, or the digest changes the toolset")
	}
	for _, fields := range []string{
		`, "env": {"A": "b"}`, `, "files": {"/a": "b"}`, `, "links": {"/a": "b"}`, `, "directories": {"/a": "0755"}`, `, "modes": {"/a": "0644"}`,
		`, "entrypoint": ["a"]`, `, "cmd": ["a"]`, `, "workdir": "/a"`, `, "user": "1"`, `, "ports": ["1"]`, `, "volumes": ["/a"]`, `, "stopSignal": "1"`,
		`, "labels": {"a": "b"}`, `, "version": "1"`, `, "nixpkgs": false`, `, "missing": ["a"]`,
	} {
		if parsed(fields).Digest() == plain {
			t.Errorf("%s does not change the digest", fields)
		}
	}
}
