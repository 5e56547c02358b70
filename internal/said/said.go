// Package said turns what others wrote into what may stand in an error, a log, a
// record or a webhook: one line of a few hundred bytes in which every character
// can be seen. Answers of servers, what a program wrote to stderr, names in an
// archive and fields of a narinfo go through it.
package said

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Most is how many bytes of a text are shown.
const Most = 300

// escapes move the cursor of a terminal, colour what follows or set its title.
var escapes = regexp.MustCompile("\x1b(?:\\[[0-9;:?<=>!]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[ -/]*[0-~])")

// Line returns a text in one line, of at most Most bytes and a sign that there was more.
func Line(text string) string { return Begin(text, Most) }

// Begin is Line with another number of bytes.
func Begin(text string, most int) string {
	text = plain(text)
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…"
}

// End is Begin for texts that say at their end what matters.
func End(text string, most int) string {
	text = plain(text)
	from := len(text) - most
	if from <= 0 {
		return text
	}
	for from < len(text) && !utf8.RuneStart(text[from]) {
		from++
	}
	return "…" + text[from:]
}

// plain is a text as words with single spaces, all of it visible.
func plain(text string) string {
	if clean(text) {
		return text
	}
	return strings.Join(strings.Fields(Visible(text)), " ")
}

// Visible is a text of any length without what cannot be seen; every white space
// is a space.
func Visible(text string) string {
	text = escapes.ReplaceAllString(strings.ToValidUTF8(text, "\ufffd"), "")
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return -1
	}, text)
}

// clean tells whether a text is plain as it is.
func clean(text string) bool {
	var before rune = ' '
	for _, r := range text {
		if r == utf8.RuneError || !unicode.IsPrint(r) || r == ' ' && before == ' ' {
			return false
		}
		before = r
	}
	return text == "" || before != ' '
}

// Error returns err with its text made a Line. What it wraps stays to be found.
func Error(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if line := Line(text); line != text {
		return &shown{err, line}
	}
	return err
}

type shown struct {
	err  error
	text string
}

func (e *shown) Error() string { return e.text }
func (e *shown) Unwrap() error { return e.err }
