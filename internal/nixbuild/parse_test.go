package nixbuild

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

const (
	image = "/nix/store/0000000000000000000000000000000a-image.tar.gz"
	app   = "/nix/store/0000000000000000000000000000000b-app"
)

func path(t testing.TB, full string) nix.StorePath {
	t.Helper()
	p, err := nix.ParseStorePath(full)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParseResult(t *testing.T) {
	for _, c := range []struct{ name, json, want, err string }{
		{"one output", `[{"drvPath":"` + app + `.drv","outputs":{"out":"` + image + `"}}]`, image, ""},
		{"one output of another name", `[{"outputs":{"image":"` + image + `"}}]`, image, ""},
		{"several outputs", `[{"outputs":{"out":"` + image + `","debug":"` + app + `"}}]`, image, ""},
		{"none of them out", `[{"outputs":{"a":"` + image + `","b":"` + app + `"}}]`, "", "has no output out"},
		{"two results", `[{},{}]`, "", "gives 2 results, want one image"},
		{"nothing", ``, "", "unexpected end of JSON input"},
		{"not of the store", `[{"outputs":{"out":"/etc/passwd"}}]`, "", "has no output out"},
	} {
		r, err := parseResult([]byte(c.json))
		if r.Path != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %+v, error %v, want %q, %q", c.name, r, err, c.want, c.err)
		}
	}
}

// TestParsePathInfos: every version of Nix says the same.
func TestParsePathInfos(t *testing.T) {
	const (
		fields = `"narHash":"sha256:0000000000000000000000000000000000000000000000000000","narSize":12,"references":["` + image + `","` + app + `"],"deriver":"` + app + `.drv","signatures":[],"ultimate":true`
		newer  = `"narHash":"sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","narSize":12,"references":["` + app + `","` + image + `"],"deriver":"` + app + `.drv","signatures":[],"ultimate":true,"ca":null`
	)
	want := []nix.PathInfo{{Path: path(t, app), NarSize: 12, References: []nix.StorePath{path(t, image), path(t, app)}, Deriver: path(t, app+".drv"), Ultimate: true}}
	for _, data := range []string{`[{"path":"` + app + `",` + fields + `}]`, `{"` + app + `":{` + newer + `}}`} {
		got, err := parsePathInfos([]byte(data))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", data, diff)
		}
	}
	for data, want := range map[string]string{
		``:                              "unexpected end of JSON input",
		`{"` + app + `":null}`:          "is not in the store",
		`[{"path":"/etc"}]`:             `"/etc": store path`,
		`[{"path":"` + app + `"}]`:      "hash",
		`{"` + app + `":{` + newer[:70]: "unexpected end of JSON input",
	} {
		if _, err := parsePathInfos([]byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", data, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`[{"drvPath":"` + app + `.drv","outputs":{"out":"` + image + `"}}]`))
	f.Add([]byte(`[{"path":"` + app + `","narHash":"sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","references":["` + image + `"]}]`))
	f.Add([]byte(`{"` + app + `":{"narHash":"sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := parseResult(data); err == nil {
			path(t, r.Path)
		}
		if infos, err := parsePathInfos(data); err == nil {
			for _, info := range infos {
				path(t, info.Path.String())
			}
		}
	})
}
