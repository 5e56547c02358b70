package said

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestLine(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"as it is", "access denied: é", "access denied: é"},
		{"lines", " a\r\n\tb  c\n", "a b c"},
		{"colours", "\x1b[31;1merror:\x1b[0m no", "error: no"},
		{"a title, and the cursor moved", "a\x1b]0;title\x07b\x1b[2J\x1b[1;1Hc\x1b(Bd", "abcd"},
		{"an escape without end", "a\x1b", "a"},
		{"a title without end", "a\x1b]0;title", "a"},
		{"invisible", "a\x00b\x07c\x7fd\u0085e\u202ef\u200bg\ufeffh", "abcd efgh"},
		{"C1 control sequence", "a\u009b31mb", "a31mb"},
		{"no UTF-8", "a\xff\xfeb", "a\ufffdb"},
		{"long", strings.Repeat("x", 301), strings.Repeat("x", 300) + "…"},
		{"long, cut within a character", strings.Repeat("x", 299) + "éé", strings.Repeat("x", 299) + "…"},
	}
	for _, tt := range tests {
		if got := Line(tt.text); got != tt.want {
			t.Errorf("%s: Line = %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := End("a\nbc é", 3); got != "… é" {
		t.Errorf("End = %q", got)
	}
}

func TestError(t *testing.T) {
	if err := Error(nil); err != nil {
		t.Errorf("Error(nil) = %v", err)
	}
	if err := Error(io.EOF); err != io.EOF {
		t.Errorf("Error(EOF) = %v", err)
	}
	err := Error(fmt.Errorf("a\x1b[31m\n%s: %w", strings.Repeat("b", 1000), io.EOF))
	if !errors.Is(err, io.EOF) || len(err.Error()) > Most+len("…") || !strings.HasPrefix(err.Error(), "a bb") {
		t.Errorf("Error = %v", err)
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\x1b[31mb\xffc  d")
	f.Fuzz(func(t *testing.T, text string) {
		line := Line(text)
		if len(line) > Most+len("…") || !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("Line(%q) = %q", text, line)
		}
		if Line(line) != line && len(line) <= Most {
			t.Errorf("Line(%q) is not the same again", line)
		}
	})
}
