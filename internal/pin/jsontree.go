package pin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// value is a value of a JSON text, with where it stands.
type value struct {
	file       []byte
	start, end int
	members    []member // of an object or, without names, of an array
	text       string   // of a string, or of anything else as it is written
	isString   bool
}

type member struct {
	name string
	value
}

const mostNested = 64

// parseJSON reads a JSON text.
func parseJSON(file []byte) (value, error) {
	dec := json.NewDecoder(bytes.NewReader(file))
	dec.UseNumber()
	p := jsonParser{file: file, dec: dec}
	v, err := p.value(0)
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return v, nil
		}
		err = errors.Join(err, errors.New("more than one value"))
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return value{}, fmt.Errorf("line %d: %w", lineOf(file, int(dec.InputOffset())), err)
}

type jsonParser struct {
	file []byte
	dec  *json.Decoder
}

// start is where the next token begins.
func (p jsonParser) start() int {
	at := int(p.dec.InputOffset())
	for at < len(p.file) && strings.IndexByte(" \t\r\n,:", p.file[at]) >= 0 {
		at++
	}
	return at
}

func (p jsonParser) value(depth int) (value, error) {
	if depth > mostNested {
		return value{}, fmt.Errorf("more than %d levels", mostNested)
	}
	v := value{file: p.file, start: p.start()}
	token, err := p.dec.Token()
	if err != nil {
		return value{}, err
	}
	delim, isDelim := token.(json.Delim)
	if isDelim {
		err = p.members(&v, delim == '{', depth)
	}
	v.end = int(p.dec.InputOffset())
	if s, ok := token.(string); ok {
		v.text, v.isString = s, true
	} else if !isDelim {
		v.text = string(p.file[v.start:v.end])
	}
	return v, err
}

func (p jsonParser) members(v *value, named bool, depth int) error {
	seen := map[string]bool{}
	for p.dec.More() {
		m := member{}
		if named {
			token, err := p.dec.Token()
			if err != nil {
				return err
			}
			m.name, _ = token.(string)
			if seen[m.name] {
				return fmt.Errorf("key %.60q is there twice", m.name)
			}
			seen[m.name] = true
		}
		var err error
		if m.value, err = p.value(depth + 1); err != nil {
			return err
		}
		v.members = append(v.members, m)
	}
	_, err := p.dec.Token()
	return err
}

// get is a member by its name, or nil.
func (v value) get(name string) *value {
	for i := range v.members {
		if v.members[i].name == name {
			return &v.members[i].value
		}
	}
	return nil
}

// str is the text of a member that is a string.
func (v value) str(name string) string {
	if m := v.get(name); m != nil && m.isString {
		return m.text
	}
	return ""
}

// traced is a string's content. Plain is false if it is written with escapes.
func (v value) traced() (t traced, plain bool) {
	if !v.isString || string(v.file[v.start+1:v.end-1]) != v.text {
		return traced{}, false
	}
	return trace(v.file, v.start+1, v.end-1), true
}

func (v value) line() int { return lineOf(v.file, v.start) }

// take passes a member that is a string to what reads it.
func (s *set) take(v value, name string, read func(traced)) {
	m := v.get(name)
	if m == nil || !m.isString {
		return
	}
	t, plain := m.traced()
	if !plain {
		s.leave(isEscaped)
		return
	}
	read(t)
}
