package pin

import (
	"regexp"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// encoding is how a hash is written.
type encoding int

const (
	base32 encoding = iota
	base16
	base64
	sri
	typed // sha256: and base 32
)

// encodingOf tells how a hash is written; ok is false for what is none of SHA-256.
func encodingOf(text string) (enc encoding, ok bool) {
	if _, err := nix.ParseHash(text); err != nil {
		return 0, false
	}
	switch {
	case strings.HasPrefix(text, "sha256-"):
		return sri, true
	case strings.HasPrefix(text, "sha256:"):
		return typed, true
	case len(text) == 64:
		return base16, true
	case len(text) == 52:
		return base32, true
	}
	return base64, true
}

func (e encoding) write(h nix.Hash) string {
	switch e {
	case base16:
		return h.Base16()
	case base64:
		return strings.TrimPrefix(h.SRI(), "sha256-")
	case sri:
		return h.SRI()
	case typed:
		return h.String()
	}
	return h.Base32()
}

var (
	archivePattern = regexp.MustCompile(`(?i)^https?://(?:codeload\.github\.com/NixOS/nixpkgs/(?:tar\.gz|zip)|github\.com/NixOS/nixpkgs/(?:archive|tarball)|api\.github\.com/repos/NixOS/nixpkgs/tarball)/(.*?)(?:\.tar\.gz|\.zip)?$`)
	gitPattern     = regexp.MustCompile(`(?i)^(?:git\+)?(?:https?|git|ssh)://(?:git@)?github\.com/NixOS/nixpkgs(?:\.git)?/?$`)
	releasePattern = regexp.MustCompile(`^https?://(?:releases|channels)\.nixos\.org/.*nixexprs\.tar`)
)

const (
	isRelease  = "a channel's nixexprs.tar.xz is another tree than the image's"
	noCommit   = "it names no commit"
	badHash    = "its hash is not understood"
	isEscaped  = "it is written with escapes"
	isFrozen   = "it is frozen"
	otherFlake = "it is an input of another flake"
)

// isNixpkgs tells of an owner and a repository whether they are those of nixpkgs.
func isNixpkgs(owner, repo string) bool {
	return strings.EqualFold(owner, "NixOS") && strings.EqualFold(repo, "nixpkgs")
}

// archiveRev finds the commit in the URL of an archive: from i to j.
func archiveRev(url string) (i, j int, is bool) {
	m := archivePattern.FindStringSubmatchIndex(url)
	if m == nil {
		return 0, 0, false
	}
	return m[2], m[3], true
}

// set gathers a spot out of values that are there or not.
type set struct{ spot Spot }

func (s *set) leave(why string) {
	if s.spot.Left == "" {
		s.spot.Left = why
	}
}

func (s *set) part(what kind, t traced, i, j int) {
	f, ok := t.field(what, i, j)
	if !ok {
		s.leave(inParts)
	}
	s.spot.fields = append(s.spot.fields, f)
}

// rev takes a value that is a commit.
func (s *set) rev(t traced) {
	if !revPattern.MatchString(t.text) {
		s.leave(noCommit)
		return
	}
	if s.spot.Rev != "" && s.spot.Rev != t.text {
		s.leave("it names two commits")
	}
	s.spot.Rev = t.text
	s.part(kindRev, t, 0, len(t.text))
}

// url takes the URL of an archive, or of the git repository.
func (s *set) url(t traced) {
	if releasePattern.MatchString(t.text) {
		s.leave(isRelease)
		return
	}
	if i, j, ok := archiveRev(t.text); ok {
		s.rev(t.slice(i, j))
	} else if !gitPattern.MatchString(t.text) {
		s.leave("its URL is not understood")
	}
}

// hash takes a hash; where it is empty it is written as missing says.
func (s *set) hash(t traced, missing encoding) {
	enc, ok := encodingOf(t.text)
	if t.text == "" {
		enc, ok = missing, true
	}
	if !ok {
		s.leave(badHash)
		return
	}
	f, ok := t.field(kindHash, 0, len(t.text))
	if f.hash = enc; !ok {
		s.leave(inParts)
	}
	s.spot.fields = append(s.spot.fields, f)
}

// branch takes the name of a branch.
func (s *set) branch(t traced) {
	i := len(t.text) - len(strings.TrimPrefix(t.text, "refs/heads/"))
	s.spot.Channel = t.text[i:]
	s.part(kindChannel, t, i, len(t.text))
}

// done is the spot: one that names no commit can only be left alone.
func (s *set) done() Spot {
	if s.spot.Rev == "" {
		s.leave(noCommit)
	}
	return s.spot
}
