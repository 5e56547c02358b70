package pin

import (
	"fmt"
	"strconv"
)

// sources reads a sources.json, which niv and npins both have.
func sources(text []byte, _ Options) ([]Spot, error) {
	root, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	if root.get("pins") != nil && root.get("version") != nil {
		return npins(root)
	}
	return niv(root), nil
}

// niv reads the sources of niv: by name what its fetchers take.
func niv(root value) []Spot {
	var spots []Spot
	for _, m := range root.members {
		url := m.str("url")
		_, _, archive := archiveRev(url)
		if !isNixpkgs(m.str("owner"), m.str("repo")) && !archive && !releasePattern.MatchString(url) && !gitPattern.MatchString(m.str("repo")) {
			continue
		}
		s := set{Spot{Line: m.line(), What: "niv " + m.name}}
		s.take(m.value, "branch", s.branch)
		s.take(m.value, "ref", s.branch)
		s.take(m.value, "url", s.url)
		s.take(m.value, "rev", s.rev)
		s.take(m.value, "sha256", func(t traced) { s.hash(t, base32) })
		spots = append(spots, s.done())
	}
	return spots
}

// Formats of npins' sources.json that are the same in all that is read here.
const (
	oldestNpins = 3
	newestNpins = 8

	// sriNpins is the first one that has hashes as SRI.
	sriNpins = 6
)

// npins reads the sources of npins.
func npins(root value) ([]Spot, error) {
	format, err := strconv.Atoi(root.get("version").text)
	if err != nil || format < oldestNpins || format > newestNpins {
		return nil, fmt.Errorf("npins format %.20q is not known (want %d to %d)", root.get("version").text, oldestNpins, newestNpins)
	}
	missing := base32
	if format >= sriNpins {
		missing = sri
	}
	var spots []Spot
	for _, m := range root.get("pins").members {
		s := set{Spot{Line: m.line(), What: "npins " + m.name}}
		repository := m.get("repository")
		switch {
		case m.str("type") == "Channel":
			s.spot.Channel = m.str("name")
			s.leave(isRelease)
		case repository != nil && (isNixpkgs(repository.str("owner"), repository.str("repo")) || gitPattern.MatchString(repository.str("url"))):
			if m.str("type") != "Git" {
				s.leave("it follows releases, not a branch")
			}
		default:
			if _, _, archive := archiveRev(m.str("url")); !archive {
				continue
			}
		}
		if frozen := m.get("frozen"); frozen != nil && frozen.text == "true" {
			s.leave(isFrozen)
		}
		if submodules := m.get("submodules"); submodules != nil && submodules.text == "true" {
			s.leave("it is fetched with submodules")
		}
		if s.spot.Left == "" {
			s.take(m.value, "branch", s.branch)
			s.take(m.value, "url", s.url)
			s.take(m.value, "revision", s.rev)
			s.take(m.value, "hash", func(t traced) { s.hash(t, missing) })
		}
		spots = append(spots, s.done())
	}
	return spots, nil
}
