package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// messages gives the single errors of what Parse returned, and checks that
// each is an *Error with a place.
func messages(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%T cannot be taken apart", err)
	}
	var all []string
	for _, err := range joined.Unwrap() {
		var e *Error
		if !errors.As(err, &e) || e.Line < 1 || e.Column < 0 || e.Msg == "" || e.File == "" {
			t.Errorf("%#v is no error with a place", err)
		}
		all = append(all, err.Error())
	}
	return all
}

func TestEverythingWrong(t *testing.T) {
	data, err := os.ReadFile("testdata/everything-wrong.yaml")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("testdata/everything-wrong.golden")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("channels.yaml", data)
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(string(golden)), "\n"), messages(t, err)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Config{}, c); diff != "" {
		t.Errorf("a Config beside the errors (-want +got):\n%s", diff)
	}
}

// checkErrors holds the errors of a file against those that it should have,
// which begin at the line number.
func checkErrors(t *testing.T, data string, want []string) []string {
	t.Helper()
	_, err := Parse("c.yaml", []byte(data))
	got := messages(t, err)
	for i, message := range got {
		got[i] = strings.TrimPrefix(message, "c.yaml:")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Parse(%.200q) (-want +got):\n%s", data, diff)
	}
	return got
}

const (
	valid = "\nchannels: [ { name: a } ]\n"
	known = "upstream, substituters, publish, images, systems, schedule, timezone, channels, source, compression, state, cache, jitter, grace, limit, backfill, labels, verify, upload, notify, attest, sign, nix or evaluation"
)

func TestErrors(t *testing.T) {
	const (
		key = defaultCacheKey
		tag = `at most 128 of A-Z a-z 0-9 _ . -, not beginning with . or -, or a template such as "{date}-{rev:12}"`
	)
	tests := []struct {
		name, data string
		want       []string
	}{
		{"empty file", "", []string{
			`1:1: empty (want at least channels)`,
		}},
		{"only a comment", "\n# nothing\n", []string{
			`1:1: empty (want at least channels)`,
		}},
		{"empty document", "---\n", []string{
			`2:1: found nothing (want a mapping that has at least channels)`,
		}},
		{"null", "null\n", []string{
			`1:1: found nothing (want a mapping that has at least channels)`,
		}},
		{"list at the top", "- a\n", []string{
			`1:1: found a list (want a mapping that has at least channels)`,
		}},
		{"text at the top", "channels\n", []string{
			`1:1: found the text "channels" (want a mapping that has at least channels)`,
		}},
		{"channels missing", "{}\n", []string{
			`1:1: channels: no channels (want a list of channels, such as [ { name: nixos-unstable } ])`,
		}},
		{"channels empty", "channels: []\n", []string{
			`1:11: channels: no channels (want a list of channels, such as [ { name: nixos-unstable } ])`,
		}},
		{"channels null", "channels:\n", []string{
			`1:10: channels: no channels (want a list of channels, such as [ { name: nixos-unstable } ])`,
		}},
		{"channels a mapping", "channels: {}\n", []string{
			`1:11: channels: found a mapping (want a list of channels, such as [ { name: nixos-unstable } ])`,
		}},
		{"colon in a value", "a: b: c\n", []string{
			`1: not YAML: mapping values are not allowed in this context`,
		}},
		{"bracket missing", "channels: [ { name: a }\n", []string{
			`1: not YAML: did not find expected ',' or ']'`,
		}},
		{"tab", "channels:\n\t- name: a\n", []string{
			`2: not YAML: found character that cannot start any token`,
		}},
		{"quote missing", "a: 'b\n", []string{
			`2: not YAML: found unexpected end of stream`,
		}},
		{"unknown anchor", "a: *b\n", []string{
			`1: not YAML: unknown anchor 'b' referenced`,
		}},
		{"two documents", valid + "---\nchannels: []\n", []string{
			`3:1: a second document (want one)`,
		}},
		{"broken second document", valid + "---\n[\n", []string{
			`4: not YAML: did not find expected node content`,
		}},
		{"control character", "é: \x01\n", []string{
			`1:4: control character U+0001`,
		}},
		{"not UTF-8", "a: b\né: \xff\n", []string{
			`2:4: not UTF-8 text`,
		}},
		{"UTF-16", "\xff\xfea\x00", []string{
			`1:1: not UTF-8 text`,
		}},
		{"list as a key", "? [a]\n: b" + valid, []string{
			`1:3: found a list as a key (want ` + known + `)`,
		}},
		{"mapping as a key", "? {a: b}\n: c" + valid, []string{
			`1:3: found a mapping as a key (want ` + known + `)`,
		}},
		{"number as a key", "1: x" + valid, []string{
			`1:1: 1: unknown key (want ` + known + `)`,
		}},
		{"no text as a key", "\"\": x" + valid, []string{
			`1:1: "": unknown key (want ` + known + `)`,
		}},
		{"merge key", "<<: { cache: x }" + valid, []string{
			`1:1: "<<": merge keys are not supported (want ` + known + `)`,
		}},
		{"key with spaces and newline", "\"a b\\n\": x" + valid, []string{
			`1:1: "a b\n": unknown key (want ` + known + `)`,
		}},
		{"very long key", strings.Repeat("k", 200) + ": x" + valid, []string{
			`1:1: kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk…: unknown key (want ` + known + `)`,
		}},
		{"a key of before", "caches: []" + valid, []string{`1:1: caches: this key is upload now`}},
		{"unknown keys near and far", "Imaje: x\nchanels: x\nspeed: x" + valid, []string{
			`1:1: Imaje: unknown key, did you mean images? (want ` + known + `)`,
			`2:1: chanels: unknown key, did you mean channels? (want ` + known + `)`,
			`3:1: speed: unknown key (want ` + known + `)`,
		}},
		{"key of a later version", "channels: [ { name: a, retention: 3 } ]\n", []string{
			`1:24: channels[0].retention: unknown key (want name, tags, systems, optional, backfill or frozen)`,
		}},
		{"key twice", "cache: y\ncache: z" + valid, []string{
			`2:1: cache: duplicate key "cache", first on line 1`,
		}},
		{"number for a text", "cache: 1" + valid, []string{
			`1:8: cache: found the number 1 (want a path; quotes make it a text)`,
		}},
		{"truth value for a text", "cache: true" + valid, []string{
			`1:8: cache: found the truth value true (want a path; quotes make it a text)`,
		}},
		{"date for a text", "cache: 2026-01-01" + valid, []string{
			`1:8: cache: found the date 2026-01-01 (want a path; quotes make it a text)`,
		}},
		{"unknown type for a text", "cache: !path x" + valid, []string{
			`1:8: cache: found a value tagged !path (want a path; quotes make it a text)`,
		}},
		{"null for a text", "cache: ~" + valid, []string{
			`1:8: cache: found nothing (want a path)`,
		}},
		{"mapping for a text", "cache: {}" + valid, []string{
			`1:8: cache: found a mapping (want a path)`,
		}},
		{"empty text", "cache: ''" + valid, []string{
			`1:8: cache: empty (want a path)`,
		}},
		{"very long text", "cache: " + strings.Repeat("x", 4097) + valid, []string{
			`1:8: cache: longer than 4096 bytes (want a path)`,
		}},
		{"long text for a list", "systems: " + strings.Repeat("x", 60) + valid, []string{
			`1:10: systems: found the text "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…" (want a list of systems: x86_64-linux or aarch64-linux)`,
		}},
		{"upstream a text", "upstream: github" + valid, []string{
			`1:11: upstream: found the text "github" (want a mapping with repository, api or archive)`,
		}},
		{"repository without a name", "upstream: { repository: NixOS/.. }" + valid, []string{
			`1:25: upstream.repository: bad repository "NixOS/.." (want owner/name, such as NixOS/nixpkgs)`,
		}},
		{"address without scheme", "upstream: { api: api.github.com }" + valid, []string{
			`1:18: upstream.api: bad address: scheme "" (want an address that begins with http:// or https://)`,
		}},
		{"file for the API", "upstream: { api: 'file:///srv' }" + valid, []string{
			`1:18: upstream.api: bad address: scheme "file" (want an address that begins with http:// or https://)`,
		}},
		{"address without host", "upstream: { api: 'https://' }" + valid, []string{
			`1:18: upstream.api: bad address: "https://" has no host (want an address that begins with http:// or https://)`,
		}},
		{"address with a query", "upstream: { api: 'https://a.b/?token=hunter2' }" + valid, []string{
			`1:18: upstream.api: bad address: has a ? or # part, which is not used (want an address that begins with http:// or https://)`,
		}},
		{"address with a fragment", "upstream: { api: 'https://a.b/#x' }" + valid, []string{
			`1:18: upstream.api: bad address: has a ? or # part, which is not used (want an address that begins with http:// or https://)`,
		}},
		{"space in a host", "upstream: { api: 'https://a b' }" + valid, []string{
			`1:18: upstream.api: bad address: invalid character " " in host name (want an address that begins with http:// or https://)`,
		}},
		{"file on another host", "upstream: { archive: file://host/srv }" + valid, []string{
			`1:22: upstream.archive: bad address: "file://host/srv" is not file:// and an absolute path (want an address that begins with http://, https:// or file://)`,
		}},
		{"relative file", "upstream: { archive: 'file:srv' }" + valid, []string{
			`1:22: upstream.archive: bad address: "file:srv" is not file:// and an absolute path (want an address that begins with http://, https:// or file://)`,
		}},
		{"no keys", "substituters: [ { url: https://a.b, keys: [] } ]" + valid, []string{
			`1:43: substituters[0].keys: no public keys (want a list of public keys, such as [ cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY= ])`,
		}},
		{"keys missing", "substituters: [ { url: https://a.b } ]" + valid, []string{
			`1:17: substituters[0].keys: missing: without a trusted key nothing can be used (want a list of public keys, such as [ cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY= ])`,
		}},
		{"key and cache twice", "substituters:\n- { url: https://a.b, keys: [ " + key + ",\n    " + key + " ] }\n- { url: https://a.b/, keys: [ " + key + " ] }" + valid, []string{
			`3:5: substituters[0].keys[1]: duplicate public key "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=", first on line 2`,
			`4:10: substituters[1].url: duplicate binary cache "https://a.b/", first on line 2`,
		}},
		{"key without a name", "substituters: [ { url: https://a.b, keys: [ 6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY= ] } ]" + valid, []string{
			`1:45: substituters[0].keys[0]: public key: no name and colon in front (want a public key, such as cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=)`,
		}},
		{"four fields", "schedule: 0 0 * *" + valid, []string{
			`1:11: schedule: bad schedule "0 0 * *": expected exactly 5 fields, found 4: [0 0 * *] (want five fields, such as "47 * * * *", or a descriptor, such as @hourly)`,
		}},
		{"six fields", "schedule: '* * * * * *'" + valid, []string{
			`1:11: schedule: bad schedule "* * * * * *": expected exactly 5 fields, found 6: [* * * * * *] (want five fields, such as "47 * * * *", or a descriptor, such as @hourly)`,
		}},
		{"unknown descriptor", "schedule: '@reboot'" + valid, []string{
			`1:11: schedule: bad schedule "@reboot": unrecognized descriptor: @reboot (want five fields, such as "47 * * * *", or a descriptor, such as @hourly)`,
		}},
		{"every 10 ms", "schedule: '@every 10ms'" + valid, []string{
			`1:11: schedule: bad schedule "@every 10ms": less than a second (want five fields, such as "47 * * * *", or a descriptor, such as @hourly)`,
		}},
		{"every hour backwards", "schedule: '@every -1h'" + valid, []string{
			`1:11: schedule: bad schedule "@every -1h": less than a second (want five fields, such as "47 * * * *", or a descriptor, such as @hourly)`,
		}},
		{"zone in the schedule", "schedule: 'CRON_TZ='" + valid, []string{
			`1:11: schedule: bad schedule "CRON_TZ=": the key timezone sets the time zone (want five fields, such as "47 * * * *", or a descriptor, such as @hourly)`,
		}},
		{"30th of February", "schedule: 0 0 30 2 *" + valid, []string{
			`1:11: schedule: bad schedule "0 0 30 2 *": that time never comes (want five fields, such as "47 * * * *", or a descriptor, such as @hourly)`,
		}},
		{"zone outside the database", "timezone: ../etc/passwd" + valid, []string{
			`1:11: timezone: unknown time zone "../etc/passwd" (want a time zone, such as UTC or Europe/Berlin)`,
		}},
		{"number for a zone", "timezone: 2" + valid, []string{
			`1:11: timezone: found the number 2 (want a time zone, such as UTC or Europe/Berlin; quotes make it a text)`,
		}},
		{"names a text", "source: { names: source }" + valid, []string{
			`1:18: source.names: found the text "source" (want a list of store names that begins with nixpkgs-src)`,
		}},
		{"names empty", "source: { names: [] }" + valid, []string{
			`1:18: source.names: no names (want a list of store names that begins with nixpkgs-src)`,
		}},
		{"name twice", "source: { names: [ nixpkgs-src, nixpkgs-src ] }" + valid, []string{
			`1:33: source.names[1]: duplicate name "nixpkgs-src", first on line 1`,
		}},
		{"list in names", "source: { names: [ [ nixpkgs-src ] ] }" + valid, []string{
			`1:20: source.names[0]: found a list (want a name in the Nix store, such as nixpkgs-src)`,
		}},
		{"another name first", "source: { names: [ source, nixpkgs-src ] }" + valid, []string{
			`1:18: source.names: nixpkgs-src is not the first name (want it there: NIX_PATH of the image points to it)`,
		}},
		{"name missing", "channels: [ { tags: [ a ] } ]\n", []string{
			`1:13: channels[0].name: missing (want the name of a branch that Hydra advances, such as nixos-unstable)`,
		}},
		{"channels that are no branch or no repository", "channels:\n- name: NixOS\n- name: a/b\n- name: a..b\n- name: -a\n- name: a.lock\n- name: 4f2c1e04f2c1e04f2c1e04f2c1e04f2c1e04f2ca\n- name: " + strings.Repeat("a", 101) + "\n", []string{
			`2:9: channels[0].name: bad channel "NixOS": has capital letters, which registries refuse (want the name of a branch that Hydra advances, such as nixos-unstable)`,
			`3:9: channels[1].name: bad channel "a/b": registries take only a-z, 0-9 and single . _ - between them (want the name of a branch that Hydra advances, such as nixos-unstable)`,
			`4:9: channels[2].name: bad channel "a..b": registries take only a-z, 0-9 and single . _ - between them (want the name of a branch that Hydra advances, such as nixos-unstable)`,
			`5:9: channels[3].name: bad channel "-a": registries take only a-z, 0-9 and single . _ - between them (want the name of a branch that Hydra advances, such as nixos-unstable)`,
			`6:9: channels[4].name: bad channel "a.lock": git has no branch that ends in .lock (want the name of a branch that Hydra advances, such as nixos-unstable)`,
			`7:9: channels[5].name: bad channel "4f2c1e04f2c1e04f2c1e04f2c1e04f2c1e04f2ca": a revision is not a channel (want the name of a branch that Hydra advances, such as nixos-unstable)`,
			`8:9: channels[6].name: bad channel "` + strings.Repeat("a", 101) + `": longer than 100 characters (want the name of a branch that Hydra advances, such as nixos-unstable)`,
		}},
		{"channel twice", "channels:\n- name: a\n- name: b\n- name: a\n", []string{
			`4:9: channels[2].name: duplicate channel "a", first on line 2`,
		}},
		{"tag twice", "channels: [ { name: a, tags: [ x, x ] }, { name: b, tags: [ x ] } ]\n", []string{
			`1:35: channels[0].tags[1]: duplicate tag "x", first on line 1`,
		}},
		{"bad tags", "channels: [ { name: a, tags: [ .x, a/b, \"\", 4F2C1E04f2c1e04f2c1e04f2c1e04f2c1e04f2ca, " + strings.Repeat("a", 129) + " ] } ]\n", []string{
			`1:32: channels[0].tags[0]: bad tag ".x" (want ` + tag + `)`,
			`1:36: channels[0].tags[1]: bad tag "a/b" (want ` + tag + `)`,
			`1:41: channels[0].tags[2]: empty (want ` + tag + `)`,
			`1:45: channels[0].tags[3]: bad tag "4F2C1E04f2c1e04f2c1e04f2c1e04f2c1e04f2ca": looks like a revision, whose tag never moves (want ` + tag + `)`,
			`1:87: channels[0].tags[4]: bad tag "` + strings.Repeat("a", 129) + `" (want ` + tag + `)`,
		}},
		{"number for a tag", "channels: [ { name: a, tags: [ 26.05 ] } ]\n", []string{
			`1:32: channels[0].tags[0]: found the number 26.05 (want ` + tag + `; quotes make it a text)`,
		}},
		{"no systems", "channels: [ { name: a, systems: [] } ]\n", []string{
			`1:33: channels[0].systems: no systems (want a list of systems: x86_64-linux or aarch64-linux)`,
		}},
		{"error behind an alias", "source: { names: &c [ A/ ] }\nchannels: [ { name: a, tags: *c } ]\n", []string{
			`1:18: source.names: nixpkgs-src is not the first name (want it there: NIX_PATH of the image points to it)`,
			`1:23: source.names[0]: name "A/": bad character "/" (want a name in the Nix store, such as nixpkgs-src)`,
			`1:23: channels[0].tags[0]: bad tag "A/" (want ` + tag + `)`,
		}},
		{"destination twice", "publish:\n- to: oci:./a\n- to: docker.io/org\n- to: index.docker.io/org\n- to: oci:b/../a" + valid, []string{
			`4:7: publish[2].to: duplicate destination "index.docker.io/org", first on line 3`,
			`5:7: publish[3].to: duplicate destination "oci:b/../a", first on line 2`,
		}},
		{"destination missing", "publish: [ {} ]" + valid, []string{
			`1:12: publish[0].to: missing (want oci:DIR or [http://]HOST[:PORT]/PATH, such as oci:./registry, docker.io/org or http://registry:5000/org)`,
		}},
		{"destination a text", "publish: oci:./registry" + valid, []string{
			`1:10: publish: found the text "oci:./registry" (want a list of destinations, such as [ { to: oci:./registry } ])`,
		}},
		{"destination in a list", "publish: [ oci:./registry ]" + valid, []string{
			`1:12: publish[0]: found the text "oci:./registry" (want a destination, such as { to: oci:./registry })`,
		}},
		{"file too long", strings.Repeat("#", maxSize+1), []string{
			`1:1: longer than 262144 bytes`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkErrors(t, tt.data, tt.want)
		})
	}
}

// A small file can mean a large one, by lists of aliases to lists, or be nested deeply.
func TestTooMuch(t *testing.T) {
	var tags, channels strings.Builder
	for i := range 200 {
		fmt.Fprintf(&tags, "t%d, ", i)
		fmt.Fprintf(&channels, "- { name: c%d, tags: *tags }\n", i)
	}
	checkErrors(t, "source: { names: &tags [ nixpkgs-src, "+tags.String()+"] }\nchannels:\n"+channels.String(), []string{
		`1:559: channels[96].tags[106]: more than 20000 values in one file`,
	})
	checkErrors(t, "labels: { a: "+strings.Repeat("[", 9000)+strings.Repeat("]", 9000)+" }"+valid, []string{
		`1:14: labels.a: found a list (want a text of at most 1024 bytes without control characters)`,
	})
	_, err := Parse("c.yaml", []byte("x: "+strings.Repeat("[", 9000)+"ghp_0123456789abcdef"+strings.Repeat("]", 9000)+valid))
	if all := messages(t, err); len(all) != 2 || !strings.Contains(all[1], "[0][0]: found a GitHub token") || len(all[1]) > 2*maxPath {
		t.Errorf("a token within 9000 lists: %.3000q", all)
	}
}
