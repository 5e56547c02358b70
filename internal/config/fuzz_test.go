package config

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/nixpkgs-factory/factory/internal/git/gittest"
)

func FuzzParse(f *testing.F) {
	for _, file := range []string{shipped, "testdata/everything-wrong.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("x: &x [ *x ]\nchannels: *x\n? *x\n: *x\n<<: *x\n"))
	f.Add([]byte("%YAML 1.1\n---\n!!map {channels: !!seq [ {name: !!str a, tags: ['\\x']} ]}\n...\n# end\n"))
	f.Add([]byte("schedule: '@every 1h'\ntimezone: \"\\u0000\"\npublish: [ { to: '[::1]:5000/a' }, { to: |\n oci:a\n } ]"))
	f.Add([]byte("jitter: 0\ngrace: 1h30m\nbackfill: 5\nlabels: { a.b-c: \"d\" }\nverify: [ \"test\\0\", x ]\nchannels: [ { name: a, tags: [ \"{date}-{rev:7}\", v{version} ] } ]"))
	f.Add([]byte("upload: [ { attic: http://a, cache: b }, { cachix: c }, { store: 's3://d?secret-key=/e&f=%67' } ]\nnotify: [ { urlFrom: A, on: [ failed ] } ]\nchannels: [ { name: a } ]"))
	f.Add([]byte("channels: [ { name: a, optional: &o [ aarch64-linux ], backfill: 0, frozen: true }, { name: b, systems: *o, optional: *o } ]\nnotify: [ {url:https://a/b} ]"))
	f.Add([]byte("images: [ { folder: x }, { folder: ../y, suffix: -y, tags: [ \"{digest:7}\" ] }, { folder: z, repository: \"z/{channel}\", channels: [ a ] } ]\nchannels: [ { name: a } ]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("dir/c.yaml", data)
		if err != nil {
			if diff := cmp.Diff(Config{}, c); diff != "" {
				t.Errorf("a Config beside the errors (-want +got):\n%s", diff)
			}
			checkPlaces(t, err, bytes.Count(data, []byte("\n"))+bytes.Count(data, []byte("\r"))+2)
			return
		}
		if len(c.Channels) == 0 || len(c.Publish) == 0 || len(c.Substituters) == 0 || len(c.Systems) == 0 || len(c.Images) == 0 {
			t.Errorf("something is missing: %+v", c)
		}
		checkOperate(t, c)
		if err := againstSchema(t, data); err != nil {
			t.Errorf("the schema refuses what Parse accepts: %v", err)
		}
		for _, d := range c.Publish {
			for _, ch := range c.Channels {
				for _, i := range c.ImagesOf(ch) {
					if _, err := name.NewRepository(d.Repository(i.RepositoryOf(ch.Name))); d.Layout == "" && err != nil {
						t.Error(err)
					}
				}
			}
		}
	})
}

// checkOperate checks what the keys for running unattended promise.
func checkOperate(t *testing.T, c Config) {
	t.Helper()
	if c.Jitter < 0 || c.Jitter > time.Hour || c.Grace < time.Second || c.Grace > 24*time.Hour || c.Limit < time.Second || c.Limit > 168*time.Hour || len(c.Verify) > maxCommands {
		t.Errorf("out of range: %+v", c)
	}
	for _, cache := range c.Upload {
		if cache.place() == "" || (cache.Attic != "") != (cache.Cache != "") {
			t.Errorf("half a cache: %+v", cache)
		}
	}
	for _, n := range c.Notify {
		if n.URLFrom == "" || len(n.On) == 0 || len(n.On) > len(events) {
			t.Errorf("half a webhook: %+v", n)
		}
	}
	for _, ch := range c.Channels {
		if n := c.BackfillOf(ch); n < 0 || n > maxBackfill {
			t.Errorf("backfill of %s is %d", ch.Name, n)
		}
		if n := len(ch.Optional); n > 0 && n >= len(c.SystemsOf(ch)) {
			t.Errorf("%s has %d optional systems of %v", ch.Name, n, c.SystemsOf(ch))
		}
		rev := gittest.Rev("0123456789abcdef")
		for _, tag := range (Tags{Templates: ch.Tags}).For(TagValues{Rev: rev, Date: time.Unix(1_780_000_000, 0), Version: "26.05"}) {
			if _, err := name.NewTag("localhost/x:" + tag); err != nil || tag == rev.String() {
				t.Errorf("%s has the tag %q: %v", ch.Name, tag, err)
			}
		}
	}
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
