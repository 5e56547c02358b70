package push

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Tag is a tag to be set.
type Tag struct {
	Name    string
	Content bool // made of the image's content: it leads to nothing else, ever
	order   int
	named   int // which of the templates it was made of
}

// Values are what templates of tags are made of.
type Values struct {
	Digest string // of the content, 64 hex digits
	Rev    string // of the checkout, 40 hex digits; "": there is none
	Date   time.Time
}

const (
	leastDigits = 7
	wantTag     = "want at most 128 of A-Z a-z 0-9 _ . -, not beginning with . or -"
	wantHolder  = "want {digest:12}, {rev}, {rev:12} or {date}"
)

var (
	tagPattern         = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	placeholderPattern = regexp.MustCompile(`\{([^{}]*)\}`)
)

// Expand makes tags of templates, each once, in the order in which they are to be
// set: those that have a value in them, those that have none, latest.
func Expand(templates []string, v Values) ([]Tag, error) {
	var tags []Tag
	for i, template := range templates {
		tag, err := expand(template, v)
		tag.named = i
		if err != nil {
			return nil, fmt.Errorf("tag %q: %w", template, err)
		}
		if !slices.ContainsFunc(tags, func(t Tag) bool { return t.Name == tag.Name }) {
			tags = append(tags, tag)
		}
	}
	slices.SortStableFunc(tags, func(a, b Tag) int { return cmp.Compare(a.order, b.order) })
	return tags, nil
}

// CheckTags expands templates with samples, to find what is wrong with them.
func CheckTags(templates []string) (needRev bool, err error) {
	_, err = Expand(templates, Values{Digest: strings.Repeat("a", 64), Rev: strings.Repeat("b", 40)})
	needRev = slices.ContainsFunc(templates, func(t string) bool { return strings.Contains(t, "{rev") })
	return needRev, err
}

func expand(template string, v Values) (Tag, error) {
	var problems []error
	name := placeholderPattern.ReplaceAllStringFunc(template, func(placeholder string) string {
		text, err := substitute(strings.Trim(placeholder, "{}"), v)
		problems = append(problems, err)
		return text
	})
	if err := errors.Join(problems...); err != nil {
		return Tag{}, err
	}
	if !tagPattern.MatchString(name) {
		return Tag{}, errors.New(wantTag)
	}
	tag := Tag{Name: name, Content: strings.Contains(template, "{digest"), order: 1}
	switch {
	case name != template:
		tag.order = 0
	case name == "latest":
		tag.order = 2
	}
	return tag, nil
}

func substitute(placeholder string, v Values) (string, error) {
	what, width, cut := strings.Cut(placeholder, ":")
	var text string
	switch what {
	case "digest":
		text = v.Digest
	case "rev":
		text = v.Rev
	case "date":
		text = v.Date.UTC().Format("20060102")
	default:
		return "", fmt.Errorf("unknown placeholder {%s} (%s)", placeholder, wantHolder)
	}
	if text == "" {
		return "", fmt.Errorf("{%s}: there is no git checkout in this folder", placeholder)
	}
	if !cut {
		return text, nil
	}
	n, err := strconv.Atoi(width)
	if err != nil || what == "date" || n < leastDigits || n > len(text) {
		return "", fmt.Errorf("bad placeholder {%s} (%s)", placeholder, wantHolder)
	}
	return text[:n], nil
}
