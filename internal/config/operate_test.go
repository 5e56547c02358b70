package config

import (
	"strings"
	"testing"
)

func TestOperateErrors(t *testing.T) {
	const (
		jitter  = "a duration from 0s to 1h, such as 2m"
		grace   = "a duration from 1s to 24h, such as 10m"
		command = "a command for sh -c, such as scripts/smoke-test"
		label   = "a text of at most 1024 bytes without control characters"
		name    = "a name such as org.opencontainers.image.source"
	)
	commands := make([]string, 17)
	for i := range commands {
		commands[i] = "test " + strings.Repeat("x", i+1)
	}
	tests := []struct {
		name, data string
		want       []string
	}{
		{"jitter above", "jitter: 61m" + valid, []string{
			`1:9: jitter: found the text "61m" (want ` + jitter + `)`,
		}},
		{"jitter below", "jitter: -1s" + valid, []string{
			`1:9: jitter: found the text "-1s" (want ` + jitter + `)`,
		}},
		{"number for a duration", "jitter: 60" + valid, []string{
			`1:9: jitter: found the number 60 (want ` + jitter + `)`,
		}},
		{"truth value for a duration", "jitter: true" + valid, []string{
			`1:9: jitter: found the truth value true (want ` + jitter + `)`,
		}},
		{"nothing for a duration", "jitter:" + valid, []string{
			`1:8: jitter: found nothing (want ` + jitter + `)`,
		}},
		{"mapping that says it is a duration", "jitter: !!str {}" + valid, []string{
			`1:9: jitter: found a mapping (want ` + jitter + `)`,
		}},
		{"limit below", "limit: 0s" + valid, []string{
			`1:8: limit: found the text "0s" (want a duration from 1s to 168h, such as 6h)`,
		}},
		{"grace below", "grace: 999ms" + valid, []string{
			`1:8: grace: found the text "999ms" (want ` + grace + `)`,
		}},
		{"grace above", "grace: 24h1s" + valid, []string{
			`1:8: grace: found the text "24h1s" (want ` + grace + `)`,
		}},
		{"zero grace", "grace: 0" + valid, []string{
			`1:8: grace: found the number 0 (want ` + grace + `)`,
		}},
		{"backfill below and above", "backfill: -1\nchannels:\n- { name: a, backfill: 51 }\n", []string{
			`1:11: backfill: found the number -1 (want a whole number from 0 to 50)`,
			`3:24: channels[0].backfill: found the number 51 (want a whole number from 0 to 50)`,
		}},
		{"numbers that can be read in several ways", "backfill: 010\nchannels:\n- { name: a, backfill: 0x10 }\n- { name: b, backfill: 1e1 }\n- { name: c, backfill: 99999999999999999999 }\n", []string{
			`1:11: backfill: found the number 010 (want a whole number from 0 to 50)`,
			`3:24: channels[0].backfill: found the number 0x10 (want a whole number from 0 to 50)`,
			`4:24: channels[1].backfill: found the number 1e1 (want a whole number from 0 to 50)`,
			`5:24: channels[2].backfill: found the number 99999999999999999999 (want a whole number from 0 to 50)`,
		}},
		{"no number", "backfill: '5'\nchannels:\n- { name: a, backfill: ~ }\n- { name: b, backfill: [ 5 ] }\n", []string{
			`1:11: backfill: found the text "5" (want a whole number from 0 to 50)`,
			`3:24: channels[0].backfill: found nothing (want a whole number from 0 to 50)`,
			`4:24: channels[1].backfill: found a list (want a whole number from 0 to 50)`,
		}},
		{"no truth value", "channels:\n- { name: a, frozen: yes }\n- { name: b, frozen: 1 }\n- { name: c, frozen: 'true' }\n- { name: d, frozen: !!bool maybe }\n- { name: e, frozen: !!bool {} }\n", []string{
			`2:22: channels[0].frozen: found the text "yes" (want true or false)`,
			`3:22: channels[1].frozen: found the number 1 (want true or false)`,
			`4:22: channels[2].frozen: found the text "true" (want true or false)`,
			`5:22: channels[3].frozen: found the truth value maybe (want true or false)`,
			`6:22: channels[4].frozen: found a mapping (want true or false)`,
		}},
		{"labels a list", "labels: [ a=b ]" + valid, []string{
			`1:9: labels: found a list (want a mapping of labels, such as { org.opencontainers.image.source: https://github.com/org/images })`,
		}},
		{"names of labels", "labels:\n  A.b: x\n  a..b: x\n  -a: x\n  a b: x\n  \"\": x\n  " + strings.Repeat("a", 256) + ": x\n  ? [ a ]\n  : x\n  a: x\n  a: y" + valid, []string{
			`2:3: labels."A.b": bad label "A.b" (want ` + name + `)`,
			`3:3: labels."a..b": bad label "a..b" (want ` + name + `)`,
			`4:3: labels.-a: bad label "-a" (want ` + name + `)`,
			`5:3: labels."a b": bad label "a b" (want ` + name + `)`,
			`6:3: labels."": bad label "" (want ` + name + `)`,
			`7:3: labels.` + strings.Repeat("a", 40) + `…: bad label "` + strings.Repeat("a", 40) + `…" (want ` + name + `)`,
			`8:5: labels: found a list as a key (want ` + name + `)`,
			`11:3: labels.a: duplicate key "a", first on line 10`,
		}},
		{"labels of the factory", "labels:\n  org.opencontainers.image.revision: x\n  org.opencontainers.image.created: x\n  org.opencontainers.image.version: x\n  io.github.nixpkgs-factory.mine: x" + valid, []string{
			`2:3: labels."org.opencontainers.image.revision": bad label "org.opencontainers.image.revision": the factory sets it (want ` + name + `)`,
			`3:3: labels."org.opencontainers.image.created": bad label "org.opencontainers.image.created": the factory sets it (want ` + name + `)`,
			`4:3: labels."org.opencontainers.image.version": bad label "org.opencontainers.image.version": the factory sets it (want ` + name + `)`,
			`5:3: labels."io.github.nixpkgs-factory.mine": bad label "io.github.nixpkgs-factory.mine": the factory sets it (want ` + name + `)`,
		}},
		{"values of labels", "labels:\n  a: 1\n  b: ''\n  c: \"x\\ny\"\n  d: \"x\\u009by\"\n  e: " + strings.Repeat("é", 513) + "\n  f: {}" + valid, []string{
			`2:6: labels.a: found the number 1 (want ` + label + `; quotes make it a text)`,
			`3:6: labels.b: empty (want ` + label + `)`,
			`4:6: labels.c: bad value "x\ny" (want ` + label + `)`,
			`5:6: labels.d: bad value "x\u009by" (want ` + label + `)`,
			`6:6: labels.e: bad value "` + strings.Repeat("é", 40) + `…" (want ` + label + `)`,
			`7:6: labels.f: found a mapping (want ` + label + `)`,
		}},
		{"command in place of a list", "verify: scripts/smoke-test" + valid, []string{
			`1:9: verify: found the text "scripts/smoke-test" (want a list of commands, such as [ scripts/smoke-test ])`,
		}},
		{"no commands", "verify: []" + valid, []string{
			`1:9: verify: no commands (want a list of commands, such as [ scripts/smoke-test ])`,
		}},
		{"17 commands", "verify: [ " + strings.Join(commands, ", ") + " ]" + valid, []string{
			`1:9: verify: found 17 commands (want at most 16)`,
		}},
		{"bad commands", "verify: [ \" \\n\", \"a\\0b\", [ sh, -c ], true, x, x ]" + valid, []string{
			`1:11: verify[0]: blank (want ` + command + `)`,
			`1:18: verify[1]: has a zero byte in it (want ` + command + `)`,
			`1:26: verify[2]: found a list (want ` + command + `)`,
			`1:38: verify[3]: found the truth value true (want ` + command + `; quotes make it a text)`,
			`1:47: verify[5]: duplicate command "x", first on line 1`,
		}},
		{"webhook without a list", "notify: { urlFrom: A }" + valid, []string{
			`1:9: notify: found a mapping (want a list of webhooks, such as [ { urlFrom: FACTORY_WEBHOOK_URL } ])`,
		}},
		{"no webhooks", "notify: []" + valid, []string{
			`1:9: notify: no webhooks (want a list of webhooks, such as [ { urlFrom: FACTORY_WEBHOOK_URL } ])`,
		}},
		{"webhooks", "notify:\n- FACTORY_WEBHOOK_URL\n- { urlFrom: $A }\n- { urlFrom: 1A }\n- { urlFrom: A, at: x }\n- { urlFrom: A }\n- { urlFrom: B, secretFrom: hunter2 }\n- { urlFrom: C, secretFrom: [] }" + valid, []string{
			`2:3: notify[0]: found the text "FACTORY_WEBHOOK_URL" (want a webhook, such as { urlFrom: FACTORY_WEBHOOK_URL })`,
			`3:14: notify[1].urlFrom: not a variable (want the name of the environment variable that holds the address, such as FACTORY_WEBHOOK_URL)`,
			`4:14: notify[2].urlFrom: not a variable (want the name of the environment variable that holds the address, such as FACTORY_WEBHOOK_URL)`,
			`5:17: notify[3].at: unknown key, did you mean on? (want urlFrom, secretFrom or on)`,
			`6:14: notify[4].urlFrom: duplicate webhook "A", first on line 5`,
			`7:29: notify[5].secretFrom: not a variable (want the name, in capitals, of the environment variable that holds the secret, such as FACTORY_WEBHOOK_SECRET)`,
			`8:29: notify[6].secretFrom: found a list (want the name, in capitals, of the environment variable that holds the secret, such as FACTORY_WEBHOOK_SECRET)`,
		}},
		{"events", "notify:\n- { urlFrom: A, on: [] }\n- { urlFrom: B, on: failed }\n- { urlFrom: C, on: [ built, failed, failed ] }" + valid, []string{
			`2:21: notify[0].on: no events (want a list of events: published or failed)`,
			`3:21: notify[1].on: found the text "failed" (want a list of events: published or failed)`,
			`4:23: notify[2].on[0]: unknown event "built" (want published or failed)`,
			`4:38: notify[2].on[2]: duplicate event "failed", first on line 4`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkErrors(t, tt.data, tt.want)
		})
	}
}

func TestOptionalErrors(t *testing.T) {
	const (
		none  = "every system is optional (want one of the channel's systems left out)"
		x86   = "{ name: a, optional: [ x86_64-linux ] }"
		arm   = "{ name: a, optional: [ aarch64-linux ] }"
		both  = "{ name: a, optional: [ aarch64-linux, x86_64-linux ] }"
		only  = "{ name: b, systems: [ x86_64-linux ], optional: [ x86_64-linux ] }"
		other = "{ name: b, optional: [ aarch64-linux ], systems: [ x86_64-linux ] }"
	)
	tests := []struct {
		name, data string
		want       []string
	}{
		{"one of two", "channels: [ " + x86 + " ]\n", nil},
		{"all of two", "channels: [ " + both + " ]\n", []string{
			`1:34: channels[0].optional: ` + none,
		}},
		{"all of one", "channels: [ " + only + " ]\n", []string{
			`1:61: channels[0].optional: ` + none,
		}},
		{"none of the channel's", "channels: [ " + arm + ", " + other + " ]\n", []string{
			`1:78: channels[1].optional[0]: aarch64-linux is not one of the channel's systems (want x86_64-linux)`,
		}},
		{"against systems further down", "channels: [ " + arm + " ]\nsystems: [ x86_64-linux ]\n", []string{
			`1:36: channels[0].optional[0]: aarch64-linux is not one of the channel's systems (want x86_64-linux)`,
		}},
		{"all of the one further down", "channels: [ " + x86 + " ]\nsystems: [ x86_64-linux ]\n", []string{
			`1:34: channels[0].optional: ` + none,
		}},
		{"bad themselves", "channels: [ { name: a, optional: [ arm64, x86_64-linux, x86_64-linux ] }, { name: b, optional: [] } ]\n", []string{
			`1:36: channels[0].optional[0]: unknown system "arm64" (want x86_64-linux or aarch64-linux)`,
			`1:57: channels[0].optional[2]: duplicate system "x86_64-linux", first on line 1`,
			`1:96: channels[1].optional: no systems (want a list of systems: x86_64-linux or aarch64-linux)`,
		}},
		{"beside bad systems", "systems: [ arm64, x86_64-linux ]\nchannels:\n- " + arm + "\n- { name: b, systems: x86_64-linux, optional: [ aarch64-linux ] }\n", []string{
			`1:12: systems[0]: unknown system "arm64" (want x86_64-linux or aarch64-linux)`,
			`4:23: channels[1].systems: found the text "x86_64-linux" (want a list of systems: x86_64-linux or aarch64-linux)`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkErrors(t, tt.data, tt.want)
		})
	}
}
