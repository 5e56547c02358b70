package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/git"
)

// tag is the form of templates. The quotes belong to the example: without them,
// YAML takes {date} as a mapping.
var tag = checked(`at most 128 of A-Z a-z 0-9 _ . -, not beginning with . or -, or a template such as "{date}-{rev:12}"`, checkTemplate)

const (
	leastRev = 7  // what git itself abbreviates to
	mostRev  = 39 // all 40 make the tag that never moves
)

var (
	tagPattern         = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	placeholderPattern = regexp.MustCompile(`\{([^{}]*)\}`)
)

// TagsFor gives the tags that the head of a channel has beside its revision,
// each once: date is the commit's, version that of nixpkgs, such as "26.05". A
// template that needs a version is left out where version is "", as is one that
// the values make no tag of.
func (c Channel) TagsFor(rev git.Rev, date time.Time, version string) []string {
	var tags []string
	for _, template := range c.Tags {
		tag, err := expand(template, rev.String(), date, version)
		if err == nil && isTag(tag) && !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return tags
}

// expand puts values in the place of placeholders.
func expand(template, rev string, date time.Time, version string) (string, error) {
	var problem error
	tag := placeholderPattern.ReplaceAllStringFunc(template, func(placeholder string) string {
		text, err := substitute(placeholder, rev, date, version)
		if problem == nil {
			problem = err
		}
		return text
	})
	return tag, problem
}

func substitute(placeholder, rev string, date time.Time, version string) (string, error) {
	switch name := strings.Trim(placeholder, "{}"); name {
	case "rev":
		return rev, nil
	case "date":
		return date.UTC().Format("20060102"), nil
	case "version":
		if version == "" {
			return "", errors.New("the version is not known")
		}
		return version, nil
	default:
		width, ok := strings.CutPrefix(name, "rev:")
		if !ok {
			return "", complete{fmt.Errorf("unknown placeholder %q (want {rev:12}, {date} or {version})", placeholder)}
		}
		n, err := strconv.Atoi(width)
		if err != nil || strconv.Itoa(n) != width || n < leastRev || n > mostRev {
			return "", complete{fmt.Errorf("bad placeholder %q (want {rev:%d} to {rev:%d})", placeholder, leastRev, mostRev)}
		}
		return rev[:min(n, len(rev))], nil
	}
}

// checkTemplate checks the tag that a template makes of samples.
func checkTemplate(s string) error {
	tag, err := expand(s, strings.Repeat("a", 40), time.Unix(0, 0), "26.05")
	switch {
	case err != nil:
		return fmt.Errorf("bad tag %q: %w", s, err)
	case s == "{rev}":
		return fmt.Errorf("bad tag %q: the revision is a tag of every image", s)
	case revisionPattern.MatchString(tag):
		return fmt.Errorf("bad tag %q: looks like a revision, whose tag never moves", s)
	case !isTag(tag):
		return fmt.Errorf("bad tag %q", s)
	}
	return nil
}

// isTag tells whether a tag of a registry can be one that moves.
func isTag(s string) bool { return tagPattern.MatchString(s) && !revisionPattern.MatchString(s) }
