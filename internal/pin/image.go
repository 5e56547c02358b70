package pin

import (
	"regexp"
	"strings"
)

// reference is a reference to an image.
type reference struct {
	name    string // host and path
	channel [2]int // of it in name; empty where the name has none
	tag     string // "" for none
	suffix  string // of the tag, behind the commit
}

// repository is the one that has the images of a channel.
func (r *reference) repository(channel string) string {
	if channel == "" || r.channel == [2]int{} {
		return r.name
	}
	return r.name[:r.channel[0]] + channel + r.name[r.channel[1]:]
}

var (
	referencePattern = regexp.MustCompile(`^(?:docker://)?([a-zA-Z0-9][a-zA-Z0-9._-]*(?::[0-9]+)?(?:/[a-zA-Z0-9._-]+)*)(?::([a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$`)
	channelPattern   = regexp.MustCompile(`(?:^|/)nixpkgs-((?:nixos|nixpkgs|release)-[a-z0-9][a-z0-9._-]*|master)$`)
	tagPattern       = regexp.MustCompile(`^([0-9a-f]{40}|(?:latest|[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9a-f]{7,39})(?:-[0-9a-f]{7,39})?)([-_.].*)?$`)
	revPattern       = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// Named is the spot that a reference to an image would be, whatever its name is.
func Named(ref string) (Spot, bool) {
	m := referencePattern.FindStringSubmatch(ref)
	if m == nil {
		return Spot{}, false
	}
	return imageSpot(trace([]byte(ref), 0, len(ref)), Options{Repository: m[1]})
}

const inParts = "it is put together of several parts"

// imageSpot reads a reference to an image to build on. Found is false for what
// is none.
func imageSpot(t traced, o Options) (spot Spot, found bool) {
	m := referencePattern.FindStringSubmatchIndex(t.text)
	if m == nil {
		return Spot{}, false
	}
	ref := &reference{name: t.text[m[2]:m[3]]}
	channel := channelPattern.FindStringSubmatchIndex(ref.name)
	if channel == nil && (o.Repository == "" || ref.name != o.Repository) {
		return Spot{}, false
	}
	spot = Spot{What: "image", image: ref}
	part := func(what kind, i, j int, before string) {
		f, ok := t.field(what, i, j)
		if f.before = before; !ok {
			spot.Left = inParts
		}
		spot.fields = append(spot.fields, f)
	}
	if channel != nil {
		ref.channel = [2]int{channel[2], channel[3]}
		spot.Channel = ref.name[channel[2]:channel[3]]
		part(kindChannel, m[2]+channel[2], m[2]+channel[3], "")
	}
	switch {
	case m[4] >= 0:
		ref.tag = t.text[m[4]:m[5]]
		tag := tagPattern.FindStringSubmatchIndex(ref.tag)
		if tag == nil {
			spot.Left = "its tag " + ref.tag + " is not made of a commit, a date or latest"
			break
		}
		if tag[4] >= 0 {
			ref.suffix = ref.tag[tag[4]:tag[5]]
		}
		if rev := ref.tag[tag[2]:tag[3]]; revPattern.MatchString(rev) {
			spot.Rev = rev
		}
		part(kindRev, m[4]+tag[2], m[4]+tag[3], "")
	case m[6] < 0:
		part(kindRev, m[3], m[3], ":")
	}
	if m[6] >= 0 {
		part(kindDigest, m[6], m[7], "")
	}
	return spot, true
}

// tagged tells whether a reference has a tag or a digest, so that it is one
// wherever it stands.
func tagged(text string) bool {
	m := referencePattern.FindStringSubmatch(text)
	return m != nil && (m[2] != "" || m[3] != "")
}

// speaksOfImage tells of text that was not understood whether it may name one.
func speaksOfImage(text string) bool { return strings.Contains(text, "nixpkgs-") }
