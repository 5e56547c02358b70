package config

import (
	"bytes"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
)

func FuzzParse(f *testing.F) {
	for _, file := range []string{"../../channels.yaml", "testdata/everything-wrong.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("x: &x [ *x ]\nchannels: *x\n? *x\n: *x\n<<: *x\n"))
	f.Add([]byte("%YAML 1.1\n---\n!!map {channels: !!seq [ {name: !!str a, tags: ['\\x']} ]}\n...\n# end\n"))
	f.Add([]byte("schedule: '@every 1h'\ntimezone: \"\\u0000\"\npublish: [ { to: '[::1]:5000/a' }, { to: |\n oci:a\n } ]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("dir/c.yaml", data)
		if err != nil {
			if diff := cmp.Diff(Config{}, c); diff != "" {
				t.Errorf("a Config beside the errors (-want +got):\n%s", diff)
			}
			checkPlaces(t, err, bytes.Count(data, []byte("\n"))+bytes.Count(data, []byte("\r"))+2)
			return
		}
		if len(c.Channels) == 0 || len(c.Publish) == 0 || len(c.Substituters) == 0 || len(c.Systems) == 0 {
			t.Errorf("something is missing: %+v", c)
		}
		for _, d := range c.Publish {
			for _, ch := range c.Channels {
				if _, err := name.NewRepository(d.Repository(ch.Name)); d.Layout == "" && err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// checkPlaces checks that each error is in the file, in the order of the file.
func checkPlaces(t *testing.T, err error, lines int) {
	t.Helper()
	last := &Error{}
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		e := err.(*Error)
		if e.Line < 1 || e.Line > lines || e.Column < 0 || e.Msg == "" {
			t.Errorf("%#v is not in a file of %d lines", e, lines)
		}
		if e.Line < last.Line || e.Line == last.Line && e.Column < last.Column {
			t.Errorf("%v comes after %v", e, last)
		}
		last = e
	}
}
