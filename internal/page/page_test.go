package page

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/record"
)

var update = flag.Bool("update", false, "write the golden files")

// made makes the files, by name, and holds what is true of any of them.
func made(t testing.TB, d Data, o Options) map[string]string {
	t.Helper()
	files, err := Make(d, o)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string, len(files))
	for _, f := range files {
		all[f.Name] = string(f.Content)
	}
	for name, content := range all {
		switch path.Ext(name) {
		case ".atom":
			checkFeed(t, name, content)
		case ".html":
			checkLinks(t, all, name)
		}
	}
	checkList(t, all)
	return all
}

// checkList holds channels.json against the schema that is published with it.
func checkList(t testing.TB, all map[string]string) {
	t.Helper()
	schema, err := jsonschema.UnmarshalJSON(strings.NewReader(all["channels.schema.json"]))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("channels.schema.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("channels.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	list, err := jsonschema.UnmarshalJSON(strings.NewReader(all["channels.json"]))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(list); err != nil {
		t.Errorf("channels.json: %v", err)
	}
}

var reference = regexp.MustCompile(`(?:href|src)="([^"]*)"`)

// checkLinks has relative links lead to files that are there, and others to the
// commits of nixpkgs only.
func checkLinks(t testing.TB, all map[string]string, name string) {
	t.Helper()
	for _, m := range reference.FindAllStringSubmatch(all[name], -1) {
		target, _, _ := strings.Cut(m[1], "#")
		switch {
		case target == "" || strings.HasPrefix(target, "https://github.com/NixOS/nixpkgs/"):
		case strings.Contains(target, ":"):
			t.Errorf("%s: a link to %s", name, target)
		default:
			if _, there := all[path.Join(path.Dir(name), target)]; !there {
				t.Errorf("%s: %s is not there", name, target)
			}
		}
	}
}

// parsedFeed is read by other types than the ones that write it.
type parsedFeed struct {
	XMLName xml.Name   `xml:"http://www.w3.org/2005/Atom feed"`
	Titles  []string   `xml:"http://www.w3.org/2005/Atom title"`
	IDs     []string   `xml:"http://www.w3.org/2005/Atom id"`
	Updated []string   `xml:"http://www.w3.org/2005/Atom updated"`
	Authors []struct{} `xml:"http://www.w3.org/2005/Atom author"`
	Links   []struct {
		Rel  string `xml:"rel,attr"`
		Href string `xml:"href,attr"`
	} `xml:"http://www.w3.org/2005/Atom link"`
	Entries []parsedEntry `xml:"http://www.w3.org/2005/Atom entry"`
}

type parsedEntry struct {
	Titles  []string `xml:"http://www.w3.org/2005/Atom title"`
	IDs     []string `xml:"http://www.w3.org/2005/Atom id"`
	Updated []string `xml:"http://www.w3.org/2005/Atom updated"`
	Links   []struct {
		Rel  string `xml:"rel,attr"`
		Href string `xml:"href,attr"`
	} `xml:"http://www.w3.org/2005/Atom link"`
	Content []struct {
		Type string `xml:"type,attr"`
		Text string `xml:",chardata"`
	} `xml:"http://www.w3.org/2005/Atom content"`
}

var urn = regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func readFeed(t testing.TB, name, content string) parsedFeed {
	t.Helper()
	var f parsedFeed
	if err := xml.Unmarshal([]byte(content), &f); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return f
}

// checkFeed holds a feed against RFC 4287, sections 4.1.1 and 4.1.2.
func checkFeed(t testing.TB, name, content string) {
	t.Helper()
	f := readFeed(t, name, content)
	once := func(what string, ids, titles, updated []string) time.Time {
		if len(ids) != 1 || !urn.MatchString(ids[0]) || len(titles) != 1 || titles[0] == "" || len(updated) != 1 {
			t.Errorf("%s: %s: ids %q, titles %q, updated %q", name, what, ids, titles, updated)
			return time.Time{}
		}
		at, err := time.Parse(time.RFC3339, updated[0])
		if err != nil {
			t.Errorf("%s: %s: %v", name, what, err)
		}
		return at
	}
	newest := once("feed", f.IDs, f.Titles, f.Updated)
	if len(f.Authors) != 1 {
		t.Errorf("%s: %d authors", name, len(f.Authors))
	}
	rels := make(map[string]int)
	for _, l := range f.Links {
		rels[l.Rel]++
	}
	if rels["self"] != 1 || rels["alternate"] != 1 {
		t.Errorf("%s: links %v", name, rels)
	}
	seen := make(map[string]bool)
	for i, e := range f.Entries {
		at := once("entry", e.IDs, e.Titles, e.Updated)
		if at.After(newest) || i == 0 && !at.Equal(newest) {
			t.Errorf("%s: an entry of %s, the feed is of %s", name, at, newest)
		}
		if len(e.Content) != 1 || e.Content[0].Type != "text" || len(e.Links) == 0 || e.Links[0].Rel != "alternate" {
			t.Errorf("%s: entry %q: content %v, links %v", name, e.Titles, e.Content, e.Links)
		}
		if seen[e.IDs[0]] {
			t.Errorf("%s: two entries have the id %s", name, e.IDs[0])
		}
		seen[e.IDs[0]] = true
	}
	if len(f.Entries) > maxEntries {
		t.Errorf("%s: %d entries", name, len(f.Entries))
	}
}

// small is a factory that has published twice and failed since.
func small(t testing.TB) Data {
	m := newMaker(t, "publish: [ { to: ghcr.io/org } ]\nchannels: [ { name: nixos-26.05, tags: [ latest ] } ]\n")
	rev := m.move("nixos-26.05", "1", now.Add(-50*time.Hour))
	m.publish("nixos-26.05", "base", rev.String(), 40*time.Minute, tools[0], tools[1])
	rev = m.move("nixos-26.05", "2", now.Add(-20*time.Hour))
	m.publish("nixos-26.05", "base", rev.String(), 90*time.Minute, image.Tool{Name: "nix", Version: "2.32.0"}, tools[2])
	m.move("nixos-26.05", "3", now.Add(-2*time.Hour))
	m.fail("nixos-26.05", "base", "evaluate: out of memory", 2, now.Add(-10*time.Minute), false)
	return *m.data
}

// The golden files are for whoever changes what the pages look like: go test
// ./internal/page -update writes them.
func TestGolden(t *testing.T) {
	all := made(t, small(t), Options{URL: "https://example.org/images/"})
	for _, name := range []string{"index.html", "channels/nixos-26.05.html", "channels/nixos-26.05.atom", "channels.json"} {
		file := filepath.Join("testdata", "golden", path.Base(name))
		if *update {
			if err := os.WriteFile(file, []byte(all[name]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(all[name], "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSameDataSameBytes(t *testing.T) {
	first := made(t, sample(t), Options{})
	for range 2 {
		if diff := cmp.Diff(first, made(t, sample(t), Options{})); diff != "" {
			t.Fatalf("other files the second time:\n%s", diff)
		}
	}
}

// What happened keeps its id in the feed: when more happens, when the feed moves, and
// when a commit fails again.
func TestFeedIDsAreStable(t *testing.T) {
	ids := func(d Data, o Options) (list []string) {
		f := readFeed(t, "feed", made(t, d, o)["channels/nixos-26.05.atom"])
		for _, e := range f.Entries {
			list = append(list, e.IDs[0])
		}
		return append(list, f.IDs[0])
	}
	d := small(t)
	before := ids(d, Options{})
	if len(before) != 4 {
		t.Fatalf("ids %q, want those of 3 entries and the feed", before)
	}
	if moved := ids(d, Options{URL: "https://example.org/"}); !slices.Equal(moved, before) {
		t.Errorf("elsewhere they are %q, were %q", moved, before)
	}
	d.Now = d.Now.Add(time.Hour)
	d.History = slices.Insert(slices.Clone(d.History), 0, record.Event{Time: d.Now, Subject: d.History[0].Subject, Rev: d.History[0].Rev, Error: "again"})
	if again := ids(d, Options{}); !slices.Equal(again, before) {
		t.Errorf("after another failure they are %q, were %q", again, before)
	}
	d.History = slices.Insert(d.History, 0, record.Event{Time: d.Now.Add(time.Minute), Subject: d.History[0].Subject, Rev: revOf(t, "4"), Digest: digestOf("4"), Image: "r:4"})
	if more := ids(d, Options{}); !slices.Equal(more[1:], before) {
		t.Errorf("after another publication they are %q, were %q", more, before)
	}
}

func TestNothingSoFar(t *testing.T) {
	m := newMaker(t, sampleChannels)
	all := made(t, *m.data, Options{})
	for _, want := range []string{"4 channels: 3 not published yet, 1 frozen.", "Nothing has been published so far."} {
		if !strings.Contains(all["index.html"], want) {
			t.Errorf("index.html does not say %q", want)
		}
	}
	for name, content := range all {
		if strings.Contains(content, "0001-01-01") || strings.Contains(content, "FROM ") {
			t.Errorf("%s shows what nobody knows", name)
		}
	}
}

// The record is lost: images were found in a registry, which says less.
func TestLessIsKnown(t *testing.T) {
	m := newMaker(t, sampleChannels)
	m.move("nixos-26.05", "1", now.Add(-time.Hour))
	m.publish("nixos-26.05", "base", "latest", time.Minute, tools...)
	m.data.History, m.data.Heads = nil, nil
	m.data.Publications[0].Time = time.Time{}
	m.data.Publications[0].Nix = ""
	page := made(t, *m.data, Options{})["channels/nixos-26.05.html"]
	for _, want := range []string{"FROM ghcr.io/nixpkgs-factory/", "sha256 = ", "not known", "attic-client"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(page, "0001") {
		t.Error("the page has a time that nobody knows")
	}
	clear(m.data.Contents)
	page = made(t, *m.data, Options{})["channels/nixos-26.05.html"]
	if !strings.Contains(page, "FROM ") || strings.Contains(page, "fetchTarball {") {
		t.Error("without contents there is no hash to pin, and an image still")
	}
}

const evil = `</code><script>alert(1)</script><img src=x onerror=alert(1)> "' --> ]]> &amp; javascript:alert(1)` + "\x1b[31m\x00\u202e"

// What servers said is text, wherever it is shown.
func TestHostileTexts(t *testing.T) {
	d := small(t)
	d.Failures[0].Error = evil
	for i := range d.History {
		d.History[i].Reason, d.History[i].Image = evil, evil+":"+evil
		if d.History[i].Error != "" {
			d.History[i].Error = evil
		}
	}
	for i := range d.Publications {
		d.Publications[i].Version, d.Publications[i].Nix, d.Publications[i].Image = evil, evil, evil+":"+evil
	}
	for digest, c := range d.Contents {
		for i := range c.Systems {
			c.Systems[i].Tools = []image.Tool{{Name: evil, Version: evil + digest.Hex}}
		}
		d.Contents[digest] = c
	}
	all := made(t, d, Options{}) // which parses the feed and the list
	for name, content := range all {
		for _, bad := range []string{"<script>alert", "<img", "\x1b", "\x00", "\u202e"} {
			if strings.Contains(content, bad) {
				t.Errorf("%s has %q", name, bad)
			}
		}
	}
	if !strings.Contains(all["channels/nixos-26.05.html"], "&lt;script&gt;alert(1)&lt;/script&gt;") {
		t.Error("the page does not show what was said")
	}
	if f := readFeed(t, "feed", all["channels/nixos-26.05.atom"]); !strings.Contains(f.Entries[0].Content[0].Text, "<script>alert(1)</script>") {
		t.Errorf("the feed says %q", f.Entries[0].Content[0].Text)
	}
}

// A state as full as it gets makes pages of a size that can be read.
func TestHugeHistory(t *testing.T) {
	m := newMaker(t, sampleChannels)
	m.move("nixos-26.05", "x", now.Add(-time.Hour))
	m.publish("nixos-26.05", "base", "x", time.Minute, tools...)
	of := record.Subject{Channel: "nixos-26.05", ImageName: "base"}
	for i := range 10_000 {
		e := record.Event{Time: now.Add(-time.Duration(i) * 12 * time.Minute), Subject: of, Rev: revOf(t, fmt.Sprint(i)), Since: now.Add(-time.Duration(i+1) * 12 * time.Minute)}
		if i%3 == 0 {
			e.Error = strings.Repeat("long ", 2000)
		} else {
			e.Image, e.Digest, e.Reason = "ghcr.io/org/x:y", digestOf(fmt.Sprint(i)), "new commit"
		}
		m.data.History = append(m.data.History, e)
	}
	all := made(t, *m.data, Options{})
	if n := len(all["channels/nixos-26.05.html"]); n > 400_000 {
		t.Errorf("the page has %d bytes", n)
	}
	if !strings.Contains(all["channels/nixos-26.05.html"], "2,000 older events in channels.json") {
		t.Error("the page does not say that there is more")
	}
	var list struct {
		Channels []struct {
			Images []struct{ History []struct{} }
		}
	}
	if err := json.Unmarshal([]byte(all["channels.json"]), &list); err != nil {
		t.Fatal(err)
	}
	if n := len(list.Channels[0].Images[0].History); n != maxEvents {
		t.Errorf("channels.json has %d events, want %d", n, maxEvents)
	}
}

func TestStates(t *testing.T) {
	all := sample(t).site(Options{})
	got := make(map[string]State)
	for _, c := range all.Channels {
		got[c.Name] = c.State
		for _, p := range c.Images {
			got[c.Name+" "+p.Name] = p.State
		}
	}
	want := map[string]State{
		"nixos-26.05": Current, "nixos-26.05 base": Current,
		"nixos-unstable": Behind, "nixos-unstable base": Behind, "nixos-unstable slim": Current,
		"nixpkgs-unstable": Failing, "nixpkgs-unstable base": Failing,
		"nixos-25.11": Frozen, "nixos-25.11 base": Frozen,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}

func TestEvents(t *testing.T) {
	of := record.Subject{Channel: "c", ImageName: "base"}
	a, b := revOf(t, "a"), revOf(t, "b")
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes-100) * time.Minute) }
	d := Data{Now: now, History: []record.Event{
		{Time: at(60), Subject: of, Rev: b, Digest: digestOf("b"), Image: "oci:/srv/x:r:b", Action: "none", Reason: "up to date"},
		{Time: at(50), Subject: of, Rev: a, Digest: digestOf("a2"), Image: "q/r:a", Reason: "recipe changed", Since: at(0)},
		{Time: at(40), Subject: of, Rev: a, Digest: digestOf("a"), Image: "oci:/srv/x:r:a", Reason: "new commit", Since: at(0)},
		{Time: at(40), Subject: of, Rev: a, Digest: digestOf("a"), Image: "q/r:a", Reason: "new commit", Since: at(0), Moved: record.Moved{Pushed: 7}},
		{Time: at(30), Subject: of, Rev: a, Error: "second"},
		{Time: at(20), Subject: of, Rev: a, Error: "first"},
		{Time: at(10), Subject: record.Subject{Channel: "d", ImageName: "base"}, Rev: a, Error: "another"},
		{Time: now.Add(-Window - time.Hour), Subject: of, Rev: b, Error: "old"},
	}}
	want := []event{
		{Subject: of, Time: at(50), Rev: a, Digest: digestOf("a2"), Images: []string{"q/r:a"}, Reason: "recipe changed"},
		{Subject: of, Time: at(40), Rev: a, Digest: digestOf("a"), Images: []string{"q/r:a", "r:a"}, Reason: "new commit", HasLag: true, Lag: 40 * time.Minute, Moved: record.Moved{Pushed: 7}, Changed: true},
		{Subject: of, Time: at(30), Rev: a, Error: "second", Count: 2},
	}
	if diff := cmp.Diff(want, d.events(of)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "under 1 min", 59 * time.Minute: "59 min", time.Hour: "1 h", 61 * time.Minute: "1 h 1 min",
		day: "1 day", 26 * time.Hour: "1 day 2 h", 71*time.Hour + 50*time.Minute: "3 days", 10*day + time.Hour: "10 days",
	} {
		if got := spaced(d); got != want {
			t.Errorf("span(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestPlaces(t *testing.T) {
	for text, want := range map[string]place{
		"ghcr.io/org/x:tag":               {Ref: "ghcr.io/org/x:tag", Repository: "ghcr.io/org/x", Tag: "tag"},
		"127.0.0.1:5000/x:tag":            {Ref: "127.0.0.1:5000/x:tag", Repository: "127.0.0.1:5000/x", Tag: "tag"},
		"oci:/home/ann/registry:x:latest": {Ref: "x:latest", Repository: "x", Tag: "latest", Layout: true},
	} {
		if diff := cmp.Diff(want, split(text)); diff != "" {
			t.Errorf("split(%q) (-want +got):\n%s", text, diff)
		}
	}
	m := newMaker(t, "channels: [ { name: nixos-26.05, tags: [ latest ] } ]\n")
	m.move("nixos-26.05", "1", now)
	m.publish("nixos-26.05", "base", "x", time.Minute)
	m.data.Publications[0].Image = "oci:/home/ann/registry:nixpkgs-nixos-26.05:x"
	for host, want := range map[string]string{
		"":               "skopeo copy oci:DIR:nixpkgs-nixos-26.05:x docker-daemon:nixpkgs-nixos-26.05:x",
		"127.0.0.1:5000": "FROM 127.0.0.1:5000/nixpkgs-nixos-26.05:x@sha256:",
	} {
		all := made(t, *m.data, Options{Registry: host})
		if !strings.Contains(all["channels/nixos-26.05.html"], want) {
			t.Errorf("served by %q, the page does not say %q", host, want)
		}
		for name, content := range all {
			if strings.Contains(content, "/home/ann") {
				t.Errorf("%s shows a folder of this machine", name)
			}
		}
	}
}

// No page says more in its styles and scripts than its policy allows.
func TestPolicy(t *testing.T) {
	for name, content := range made(t, sample(t), Options{}) {
		if path.Ext(name) != ".html" {
			continue
		}
		for _, bad := range []string{"<style", " style=", "javascript:", " onclick", "http://"} {
			if strings.Contains(content, bad) {
				t.Errorf("%s has %q", name, bad)
			}
		}
		if !bytes.Contains([]byte(content), []byte(`http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;;`)) {
			t.Errorf("%s has no policy", name)
		}
	}
}
