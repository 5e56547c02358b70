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
var tag = checked(`at most 128 of A-Z a-z 0-9 _ . -, not beginning with . or -, or a template such as "{date}-{rev:12}"`, checkTemplate).
	like(`(?:[A-Za-z0-9_]|` + placeholders + `)(?:[A-Za-z0-9_.-]|` + placeholders + `)*`).but(`\{rev\}|` + revision)

const placeholders = `\{(?:rev|date|version|(?:rev|digest):[0-9]{1,2})\}`

const (
	leastRev = 7  // what git itself abbreviates to
	mostRev  = 39 // all 40 make the tag that never moves

	mostDigest = 64
)

var (
	tagPattern         = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	placeholderPattern = regexp.MustCompile(`\{([^{}]*)\}`)
)

// Tags are the tags of an image that is made of a channel's head.
type Tags struct {
	Templates []string // of those that move
	Suffix    string   // of every tag
}

// TagValues are what templates are filled in with. A template that needs one that
// is not known is left out, as is one that the values make no tag of.
type TagValues struct {
	Rev     git.Rev
	Date    time.Time // the commit's
	Version string    // such as "26.05"; "": not known
	Digest  string    // of the image, 64 hex digits; "": not known
}

// For gives the tags that move, each once.
func (t Tags) For(v TagValues) []string {
	var tags []string
	for _, template := range t.Templates {
		tag, err := v.expand(template)
		if tag += t.Suffix; err == nil && isTag(tag) && !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return tags
}

// Commit is the tag of a commit, which is for ever.
func (t Tags) Commit(rev string) string { return rev + t.Suffix }

// Unknown gives the templates that are left out, as they are in the file.
func (t Tags) Unknown(v TagValues) []string {
	var templates []string
	for _, template := range t.Templates {
		if _, err := v.expand(template); err != nil {
			templates = append(templates, template+t.Suffix)
		}
	}
	return templates
}

// Fixed is the first of the tags that is no template, "" if there is none.
func (t Tags) Fixed() string {
	for _, template := range t.Templates {
		if !placeholderPattern.MatchString(template) {
			return template + t.Suffix
		}
	}
	return ""
}

// clash finds a tag that both could set, as far as templates say.
func (t Tags) clash(other Tags) (tag string, clashes bool) {
	for _, x := range t.all() {
		for _, y := range other.all() {
			if x == y || shape(x).MatchString(y) || shape(y).MatchString(x) {
				return x, true
			}
		}
	}
	return "", false
}

// all are the templates with the suffix, that of the commit's tag among them.
func (t Tags) all() []string {
	all := []string{t.Commit("{rev}")}
	for _, template := range t.Templates {
		all = append(all, template+t.Suffix)
	}
	return all
}

// shape is what the tags of a template look like.
func shape(template string) *regexp.Regexp {
	pattern := "^"
	for {
		at := placeholderPattern.FindStringIndex(template)
		if at == nil {
			return regexp.MustCompile(pattern + regexp.QuoteMeta(template) + "$")
		}
		pattern += regexp.QuoteMeta(template[:at[0]])
		switch name, width, wide := strings.Cut(strings.Trim(template[at[0]:at[1]], "{}"), ":"); {
		case wide:
			pattern += `[0-9a-f]{` + width + `}`
		case name == "rev":
			pattern += `[0-9a-f]{40}`
		case name == "date":
			pattern += `[0-9]{8}`
		default: // a version
			pattern += `[0-9][A-Za-z0-9._-]*`
		}
		template = template[at[1]:]
	}
}

// expand puts values in the place of placeholders.
func (v TagValues) expand(template string) (string, error) {
	var problem error
	tag := placeholderPattern.ReplaceAllStringFunc(template, func(placeholder string) string {
		text, err := v.substitute(placeholder)
		if problem == nil {
			problem = err
		}
		return text
	})
	return tag, problem
}

func (v TagValues) substitute(placeholder string) (string, error) {
	name, width, wide := strings.Cut(strings.Trim(placeholder, "{}"), ":")
	switch {
	case name == "rev" && wide:
		return beginning(placeholder, v.Rev.String(), width, leastRev, mostRev)
	case name == "digest" && wide:
		return beginning(placeholder, v.Digest, width, leastRev, mostDigest)
	case wide:
	case name == "rev":
		return v.Rev.String(), nil
	case name == "date":
		return v.Date.UTC().Format("20060102"), nil
	case name == "version" && v.Version == "":
		return "", errors.New("the version is not known")
	case name == "version":
		return v.Version, nil
	}
	return "", complete{fmt.Errorf("unknown placeholder %q (want {rev:12}, {date}, {version} or {digest:12})", placeholder)}
}

// beginning gives as many characters of a text as a placeholder says.
func beginning(placeholder, text, width string, least, most int) (string, error) {
	name, _, _ := strings.Cut(placeholder, ":")
	n, err := strconv.Atoi(width)
	switch {
	case err != nil || strconv.Itoa(n) != width || n < least || n > most:
		return "", complete{fmt.Errorf("bad placeholder %q (want %s:%d} to %s:%d})", placeholder, name, least, name, most)}
	case text == "":
		return "", fmt.Errorf("%s…} is not known", name)
	}
	return text[:min(n, len(text))], nil
}

// sample has a value for every placeholder.
var sample = func() TagValues {
	rev, err := git.ParseRev(strings.Repeat("a", 40))
	if err != nil {
		panic(err)
	}
	return TagValues{Rev: rev, Date: time.Unix(0, 0), Version: "26.05", Digest: strings.Repeat("a", mostDigest)}
}()

// checkTemplate checks the tag that a template makes of samples.
func checkTemplate(s string) error {
	tag, err := sample.expand(s)
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
