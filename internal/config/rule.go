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
	return rule{r.want, func(p *parser, v value) {
		r.read(p, v)
		check(p, v)
	}}
}

// mapping is one with known keys.
func mapping(want string, keys ...key) rule {
	return rule{want, func(p *parser, v value) { p.mapping(v, want, keys) }}
}

// settings is a mapping of which everything may be left out.
func settings(keys ...key) rule {
	return mapping("a mapping with "+alternatives(keys, key.String), keys...)
}

// mappings is a list of mappings. Two of them must not have the same name, which
// is what name gives; it is "" for one that could not be read.
func mappings[T any](out *[]T, noun, want, wantOne string, keys func(*T) []key, name func(T) string) rule {
	return list(out, noun, want, func(p *parser, v value, one *T) (value, string) {
		at := p.mapping(v, wantOne, keys(one))
		return at, name(*one)
	})
}

// texts is a list of different texts.
func texts[T any](out *[]T, noun, want string, f form[T]) rule {
	return list(out, noun, want, func(p *parser, v value, one *T) (value, string) {
		return v, read(p, v, one, f)
	})
}

// list is a list of at least one item, each of its own name. item reads one, and
// gives its name and where that is. A list with an error in it is read as an empty
// one, not as nil, which would mean that the file says nothing.
func list[T any](out *[]T, noun, want string, item func(*parser, value, *T) (value, string)) rule {
	return rule{want, func(p *parser, v value) {
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

// form is a kind of text, and how it is read.
type form[T any] struct {
	want  string // as of a rule
	parse func(string) (T, error)
}

// read reads a text; its errors say what is wanted.
func (f form[T]) read(s string) (T, error) {
	t, err := f.parse(s)
	if err != nil && !errors.As(err, new(complete)) {
		err = fmt.Errorf("%w (want %s)", err, f.want)
	}
	return t, err
}

// complete is an error that says itself what is wanted.
type complete struct{ error }

// checked is the form of texts that stay as they are.
func checked(want string, check func(string) error) form[string] {
	return form[string]{want, func(s string) (string, error) { return s, check(s) }}
}

// matching is the form of texts that a pattern describes.
func matching(want, pattern string, problem func(string) error) form[string] {
	whole := regexp.MustCompile(`^(?:` + pattern + `)$`)
	return checked(want, func(s string) error {
		if !whole.MatchString(s) {
			return problem(s)
		}
		return nil
	})
}

// oneOf is the form of a few words.
func oneOf(noun string, words ...string) form[string] {
	want := alternatives(words, func(s string) string { return s })
	return checked(want, func(s string) error {
		if !slices.Contains(words, s) {
			return fmt.Errorf("unknown %s %q", noun, s)
		}
		return nil
	})
}

// text is a text of a form.
func text[T any](out *T, f form[T]) rule {
	return rule{f.want, func(p *parser, v value) { read(p, v, out, f) }}
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
	return scalar(out, fmt.Sprintf("a whole number from %d to %d", least, most), func(n *yaml.Node) (int, bool) {
		i, err := strconv.Atoi(n.Value)
		return i, n.ShortTag() == "!!int" && err == nil && strconv.Itoa(i) == n.Value && least <= i && i <= most
	})
}

func truth(out *bool) rule {
	return scalar(out, "true or false", func(n *yaml.Node) (bool, bool) {
		text := strings.ToLower(n.Value)
		return text == "true", n.ShortTag() == "!!bool" && (text == "true" || text == "false")
	})
}

// duration is one as Go writes it. A bare 0 is a number to YAML.
func duration(out *time.Duration, least, most, example string) rule {
	return amount(out, "a duration", least, most, example, time.ParseDuration)
}

// memory is a number of bytes with its unit: without one nobody knows what is meant.
func memory(out *int64, least, most, example string) rule {
	return amount(out, "an amount of memory", least, most, example, func(s string) (int64, error) {
		for unit, size := range map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30} {
			if number, ok := strings.CutSuffix(s, unit); ok {
				n, err := strconv.ParseUint(number, 10, 24)
				return int64(n) * size, err
			}
		}
		return 0, strconv.ErrSyntax
	})
}

// amount is a quantity within bounds, which are written as in the file.
func amount[T ~int64](out *T, noun, least, most, example string, parse func(string) (T, error)) rule {
	want := fmt.Sprintf("%s from %s to %s, such as %s", noun, least, most, example)
	return scalar(out, want, func(n *yaml.Node) (T, bool) {
		low, _ := parse(least)
		high, _ := parse(most)
		x, err := parse(n.Value)
		tag := n.ShortTag()
		return x, (tag == "!!str" || tag == "!!int") && err == nil && low <= x && x <= high
	})
}

// scalar is a value that is either good or not.
func scalar[T any](out *T, want string, parse func(*yaml.Node) (T, bool)) rule {
	return rule{want, func(p *parser, v value) {
		x, ok := parse(v.node)
		if *out = x; !ok {
			p.wrong(v, want)
		}
	}}
}
