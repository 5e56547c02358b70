package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// rule says what may be at a place of the file, and reads it to where it goes.
type rule struct {
	want string // what may be there, for people
	is   schema // the same for programs, as far as that can be said
	read func(p *parser, v value)
}

// key is a row of the table: a key of a mapping.
type key struct {
	name    string
	rule    rule
	value   string // in YAML, what it is when it is left out; "": the field stays as it is
	missing string // the problem without it; "" where it may be left out
	names   bool   // its value tells an item of a list from the others
	kind    string // keys of one kind exclude those of another; "": it goes with all
}

func (k key) String() string { return k.name }

// and adds what else a rule demands.
func (r rule) and(check func(p *parser, v value)) rule {
	read := r.read
	r.read = func(p *parser, v value) {
		read(p, v)
		check(p, v)
	}
	return r
}

// mapping is one with known keys.
func mapping(want string, keys ...key) rule {
	return rule{want, object(want, keys), func(p *parser, v value) { p.mapping(v, want, keys) }}
}

// settings is a mapping of which everything may be left out.
func settings(keys ...key) rule {
	return mapping("a mapping with "+alternatives(keys, key.String), keys...)
}

// mappings is a list of mappings. Two of them must not have the same name, which
// is what name gives; it is "" for one that could not be read.
func mappings[T any](out *[]T, noun, want, wantOne string, keys func(*T) []key, name func(T) string) rule {
	is := object(wantOne, keys(new(T)))
	return list(out, noun, want, is, func(p *parser, v value, one *T) (value, string) {
		at := p.mapping(v, wantOne, keys(one))
		return at, name(*one)
	})
}

// texts is a list of different texts.
func texts[T any](out *[]T, noun, want string, f form[T]) rule {
	return list(out, noun, want, f.schema(), func(p *parser, v value, one *T) (value, string) {
		return v, read(p, v, one, f)
	})
}

// list is a list of at least one item, each of its own name. item reads one, and
// gives its name and where that is. A list with an error in it is read as an empty
// one, not as nil, which would mean that the file says nothing.
func list[T any](out *[]T, noun, want string, one schema, item func(*parser, value, *T) (value, string)) rule {
	is := schema{Description: want, Type: "array", Items: one, MinItems: 1, UniqueItems: true}
	return rule{want, is, func(p *parser, v value) {
		all, seen, items := []T{}, lines{}, p.items(v, noun, want)
		for _, v := range items {
			one := new(T)
			if at, name := item(p, v, one); p.unique(seen, at, noun, name) {
				all = append(all, *one)
			}
		}
		if len(all) < len(items) {
			all = []T{}
		}
		*out = all
	}}
}

// form is a kind of text, and how it is read. What it says of the looks of a text
// holds, whatever parse thinks of it.
type form[T any] struct {
	want    string         // as of a rule
	words   []string       // all that there are; nil: too many to be listed
	pattern *regexp.Regexp // of the whole text, in words that JavaScript knows, too; nil: it may be any
	except  *regexp.Regexp // what is not meant by pattern; nil: all is
	parse   func(string) (T, error)
}

// read reads a text; its errors say what is wanted.
func (f form[T]) read(s string) (T, error) {
	t, err := f.parse(s)
	if err == nil && (f.pattern != nil && !f.pattern.MatchString(s) || f.except != nil && f.except.MatchString(s)) {
		err = fmt.Errorf("found %q", brief(s))
	}
	if err != nil && !errors.As(err, new(complete)) {
		err = fmt.Errorf("%w (want %s)", err, f.want)
	}
	return t, err
}

// schema is what a program can know of the form.
func (f form[T]) schema() schema {
	if f.words != nil {
		return schema{Description: f.want, Enum: f.words}
	}
	s := schema{Description: f.want, Type: "string", MinLength: 1, MaxLength: maxText}
	if f.pattern != nil {
		s.Pattern = f.pattern.String()
	}
	if f.except != nil {
		s.Not = &schema{Pattern: f.except.String()}
	}
	return s
}

// complete is an error that says itself what is wanted.
type complete struct{ error }

// checked is the form of texts that stay as they are.
func checked(want string, check func(string) error) form[string] {
	return form[string]{want: want, parse: func(s string) (string, error) { return s, check(s) }}
}

// like gives a form the looks that a schema can tell of it.
func (f form[T]) like(pattern string) form[T] {
	f.pattern = regexp.MustCompile(`^(?:` + pattern + `)$`)
	return f
}

// but excepts texts.
func (f form[T]) but(pattern string) form[T] {
	f.except = regexp.MustCompile(`^(?:` + pattern + `)$`)
	return f
}

// matching is the form of texts that a pattern describes.
func matching(want, pattern string, problem func(string) error) form[string] {
	f := form[string]{want: want}.like(pattern)
	f.parse = func(s string) (string, error) {
		if !f.pattern.MatchString(s) {
			return s, problem(s)
		}
		return s, nil
	}
	return f
}

// oneOf is the form of a few words.
func oneOf(noun string, words ...string) form[string] {
	want := alternatives(words, func(s string) string { return s })
	f := checked(want, func(s string) error {
		if !slices.Contains(words, s) {
			return fmt.Errorf("unknown %s %q", noun, s)
		}
		return nil
	})
	f.words = words
	return f
}

// text is a text of a form.
func text[T any](out *T, f form[T]) rule {
	return rule{f.want, f.schema(), func(p *parser, v value) { read(p, v, out, f) }}
}

const maxText = 4096

// read reads a text of a form. It gives what is in the file, "" when that is
// not good.
func read[T any](p *parser, v value, out *T, f form[T]) string {
	switch n := v.node; {
	case p.reported[n]:
	case n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null":
		p.wrong(v, f.want)
	case n.ShortTag() != "!!str":
		p.wrong(v, f.want+"; quotes make it a text")
	case n.Value == "":
		p.errorf(v, "empty (want %s)", f.want)
	case len(n.Value) > maxText:
		p.errorf(v, "longer than %d bytes (want %s)", maxText, f.want)
	default:
		t, err := f.read(n.Value)
		if err != nil {
			p.errorf(v, "%v", err)
			break
		}
		*out = t
		return n.Value
	}
	return ""
}

// number is a whole number in decimal, written in the one way that all versions
// of YAML read alike.
func number(out *int, least, most int) rule {
	is := schema{Type: "integer", Minimum: &least, Maximum: &most}
	return scalar(out, fmt.Sprintf("a whole number from %d to %d", least, most), is, func(n *yaml.Node) (int, bool) {
		i, err := strconv.Atoi(n.Value)
		return i, n.ShortTag() == "!!int" && err == nil && strconv.Itoa(i) == n.Value && least <= i && i <= most
	})
}

func truth(out *bool) rule {
	return scalar(out, "true or false", schema{Type: "boolean"}, func(n *yaml.Node) (bool, bool) {
		text := strings.ToLower(n.Value)
		return text == "true", n.ShortTag() == "!!bool" && (text == "true" || text == "false")
	})
}

// optional is a rule of something whose absence is told from its zero value.
func optional[T any](out **T, of func(*T) rule) rule {
	one := new(T)
	r := of(one)
	read := r.read
	r.read = func(p *parser, v value) {
		*out = one
		read(p, v)
	}
	return r
}

var (
	durationPattern = regexp.MustCompile(`^(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h))+$`)
	memoryPattern   = regexp.MustCompile(`^[0-9]+(?:MiB|GiB)$`)
)

// duration is one as Go writes it. A bare 0 is a number to YAML.
func duration(out *time.Duration, least, most, example string) rule {
	return amount(out, "a duration", least, most, example, durationPattern, time.ParseDuration)
}

// memory is a number of bytes with its unit: without one nobody knows what is meant.
func memory(out *int64, least, most, example string) rule {
	return amount(out, "an amount of memory", least, most, example, memoryPattern, func(s string) (int64, error) {
		for unit, size := range map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30} {
			if number, ok := strings.CutSuffix(s, unit); ok {
				n, err := strconv.ParseUint(number, 10, 24)
				return int64(n) * size, err
			}
		}
		return 0, strconv.ErrSyntax
	})
}

// amount is a quantity within bounds, which are written as in the file. Where nothing
// is among them, it may be a bare 0.
func amount[T ~int64](out *T, noun, least, most, example string, pattern *regexp.Regexp, parse func(string) (T, error)) rule {
	low, _ := parse(least)
	high, _ := parse(most)
	is := schema{Type: "string", Pattern: pattern.String()}
	if low == 0 {
		is = schema{AnyOf: []schema{is, {Type: "integer", Minimum: new(int), Maximum: new(int)}}}
	}
	want := fmt.Sprintf("%s from %s to %s, such as %s", noun, least, most, example)
	return scalar(out, want, is, func(n *yaml.Node) (T, bool) {
		if n.ShortTag() == "!!int" && n.Value == "0" {
			return 0, low == 0
		}
		x, err := parse(n.Value)
		return x, n.ShortTag() == "!!str" && pattern.MatchString(n.Value) && err == nil && low <= x && x <= high
	})
}

// scalar is a value that is either good or not.
func scalar[T any](out *T, want string, is schema, parse func(*yaml.Node) (T, bool)) rule {
	is.Description = want
	return rule{want, is, func(p *parser, v value) {
		x, ok := parse(v.node)
		if *out = x; !ok {
			p.wrong(v, want)
		}
	}}
}
