package config

import (
	"slices"

	"gopkg.in/yaml.v3"
)

const (
	maxBackfill = 50
	maxCommands = 16
	maxImages   = 32
)

const defaultSubstituters = "[ { url: https://cache.nixos.org, keys: [ " + defaultCacheKey + " ] } ]"

// events are the kinds of events that a webhook can be told of.
var events = []string{"published", "failed"}

// rules is the table of channels.yaml, whose folder is dir.
func (c *Config) rules(dir string) rule {
	path := form[string]{want: "a path", parse: func(s string) (string, error) { return resolve(dir, s), nil }}
	return mapping("a mapping that has at least channels",
		key{name: "upstream", value: "{}", rule: settings(
			key{name: "repository", value: "NixOS/nixpkgs", rule: text(&c.Upstream.Repository, repository)},
			key{name: "api", rule: text(&c.Upstream.API, webAddress)},
			key{name: "archive", value: "https://github.com", rule: text(&c.Upstream.Archive, address)},
		)},
		key{name: "substituters", value: defaultSubstituters, rule: mappings(&c.Substituters, "binary cache", "a list of binary caches, each with url and keys",
			"a binary cache, with url and keys", (*Substituter).keys, func(s Substituter) string { return s.URL })},
		key{name: "publish", value: "[ { to: oci:./registry } ]", rule: c.publish(destination(dir))},
		key{name: "images", value: "[ { folder: images/base } ]", rule: atMost(maxImages, "images", mappings(&c.Images, "image",
			"a list of images, such as [ { folder: images/base } ]", "an image, such as { folder: images/base }", c.image(path), Image.Name)).and(c.distinct)},
		key{name: "systems", value: "[ x86_64-linux, aarch64-linux ]", rule: systemsRule(&c.Systems)},
		key{name: "schedule", value: "'47 * * * *'", rule: text(&c.Schedule, schedule)},
		key{name: "timezone", value: "UTC", rule: text(&c.TimeZone, zone)},
		key{name: "channels", missing: "no channels", rule: mappings(&c.Channels, "channel", "a list of channels, such as [ { name: nixos-unstable } ]",
			"a channel, such as { name: nixos-unstable }", c.channel, func(ch Channel) string { return ch.Name })},
		key{name: "source", value: "{}", rule: settings(
			key{name: "names", value: "[ nixpkgs-src, source ]", rule: first(SourceName, texts(&c.Source.Names, "name", "a list of store names that begins with "+SourceName, storeName)).and(firstName)},
		)},
		key{name: "compression", value: "gzip", rule: text(&c.Compression, oneOf("compression", "gzip", "zstd"))},
		key{name: "state", value: "factory.db", rule: text(&c.State, path)},
		key{name: "cache", rule: text(&c.Cache, path)},
		key{name: "jitter", rule: duration(&c.Jitter, "0s", "1h", "2m")},
		key{name: "grace", value: "10m", rule: duration(&c.Grace, "1s", "24h", "10m")},
		key{name: "limit", value: "6h", rule: duration(&c.Limit, "1s", "168h", "6h")},
		key{name: "backfill", rule: number(&c.Backfill, 0, maxBackfill)},
		key{name: "labels", rule: labels(&c.Labels)},
		key{name: "verify", rule: atMost(maxCommands, "commands",
			texts(&c.Verify, "command", "a list of commands, such as [ scripts/smoke-test ]", command))},
		key{name: "upload", rule: mappings(&c.Upload, "binary cache", "a list of binary caches to upload to, such as [ { cachix: mycache } ]",
			"{ attic: https://attic.example.org, cache: mycache }, { cachix: mycache } or { store: s3://bucket }", (*Upload).keys, Upload.place)},
		key{name: "notify", rule: mappings(&c.Notify, "webhook", "a list of webhooks, such as [ { urlFrom: FACTORY_WEBHOOK_URL } ]",
			"a webhook, such as { urlFrom: FACTORY_WEBHOOK_URL }", (*Notify).keys, func(n Notify) string { return n.URLFrom })},
		key{name: "attest", rule: truth(&c.Attest)},
		key{name: "sign", rule: mapping("a mapping with key, such as { key: cosign.key }",
			key{name: "key", missing: "missing: there is nothing to sign by", rule: text(&c.Sign.Key, privateKey(dir))},
		)},
		key{name: "nix", value: "auto", rule: text(&c.Nix, oneOf("Nix", "auto", "tree", "path"))},
		key{name: "evaluation", value: "{}", rule: settings(
			key{name: "timeout", value: "10m", rule: duration(&c.Evaluation.Timeout, "10s", "24h", "10m")},
			key{name: "memory", value: "4GiB", rule: memory(&c.Evaluation.Memory, "256MiB", "1024GiB", "4GiB")},
		)},
	)
}

func (s *Substituter) keys() []key {
	return []key{
		{name: "url", names: true, missing: "missing", rule: text(&s.URL, address)},
		{name: "keys", missing: "missing: without a trusted key nothing can be used",
			rule: texts(&s.Keys, "public key", "a list of public keys, such as [ "+defaultCacheKey+" ]", trustedKey)},
	}
}

func (c *Config) channel(ch *Channel) []key {
	return []key{
		{name: "name", names: true, missing: "missing", rule: text(&ch.Name, channelName)},
		{name: "tags", rule: texts(&ch.Tags, "tag", "a list of tags, such as [ latest ]", tag)},
		{name: "systems", rule: systemsRule(&ch.Systems)},
		{name: "optional", rule: systemsRule(&ch.Optional).and(func(p *parser, v value) {
			p.later = append(p.later, func() { p.checkOptional(v, ch.Optional, c.SystemsOf(*ch)) })
		})},
		{name: "backfill", rule: optional(&ch.Backfill, func(n *int) rule { return number(n, 0, maxBackfill) })},
		{name: "frozen", rule: truth(&ch.Frozen)},
	}
}

// keys are of three kinds of caches, of which an item is one.
func (u *Upload) keys() []key {
	return []key{
		{name: "attic", kind: "attic", missing: "missing beside cache", rule: text(&u.Attic, webAddress)},
		{name: "cache", kind: "attic", missing: "missing", names: true, rule: text(&u.Cache, atticName)},
		{name: "cachix", kind: "cachix", missing: "missing", names: true, rule: text(&u.Cachix, cachixName)},
		{name: "store", kind: "store", missing: "missing", names: true, rule: text(&u.Store, store)},
	}
}

func (n *Notify) keys() []key {
	event := oneOf("event", events...)
	return []key{
		{name: "urlFrom", names: true, missing: "missing", rule: text(&n.URLFrom, variable)},
		{name: "secretFrom", rule: text(&n.SecretFrom, secretVariable)},
		{name: "on", value: "[ published, failed ]", rule: texts(&n.On, "event", "a list of events: "+event.want, event)},
	}
}

func systemsRule(out *[]System) rule {
	return texts(out, "system", "a list of systems: "+system.want, system)
}

// publish takes an empty list for nowhere, which is different from a file that
// does not say: whoever uses the configuration says where to.
func (c *Config) publish(f form[Destination]) rule {
	list := mappings(&c.Publish, "destination", "a list of destinations, such as [ { to: oci:./registry } ]",
		"a destination, such as { to: oci:./registry }", func(d *Destination) []key {
			return []key{{name: "to", names: true, missing: "missing", rule: text(d, f)}}
		}, Destination.place)
	is := list.is
	is.MinItems = 0
	return rule{list.want, is, func(p *parser, v value) {
		if c.Publish = []Destination{}; v.node.Kind != yaml.SequenceNode || len(v.node.Content) > 0 {
			list.read(p, v)
		}
	}}
}

// labels is a mapping whose keys are not known beforehand. An empty one is nil,
// as is one that is not there.
func labels(out *map[string]string) rule {
	const want = "a mapping of labels, such as { org.opencontainers.image.source: https://github.com/org/images }"
	name := labelName.schema()
	is := schema{Description: want, Type: "object", PropertyNames: &name, AdditionalProperties: label.schema()}
	return rule{want, is, func(p *parser, v value) {
		p.entries(v, want, labelName.want, func(key, v value) {
			if _, err := labelName.read(key.node.Value); err != nil {
				p.errorf(key, "%v", err)
			}
			var text string
			read(p, v, &text, label)
			if *out == nil {
				*out = make(map[string]string)
			}
			(*out)[key.node.Value] = text
		})
	}}
}

// atMost bounds a list.
func atMost(most int, nouns string, list rule) rule {
	is := list.is
	is.MaxItems = most
	return rule{list.want, is, func(p *parser, v value) {
		if n := len(v.node.Content); v.node.Kind == yaml.SequenceNode && n > most {
			p.errorf(v, "found %d %s (want at most %d)", n, nouns, most)
			return
		}
		list.read(p, v)
	}}
}

// first says of a list what its first item is.
func first(word string, list rule) rule {
	all := list.is.Items.(schema)
	list.is.Items, list.is.AdditionalItems = []schema{{Description: all.Description, Enum: []string{word}}}, &all
	return list
}

func firstName(p *parser, v value) {
	if v.node.Kind != yaml.SequenceNode || len(v.node.Content) == 0 {
		return
	}
	if first := v.item(0, v.node.Content[0]).resolved(); first.node.Kind == yaml.ScalarNode && first.node.Value != SourceName {
		p.errorf(v, "%s is not the first name (want it there: NIX_PATH of the image points to it)", SourceName)
	}
}

// checkOptional holds the optional systems of a channel against all that it has,
// which may stand further down. Either is empty where there is an error in it.
func (p *parser) checkOptional(v value, optional, all []System) {
	if len(all) == 0 || len(optional) == 0 {
		return
	}
	for i, system := range optional {
		if !slices.Contains(all, system) {
			item := v.item(i, v.node.Content[i]).resolved()
			p.errorf(item, "%s is not one of the channel's systems (want %s)", system, alternatives(all, System.String))
		}
	}
	if !slices.ContainsFunc(all, func(s System) bool { return !slices.Contains(optional, s) }) {
		p.errorf(v, "every system is optional (want one of the channel's systems left out)")
	}
}
