package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"
)

// What the keys are that concern running unattended.
const (
	maxBackfill = 50
	maxCommands = 16
	maxLabel    = 1024

	wantJitter    = "a duration from 0s to 1h, such as 2m"
	wantGrace     = "a duration from 1s to 24h, such as 10m"
	wantLimit     = "a duration from 1s to 168h, such as 6h"
	wantLabels    = "a mapping of labels, such as { org.opencontainers.image.source: https://github.com/org/images }"
	wantLabelName = "a name such as org.opencontainers.image.source"
	wantLabel     = "a text of at most 1024 bytes without control characters"
	wantVerify    = "a list of commands, such as [ scripts/smoke-test ]"
	wantCommand   = "a command for sh -c, such as scripts/smoke-test"
	wantNotify    = "a list of webhooks, such as [ { urlFrom: FACTORY_WEBHOOK_URL } ]"
	wantWebhook   = "a webhook, such as { urlFrom: FACTORY_WEBHOOK_URL }"
	wantVariable  = "the name of the environment variable that holds the address, such as FACTORY_WEBHOOK_URL"
	wantEvents    = "a list of events: " + wantEvent
	wantEvent     = "published or failed"
	wantSecret    = "the name, in capitals, of the environment variable that holds the secret, such as FACTORY_WEBHOOK_SECRET"
)

var (
	labelPattern    = regexp.MustCompile(`^[a-z0-9]+(?:[._/-][A-Za-z0-9]+)*$`)
	variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

	events    = []string{"published", "failed"}
	ownLabels = []string{
		"org.opencontainers.image.revision",
		"org.opencontainers.image.created",
		"org.opencontainers.image.version",
	}
)

// labels reads a mapping whose keys are not known beforehand. An empty one is
// nil, as is one that is not there.
func (p *parser) labels(v value) map[string]string {
	var all map[string]string
	p.entries(v, wantLabels, wantLabelName, func(key, v value) {
		if err := checkLabelName(key.node.Value); err != nil {
			p.errorf(key, "%v", err)
		}
		text := p.text(v, wantLabel, checkLabel)
		if all == nil {
			all = make(map[string]string)
		}
		all[key.node.Value] = text
	})
	return all
}

// checkLabelName takes names that registries and engines can show and filter
// by, and none by which the factory knows its own images.
func checkLabelName(s string) error {
	if len(s) > 255 || !labelPattern.MatchString(s) {
		return fmt.Errorf("bad label %q (want %s)", brief(s), wantLabelName)
	}
	if strings.HasPrefix(s, "io.github.nixpkgs-factory.") || slices.Contains(ownLabels, s) {
		return fmt.Errorf("bad label %q: the factory sets it (want %s)", s, wantLabelName)
	}
	return nil
}

func checkLabel(s string) error {
	if len(s) > maxLabel || strings.ContainsFunc(s, unicode.IsControl) {
		return fmt.Errorf("bad value %q (want %s)", brief(s), wantLabel)
	}
	return nil
}

func (p *parser) verify(v value) []string {
	if n := len(v.node.Content); v.node.Kind == yaml.SequenceNode && n > maxCommands {
		p.errorf(v, "found %d commands (want at most %d)", n, maxCommands)
		return nil
	}
	return p.names(v, wantVerify, "command", wantCommand, checkCommand)
}

func checkCommand(s string) error {
	switch {
	case strings.TrimSpace(s) == "":
		return fmt.Errorf("blank (want %s)", wantCommand)
	case strings.ContainsRune(s, 0):
		return fmt.Errorf("has a zero byte in it (want %s)", wantCommand)
	}
	return nil
}

func (p *parser) notify(v value) []Notify {
	var all []Notify
	seen := lines{}
	for _, item := range p.list(v, "webhook", wantNotify) {
		n := Notify{On: slices.Clone(events)}
		p.mapping(item, wantWebhook, []field{
			{key: "urlFrom", missing: "missing (want " + wantVariable + ")", decode: func(v value) {
				n.URLFrom = p.text(v, wantVariable, checkVariable)
				p.unique(seen, v, "webhook", n.URLFrom)
			}},
			{key: "secretFrom", decode: func(v value) { n.SecretFrom = p.text(v, wantSecret, checkSecretVariable) }},
			{key: "on", decode: func(v value) { n.On = p.names(v, wantEvents, "event", wantEvent, checkEvent) }},
		})
		all = append(all, n)
	}
	return all
}

// checkVariable does not repeat what it refuses: it may be the address itself.
func checkVariable(s string) error {
	if !variablePattern.MatchString(s) {
		return errors.New("not a variable (want " + wantVariable + ")")
	}
	return nil
}

// checkSecretVariable takes names in capitals only: a secret that somebody has
// put here is hardly one.
func checkSecretVariable(s string) error {
	if !variablePattern.MatchString(s) || s != strings.ToUpper(s) {
		return errors.New("not a variable (want " + wantSecret + ")")
	}
	return nil
}

func checkEvent(s string) error {
	if !slices.Contains(events, s) {
		return fmt.Errorf("unknown event %q (want %s)", s, wantEvent)
	}
	return nil
}

// optional is what a channel has to say of optional systems. They are held
// against the systems that it has, which may stand further down.
type optional struct {
	value   value
	channel Channel
}

func (p *parser) checkOptional(c *Config) {
	for _, o := range p.optional {
		all := c.SystemsOf(o.channel)
		if len(all) == 0 {
			continue // they are wrong themselves
		}
		for i, system := range o.channel.Optional {
			if !slices.Contains(all, system) {
				item := enter(o.value.node.Content[i], &path{parent: o.value.path, item: true, index: i})
				p.errorf(item, "%s is not one of the channel's systems (want %s)", system, alternatives(all, System.String))
			}
		}
		if !slices.ContainsFunc(all, func(s System) bool { return !slices.Contains(o.channel.Optional, s) }) {
			p.errorf(o.value, "every system is optional (want one of the channel's systems left out)")
		}
	}
}
