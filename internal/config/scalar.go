package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

const maxText = 4096

// text reads a text and checks it. It is "" when the check, or an earlier one, has failed.
func (p *parser) text(v value, want string, check func(string) error) string {
	switch {
	case p.reported[v.node]:
		return ""
	case v.node.Kind != yaml.ScalarNode || v.node.ShortTag() == "!!null":
		p.wrong(v, want)
		return ""
	case v.node.ShortTag() != "!!str":
		p.wrong(v, want+"; quotes make it a text")
		return ""
	case v.node.Value == "":
		p.errorf(v, "empty (want %s)", want)
		return ""
	case len(v.node.Value) > maxText:
		p.errorf(v, "longer than %d bytes (want %s)", maxText, want)
		return ""
	}
	if err := check(v.node.Value); err != nil {
		p.errorf(v, "%v", err)
		return ""
	}
	return v.node.Value
}

// url reads the address of a server, and gives it without slashes at the end.
func (p *parser) url(v value, schemes ...string) string {
	var base string
	want := fmt.Sprintf("an address that begins with %s", schemeList(schemes))
	p.text(v, want, func(s string) (err error) {
		if base, err = checkURL(s, schemes); err != nil {
			return fmt.Errorf("bad address: %w (want %s)", err, want)
		}
		return nil
	})
	return base
}

// duration reads a duration as Go writes them. A bare 0 is a number to YAML.
func (p *parser) duration(v value, want string, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(v.node.Value)
	if tag := v.node.ShortTag(); tag != "!!str" && tag != "!!int" || err != nil || d < least || d > most {
		p.wrong(v, want)
	}
	return d
}

// number reads a whole number in decimal, written in the one way that all
// versions of YAML read alike.
func (p *parser) number(v value, least, most int) int {
	n, err := strconv.Atoi(v.node.Value)
	if v.node.ShortTag() != "!!int" || err != nil || strconv.Itoa(n) != v.node.Value || n < least || n > most {
		p.wrong(v, fmt.Sprintf("a whole number from %d to %d", least, most))
	}
	return n
}

func (p *parser) truth(v value) bool {
	text := strings.ToLower(v.node.Value)
	if v.node.ShortTag() != "!!bool" || text != "true" && text != "false" {
		p.wrong(v, "true or false")
	}
	return text == "true"
}
