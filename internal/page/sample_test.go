package page

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/record"
)

var now = time.Date(2026, 11, 26, 21, 40, 0, 0, time.UTC)

// revOf and digestOf make ids out of any text, always the same.
func revOf(t testing.TB, text string) git.Rev {
	t.Helper()
	rev, err := git.ParseRev(fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:40])
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func digestOf(text string) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sha256.Sum256([]byte(text)))}
}

func parse(t testing.TB, channels string) config.Config {
	t.Helper()
	c, err := config.Parse("channels.yaml", []byte(channels))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func system(t testing.TB, name string) config.System {
	t.Helper()
	s, err := config.ParseSystem(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const sampleChannels = `
publish: [ { to: ghcr.io/nixpkgs-factory } ]
images:
  - folder: images/base
  - folder: images/slim
    suffix: -slim
    channels: [ nixos-unstable ]
    tags: [ latest ]
channels:
  - { name: nixos-26.05, tags: [ latest ] }
  - { name: nixos-unstable, tags: [ latest ] }
  - { name: nixpkgs-unstable }
  - { name: nixos-25.11, frozen: true }
`

// maker makes up what a factory would have recorded.
type maker struct {
	t    testing.TB
	data *Data
	rnd  *rand.Rand
}

func newMaker(t testing.TB, channels string) maker {
	return maker{t, &Data{
		Now: now, Config: parse(t, channels), Heads: map[string]*heads.Head{}, Gone: map[string]time.Time{},
		Contents: map[v1.Hash]image.Contents{},
	}, rand.New(rand.NewPCG(1, 2))}
}

// move moves a channel.
func (m maker) move(channel, commit string, at time.Time) git.Rev {
	rev := revOf(m.t, channel+commit)
	m.data.Heads[channel] = &heads.Head{Channel: channel, Commit: heads.Commit{Rev: rev, Date: at.Add(-26 * time.Hour)}, Since: at}
	return rev
}

// publish publishes an image of a channel's head.
func (m maker) publish(channel, name, tag string, lag time.Duration, tools ...image.Tool) {
	head := m.data.Heads[channel]
	of := record.Subject{Channel: channel, ImageName: name}
	digest := digestOf(channel + name + head.Rev.String())
	p := record.Publication{
		Subject: of, Rev: head.Rev, Image: "ghcr.io/nixpkgs-factory/nixpkgs-" + channel + ":" + tag, Digest: digest,
		Version: "26.05", Time: head.Since.Add(lag), Systems: []config.System{system(m.t, "x86_64-linux"), system(m.t, "aarch64-linux")},
		Nix: "2.31.2", Action: "build", Reason: "new commit", Since: head.Since, Plain: name == "slim",
		Moved: record.Moved{Fetched: 140<<20 + m.rnd.Int64N(90<<20), Pushed: 60<<20 + m.rnd.Int64N(200<<20)},
	}
	m.data.Publications = slices.Insert(m.data.Publications, 0, p)
	m.data.History = slices.Insert(m.data.History, 0, record.Event{
		Time: p.Time, Subject: of, Rev: p.Rev, Image: p.Image, Digest: digest, Action: p.Action, Reason: p.Reason, Since: p.Since, Moved: p.Moved,
	})
	c := image.Contents{Digest: digest}
	if name != "slim" {
		c.Date, c.NarHash = head.Date, nix.Hash(sha256.Sum256([]byte(head.Rev.String())))
	}
	for i, s := range p.Systems {
		c.Systems = append(c.Systems, image.SystemContent{System: s, Digest: digestOf(s.Nix + digest.Hex), Size: int64(187-9*i) << 20, Layers: 42, Tools: tools})
	}
	m.data.Contents[digest] = c
}

// fail has the head of a channel fail.
func (m maker) fail(channel, name, text string, count int, last time.Time, over bool) {
	of, rev := record.Subject{Channel: channel, ImageName: name}, m.data.Heads[channel].Rev
	for i := count; i > 0; i-- {
		at := last.Add(-time.Hour * time.Duration(i-1))
		m.data.History = slices.Insert(m.data.History, 0, record.Event{Time: at, Subject: of, Rev: rev, Error: text})
	}
	if !over {
		m.data.Failures = append(m.data.Failures, record.Failure{Subject: of, Rev: rev, Error: text, Count: count, Time: last, Next: last.Add(32 * time.Minute)})
	}
}

var tools = []image.Tool{
	{Name: "nix", Version: "2.31.2"}, {Name: "cachix", Version: "1.9.1"}, {Name: "attic-client", Version: "0.1.0-unstable-2026-03-21"},
	{Name: "bash", Version: "5.3p9"}, {Name: "coreutils", Version: "9.10"}, {Name: "git", Version: "2.53.0"}, {Name: "curl", Version: "8.19.0"},
	{Name: "jq", Version: "1.8.1"}, {Name: "openssh", Version: "10.2p1"}, {Name: "nss-cacert", Version: "3.118"}, {Name: "tmate", Version: "2.4.0"},
}

// sample is a factory that has followed four channels for months: one is up to
// date, one is behind, one fails, and one is frozen.
func sample(t testing.TB) Data {
	m := newMaker(t, sampleChannels)
	older := slices.Clone(tools)
	older[0].Version, older[5].Version, older[6].Version = "2.31.1", "2.52.0", "8.18.0"
	for _, ch := range []string{"nixos-26.05", "nixos-unstable", "nixpkgs-unstable"} {
		for i := 110; i > 1; i-- {
			if m.rnd.IntN(3) == 0 {
				continue
			}
			at := now.Add(-day*time.Duration(i) + time.Duration(m.rnd.IntN(1200))*time.Minute)
			rev := m.move(ch, fmt.Sprint(i), at)
			if i%29 == 0 {
				m.fail(ch, "base", "toolset: attic-client: no cache has it", 3, at.Add(4*time.Hour), true)
			}
			lag := 24*time.Minute + time.Duration(m.rnd.IntN(70))*time.Minute
			if i%17 == 0 || i%29 == 0 {
				lag += time.Duration(5+m.rnd.IntN(6)) * time.Hour
			}
			m.publish(ch, "base", rev.String(), lag, older...)
			if ch == "nixos-unstable" {
				m.publish(ch, "slim", "latest-slim", lag+4*time.Minute, older...)
			}
		}
	}
	rev := m.move("nixos-26.05", "new", now.Add(-3*time.Hour-12*time.Minute))
	m.publish("nixos-26.05", "base", rev.String(), 42*time.Minute, tools...)
	rev = m.move("nixos-unstable", "new", now.Add(-50*time.Minute))
	m.publish("nixos-unstable", "slim", "latest-slim", 31*time.Minute, tools...)
	m.move("nixpkgs-unstable", "new", now.Add(-19*time.Hour))
	m.fail("nixpkgs-unstable", "base", "closure: attic-client: 404 Not Found for https://cache.nixos.org/7c0v1d8xq4z2f9r3k5m6n8p0s1w2y4a6.narinfo: the head is newer than its builds, the next cycle tries again", 6, now.Add(-25*time.Minute), false)
	m.move("nixos-25.11", "end", now.Add(-131*day))
	m.publish("nixos-25.11", "base", m.data.Heads["nixos-25.11"].Rev.String(), time.Hour, older...)
	_ = rev
	return *m.data
}
