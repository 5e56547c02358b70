package config

import (
	"fmt"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

const (
	wantChannels     = "a list of channels, such as [ { name: nixos-unstable } ]"
	wantChannel      = "a channel, such as { name: nixos-unstable }"
	wantTags         = "a list of tags, such as [ latest ]"
	wantSystems      = "a list of systems: " + wantSystem
	wantSubstituters = "a list of binary caches, each with url and keys"
	wantKeys         = "a list of public keys, such as [ " + defaultCacheKey + " ]"
	wantKey          = "a public key, such as " + defaultCacheKey
	wantPublish      = "a list of destinations, such as [ { to: oci:./registry } ]"
	wantNames        = "a list of store names that begins with " + SourceName
	wantCompression  = "gzip or zstd"
	wantZone         = "a time zone, such as UTC or Europe/Berlin"
)

// config reads the top of the file.
func (p *parser) config(v value, c *Config) {
	folder := func(path *string) func(value) {
		return func(v value) {
			if s := p.text(v, "a path", anything); s != "" {
				*path = resolve(p.dir, s)
			}
		}
	}
	p.mapping(v, "a mapping that has at least channels", []field{
		{key: "upstream", decode: func(v value) { p.upstream(v, &c.Upstream) }},
		{key: "substituters", decode: func(v value) { c.Substituters = p.substituters(v) }},
		{key: "publish", decode: func(v value) { c.Publish = p.publish(v) }},
		{key: "image", decode: folder(&c.Image)},
		{key: "systems", decode: func(v value) { c.Systems = p.systems(v) }},
		{key: "schedule", decode: func(v value) { c.Schedule = p.text(v, wantSchedule, checkSchedule) }},
		{key: "timezone", decode: func(v value) { c.TimeZone = p.text(v, wantZone, checkZone) }},
		{key: "channels", missing: "no channels (want " + wantChannels + ")", decode: func(v value) { c.Channels = p.channels(v) }},
		{key: "source", decode: func(v value) { p.source(v, &c.Source) }},
		{key: "compression", decode: func(v value) { c.Compression = p.text(v, wantCompression, checkCompression) }},
		{key: "state", decode: folder(&c.State)},
		{key: "cache", decode: folder(&c.Cache)},
		{key: "jitter", decode: func(v value) { c.Jitter = p.duration(v, wantJitter, 0, time.Hour) }},
		{key: "grace", decode: func(v value) { c.Grace = p.duration(v, wantGrace, time.Second, 24*time.Hour) }},
		{key: "limit", decode: func(v value) { c.Limit = p.duration(v, wantLimit, time.Second, 168*time.Hour) }},
		{key: "backfill", decode: func(v value) { c.Backfill = p.number(v, 0, maxBackfill) }},
		{key: "labels", decode: func(v value) { c.Labels = p.labels(v) }},
		{key: "verify", decode: func(v value) { c.Verify = p.verify(v) }},
		{key: "upload", decode: func(v value) { c.Upload = p.upload(v) }},
		{key: "notify", decode: func(v value) { c.Notify = p.notify(v) }},
		{key: "evaluation", decode: func(v value) { p.evaluation(v, &c.Evaluation) }},
	})
	p.checkOptional(c)
}

func (p *parser) upstream(v value, u *Upstream) {
	p.mapping(v, "a mapping with repository, api or archive", []field{
		{key: "repository", decode: func(v value) { u.Repository = p.text(v, wantRepository, checkRepository) }},
		{key: "api", decode: func(v value) { u.API = p.url(v, "http", "https") }},
		{key: "archive", decode: func(v value) { u.Archive = p.url(v, "http", "https", "file") }},
	})
}

func (p *parser) substituters(v value) []Substituter {
	var all []Substituter
	seen := lines{}
	for _, item := range p.list(v, "binary cache", wantSubstituters) {
		var s Substituter
		p.mapping(item, "a binary cache, with url and keys", []field{
			{key: "url", missing: "missing (want the address of a binary cache)", decode: func(v value) {
				s.URL = p.url(v, "http", "https", "file")
				p.unique(seen, v, "binary cache", s.URL)
			}},
			{key: "keys", missing: "missing: without a trusted key nothing can be used (want " + wantKeys + ")", decode: func(v value) {
				s.Keys = p.keys(v)
			}},
		})
		all = append(all, s)
	}
	return all
}

func (p *parser) keys(v value) []nix.PublicKey {
	var all []nix.PublicKey
	seen := lines{}
	for _, item := range p.list(v, "public key", wantKeys) {
		var key nix.PublicKey
		s := p.text(item, wantKey, func(s string) (err error) {
			if key, err = nix.ParsePublicKey(s); err != nil {
				return fmt.Errorf("%w (want %s)", err, wantKey)
			}
			return nil
		})
		if p.unique(seen, item, "public key", s) {
			all = append(all, key)
		}
	}
	return all
}

// publish reads the destinations. An empty list is nowhere, which is different
// from a file that does not say: whoever uses the configuration says where to.
func (p *parser) publish(v value) []Destination {
	if v.node.Kind == yaml.SequenceNode && len(v.node.Content) == 0 {
		return []Destination{}
	}
	var all []Destination
	seen := lines{}
	for _, item := range p.list(v, "destination", wantPublish) {
		p.mapping(item, "a destination, such as { to: oci:./registry }", []field{
			{key: "to", missing: "missing (want " + wantDestination + ")", decode: func(v value) {
				var d Destination
				s := p.text(v, wantDestination, func(s string) (err error) {
					d, err = ParseDestination(s, p.dir)
					return err
				})
				if s != "" && p.unique(seen, v, "destination", d.place()) {
					all = append(all, d)
				}
			}},
		})
	}
	return all
}

// systems reads a list of systems. It is empty, not nil, when there is an error
// in it: nil would mean that the file says nothing.
func (p *parser) systems(v value) []System {
	all := []System{}
	seen := lines{}
	items := p.list(v, "system", wantSystems)
	for _, item := range items {
		var system System
		s := p.text(item, wantSystem, func(s string) (err error) {
			system, err = ParseSystem(s)
			return err
		})
		if p.unique(seen, item, "system", s) {
			all = append(all, system)
		}
	}
	if len(all) < len(items) {
		return []System{}
	}
	return all
}

func (p *parser) channels(v value) []Channel {
	var all []Channel
	seen := lines{}
	for _, item := range p.list(v, "channel", wantChannels) {
		var c Channel
		var list value // of optional systems
		p.mapping(item, wantChannel, []field{
			{key: "name", missing: "missing (want " + wantChannelName + ")", decode: func(v value) {
				c.Name = p.text(v, wantChannelName, checkChannel)
				p.unique(seen, v, "channel", c.Name)
			}},
			{key: "tags", decode: func(v value) { c.Tags = p.names(v, wantTags, "tag", wantTag, checkTemplate) }},
			{key: "systems", decode: func(v value) { c.Systems = p.systems(v) }},
			{key: "optional", decode: func(v value) { list, c.Optional = v, p.systems(v) }},
			{key: "backfill", decode: func(v value) { n := p.number(v, 0, maxBackfill); c.Backfill = &n }},
			{key: "frozen", decode: func(v value) { c.Frozen = p.truth(v) }},
		})
		if len(c.Optional) > 0 {
			p.optional = append(p.optional, optional{list, c})
		}
		all = append(all, c)
	}
	return all
}

func (p *parser) source(v value, s *Source) {
	p.mapping(v, "a mapping with names", []field{
		{key: "names", decode: func(v value) {
			s.Names = p.names(v, wantNames, "name", wantStoreName, checkStoreName)
			if v.node.Kind != yaml.SequenceNode || len(v.node.Content) == 0 {
				return
			}
			if first := enter(v.node.Content[0], v.path); first.node.Kind == yaml.ScalarNode && first.node.Value != SourceName {
				p.errorf(v, "%s is not the first name (want it there: NIX_PATH of the image points to it)", SourceName)
			}
		}},
	})
}

// names reads a list of distinct texts.
func (p *parser) names(v value, want, noun, wantOne string, check func(string) error) []string {
	var all []string
	seen := lines{}
	for _, item := range p.list(v, noun, want) {
		if s := p.text(item, wantOne, check); p.unique(seen, item, noun, s) {
			all = append(all, s)
		}
	}
	return all
}
