package record

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.etcd.io/bbolt"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// A Store is what conditional requests are made with.
var _ heads.ETags = (*Store)(nil)

var epoch = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// digest is one of a digit, repeated.
func digest(digit string) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat(digit, 64)}
}

func system(name string) config.System {
	s, err := config.ParseSystem(name)
	if err != nil {
		panic(err)
	}
	return s
}

// of is the base image of a channel.
func of(channel string) Subject { return Subject{channel, "base"} }

func publication(channel, image string, minute int) Publication {
	return Publication{
		Subject: of(channel),
		Rev:     rev("a"),
		Recipe:  "sha256:0123",
		Image:   image,
		Digest:  digest("0"),
		Time:    epoch.Add(time.Duration(minute) * time.Minute),
		Systems: []config.System{system("x86_64-linux"), system("aarch64-linux")},
		Action:  "build",
		Reason:  "new commit",
	}
}

func TestRecord(t *testing.T) {
	s := openTemp(t)
	publications := []Publication{
		publication("nixos-unstable", "a/nixpkgs-nixos-unstable:1", 2),
		publication("nixos-unstable", "b/nixpkgs-nixos-unstable:1", 3),
		publication("nixos-26.05", "a/nixpkgs-nixos-26.05:1", 4),
	}
	if err := s.Record(publications); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s.file)

	for _, want := range publications {
		got, err := s.Publication(want.Subject, want.Image)
		if diff := cmp.Diff(&want, got); err != nil || diff != "" {
			t.Errorf("Publication: %v (-want +got):\n%s", err, diff)
		}
	}
	all, err := s.Publications()
	want := []Publication{publications[2], publications[1], publications[0]}
	if diff := cmp.Diff(want, all); err != nil || diff != "" {
		t.Errorf("Publications: %v (-want +got):\n%s", err, diff)
	}
}

func TestRecordAgain(t *testing.T) {
	s := openTemp(t)
	first, second := publication("c", "r:1", 1), publication("c", "r:1", 2)
	second.Recipe, second.Digest, second.Reason = "sha256:new", digest("1"), "recipe changed"
	for _, p := range []Publication{first, second, second} {
		if err := s.Record([]Publication{p}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.Publications()
	if diff := cmp.Diff([]Publication{second}, all); err != nil || diff != "" {
		t.Errorf("Publications: %v (-want +got):\n%s", err, diff)
	}
	events, err := s.History(of("c"), 0)
	if err != nil || len(events) != 3 || events[0].Reason != "recipe changed" || events[2].Reason != "new commit" {
		t.Errorf("History = %+v, %v, want three, the newest first", events, err)
	}
}

func TestNothingThere(t *testing.T) {
	s := openTemp(t)
	if p, err := s.Publication(of("c"), "r:1"); p != nil || err != nil {
		t.Errorf("Publication = %v, %v", p, err)
	}
	// A key is not the beginning of another one.
	if err := s.Record([]Publication{publication("c", "r:1", 1), publication("cr", ":1", 1)}); err != nil {
		t.Fatal(err)
	}
	if p, err := s.Publication(of(""), "cr:1"); p != nil || err != nil {
		t.Errorf("Publication = %v, %v", p, err)
	}
	if all, err := s.Publications(); len(all) != 2 || err != nil {
		t.Errorf("Publications = %v, %v, want 2", all, err)
	}
	if f, err := s.Failure(of("c"), rev("a")); f != nil || err != nil {
		t.Errorf("Failure = %v, %v", f, err)
	}
	if h, err := s.Head("c"); h != nil || err != nil {
		t.Errorf("Head = %v, %v", h, err)
	}
	if tag, body, ok := s.ETag("u"); tag != "" || body != nil || ok {
		t.Errorf("ETag = %q, %q, %v", tag, body, ok)
	}
}

func TestHead(t *testing.T) {
	s := openTemp(t)
	zone := time.FixedZone("", 7200)
	want := heads.Head{Channel: "c", Commit: heads.Commit{Rev: rev("c"), Tree: gittest.TreeID("d"), Date: epoch.In(zone)}}
	for range 2 {
		if err := s.SetHead(want); err != nil {
			t.Fatal(err)
		}
		got, err := s.Head("c")
		if diff := cmp.Diff(&want, got); err != nil || diff != "" {
			t.Errorf("Head: %v (-want +got):\n%s", err, diff)
		}
		if got.Date.Location() != time.UTC {
			t.Errorf("the date is in %v, want UTC", got.Date.Location())
		}
		want.Rev = rev("e")
	}
}

func TestETag(t *testing.T) {
	s := openTemp(t)
	for _, want := range []string{"", "{}", strings.Repeat("\x00\xff", 50_000)} {
		if err := s.SetETag("u", `W/"`+fmt.Sprint(len(want))+`"`, []byte(want)); err != nil {
			t.Fatal(err)
		}
		tag, body, ok := s.ETag("u")
		if tag != fmt.Sprintf("W/%q", fmt.Sprint(len(want))) || string(body) != want || !ok {
			t.Errorf("ETag = %q, %d bytes, %v, want %d bytes", tag, len(body), ok, len(want))
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := s.ETag("u"); ok {
		t.Error("a closed file gave an answer")
	}
}

func TestBounds(t *testing.T) {
	s := openTemp(t)
	const publications = 10_050
	var all []Publication
	for i := range publications {
		all = append(all, publication("c", fmt.Sprint("r:", i), i))
	}
	if err := s.Record(all); err != nil {
		t.Fatal(err)
	}
	events, err := s.History(Subject{}, 0)
	if err != nil || len(events) != 10_000 || events[0].Image != "r:10049" || events[9_999].Image != "r:50" {
		t.Errorf("History: %d events, %v, want the newest 10,000", len(events), err)
	}
	if kept, err := s.Publications(); err != nil || len(kept) != 10_000 || kept[9_999].Image != "r:50" {
		t.Errorf("Publications: %d, %v, want the newest 10,000", len(kept), err)
	}
}

// TestPrune keeps what was written last, and what is written again counts as new.
func TestPrune(t *testing.T) {
	s := openTemp(t)
	for _, image := range strings.Fields("a b c d a e") {
		if err := s.Keep(Kept{Image: image, Digest: digest("0")}); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		most int
		want string
	}{{5, "a b c d e"}, {3, "a d e"}, {3, "a d e"}, {1, "e"}, {0, "e"}} {
		err := s.update(func(tx *bbolt.Tx) error {
			return bucket[Kept]{keptBucket.name, step.most}.prune(tx)
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		err = s.db.View(func(tx *bbolt.Tx) error {
			kept, err := keptBucket.all(tx)
			for _, l := range kept {
				got = append(got, l.Image)
			}
			return err
		})
		if err != nil || strings.Join(got, " ") != step.want {
			t.Errorf("a bound of %d kept %q, %v, want %q", step.most, got, err, step.want)
		}
	}
}

// TestStoredShape holds what is in the file against what other versions of the
// factory read: a change of it needs a migration.
func TestStoredShape(t *testing.T) {
	s := openTemp(t)
	const base = "0c9xjlyzj5jb8mz6rbf2aqj0kn7i3m4s-coreutils-9"
	var lacked nix.BaseName
	if err := lacked.UnmarshalText([]byte(base)); err != nil {
		t.Fatal(err)
	}
	p := publication("c", "r:1", 1)
	p.Lacks = map[config.System]nix.BaseName{p.Systems[0]: lacked}
	p.Since, p.Moved = epoch, Moved{Fetched: 1, Pushed: 2}
	if err := s.Record([]Publication{p}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetETag("u", "e", []byte("b")); err != nil {
		t.Fatal(err)
	}
	if err := s.SetHead(heads.Head{Channel: "c", Commit: heads.Commit{Rev: rev("c"), Tree: gittest.TreeID("d"), Date: epoch}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Fail(of("d"), rev("b"), "no", epoch); err != nil {
		t.Fatal(err)
	}
	if err := s.Keep(Kept{Image: "r:1", Digest: digest("d"), Recipe: "i", Time: epoch}); err != nil {
		t.Fatal(err)
	}
	contents := image.Contents{Digest: digest("0"), Systems: []image.SystemContent{{
		System: p.Systems[0], Digest: digest("1"), Size: 7, Layers: 2, Tools: []image.Tool{{Name: "nix", Version: "2"}},
	}}}
	if err := s.SetContents(contents); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := s.db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				got = append(got, fmt.Sprintf("%s %q %s", name, k, v))
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	forty := func(digit string) string { return strings.Repeat(digit, 40) }
	want := []string{
		`contents "` + digest("0").String() + `" {"v":1,"n":1,"value":{"digest":"` + digest("0").String() + `","systems":[{"system":"x86_64-linux","digest":"` + digest("1").String() + `","size":7,"layers":2,"tools":[{"name":"nix","version":"2"}]}]}}`,
		`etags "u" {"v":1,"n":1,"value":{"etag":"e","body":"Yg=="}}`,
		`failures "d\x00base\x00` + forty("b") + `" {"v":1,"n":1,"value":{"channel":"d","imageName":"base","rev":"` + forty("b") + `","error":"no","count":1,"time":"2026-11-20T12:00:00Z","next":"2026-11-20T12:02:00Z"}}`,
		`heads "c" {"v":1,"n":1,"value":{"channel":"c","rev":"` + forty("c") + `","tree":"` + forty("d") + `","date":"2026-11-20T12:00:00Z"}}`,
		`history "\x00\x00\x00\x00\x00\x00\x00\x01" {"v":1,"n":1,"value":{"time":"2026-11-20T12:01:00Z","channel":"c","imageName":"base","rev":"` + forty("a") + `","image":"r:1","digest":"` + digest("0").String() + `","action":"build","reason":"new commit","since":"2026-11-20T12:00:00Z","moved":{"fetched":1,"pushed":2}}}`,
		`history "\x00\x00\x00\x00\x00\x00\x00\x02" {"v":1,"n":2,"value":{"time":"2026-11-20T12:00:00Z","channel":"d","imageName":"base","rev":"` + forty("b") + `","error":"no"}}`,
		`kept "r:1" {"v":1,"n":1,"value":{"image":"r:1","digest":"` + digest("d").String() + `","recipe":"i","time":"2026-11-20T12:00:00Z"}}`,
		`meta "schema" 5`,
		`publications "c\x00base\x00r:1" {"v":1,"n":1,"value":{"channel":"c","imageName":"base","rev":"` + forty("a") + `","recipe":"sha256:0123","image":"r:1","digest":"` + digest("0").String() + `","time":"2026-11-20T12:01:00Z","systems":["x86_64-linux","aarch64-linux"],"action":"build","reason":"new commit","since":"2026-11-20T12:00:00Z","moved":{"fetched":1,"pushed":2},"lacks":{"x86_64-linux":"` + base + `"}}}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

func TestUnreadableValue(t *testing.T) {
	tests := []struct{ name, data, want string }{
		{"no JSON", "{", `not a state that this factory can read (kept "k": unexpected end of JSON input): `},
		{"another version", `{"v":2,"n":1,"value":{}}`, `not a state that this factory can read (kept "k": version 2): `},
		{"another shape", `{"v":1,"n":1,"value":[]}`, `not a state that this factory can read (kept "k": json: cannot unmarshal array into Go value of type record.Kept): `},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openTemp(t)
			err := s.update(func(tx *bbolt.Tx) error {
				return keptBucket.in(tx).Put([]byte("k"), []byte(tt.data))
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Kept("k"); err == nil || !strings.HasPrefix(err.Error(), s.file+": "+tt.want) {
				t.Errorf("Kept: %v, want %s", err, tt.want)
			}
		})
	}
}

func TestConcurrentUse(t *testing.T) {
	s := openTemp(t)
	const goroutines, rounds = 8, 5
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			channel := fmt.Sprint("c", g)
			for i := range rounds {
				if _, err := s.Fail(of(channel), rev("a"), "no", epoch); err != nil {
					t.Error(err)
				}
				if err := s.SetETag(channel, fmt.Sprint(i), []byte("b")); err != nil {
					t.Error(err)
				}
				if tag, _, ok := s.ETag(channel); tag != fmt.Sprint(i) || !ok {
					t.Errorf("ETag = %q, %v, want %d", tag, ok, i)
				}
				if _, err := s.History(Subject{}, 3); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	failures, err := s.Failures()
	if err != nil || len(failures) != goroutines {
		t.Fatalf("Failures = %v, %v, want %d", failures, err, goroutines)
	}
	for _, f := range failures {
		if f.Count != rounds {
			t.Errorf("%s failed %d times, want %d", f.Channel, f.Count, rounds)
		}
	}
	if events, err := s.History(Subject{}, 0); err != nil || len(events) != goroutines*rounds {
		t.Errorf("History: %d events, %v, want %d", len(events), err, goroutines*rounds)
	}
}

// The types that are stored are also printed.
func TestPublicationJSON(t *testing.T) {
	data, err := json.Marshal(Failure{Subject: of("c"), Time: epoch, Next: epoch})
	const want = `{"channel":"c","imageName":"base","rev":"","error":"","count":0,"time":"2026-11-20T12:00:00Z","next":"2026-11-20T12:00:00Z"}`
	if err != nil || string(data) != want {
		t.Errorf("Failure as JSON = %s, %v, want %s", data, err, want)
	}
}
