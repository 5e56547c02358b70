package evaluator

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// FallbackFile is where a nixpkgs names the Nix that it wants, for each system
// that it knows one for.
const FallbackFile = "nixos/modules/installer/tools/nix-fallback-paths.nix"

// MaxFallbackFile bounds that file. A real one has half a kilobyte.
const MaxFallbackFile = 16 << 10

// Named reads a FallbackFile. It is a Nix expression of one shape, and nothing
// else is read:
//
//	{ # the only attribute set, of strings
//	  x86_64-linux = "/nix/store/…-nix-2.31.2";
//	}
//
// Comments may stand between any two tokens. Errors say in which line.
func Named(text []byte) (map[string]nix.StorePath, error) {
	r := reader{rest: text, line: 1}
	paths, err := r.set()
	if err != nil {
		return nil, said.Error(fmt.Errorf("%s:%d: %w", FallbackFile, r.line, err))
	}
	return paths, nil
}

// reader reads tokens, and knows in which line it is.
type reader struct {
	rest []byte
	line int
}

func (r *reader) set() (map[string]nix.StorePath, error) {
	if len(r.rest) > MaxFallbackFile {
		return nil, fmt.Errorf("the file has %d bytes, more than %d", len(r.rest), MaxFallbackFile)
	}
	if err := r.expect('{'); err != nil {
		return nil, err
	}
	paths := make(map[string]nix.StorePath)
	for {
		if err := r.skip(); err != nil {
			return nil, err
		}
		if bytes.HasPrefix(r.rest, []byte("}")) {
			r.rest = r.rest[1:]
			break
		}
		system, path, err := r.attribute()
		if err != nil {
			return nil, err
		}
		if _, twice := paths[system]; twice {
			return nil, fmt.Errorf("a second %s", system)
		}
		paths[system] = path
	}
	if err := r.skip(); err != nil {
		return nil, err
	}
	if len(r.rest) > 0 {
		return nil, fmt.Errorf("%s after the end of the set", r.found())
	}
	return paths, nil
}

// attribute reads: system = "path";
func (r *reader) attribute() (string, nix.StorePath, error) {
	n := 0
	for n < len(r.rest) && isName(r.rest[n], n == 0) {
		n++
	}
	if n == 0 {
		return "", nix.StorePath{}, fmt.Errorf("want a system or }, found %s", r.found())
	}
	system := string(r.rest[:n])
	r.rest = r.rest[n:]
	if err := r.expect('='); err != nil {
		return "", nix.StorePath{}, err
	}
	if err := r.expect('"'); err != nil {
		return "", nix.StorePath{}, err
	}
	// A path has none of what means something in a string, nor a line's end.
	n = bytes.IndexAny(r.rest, "\"\\$\n")
	if n < 0 || r.rest[n] != '"' {
		return "", nix.StorePath{}, fmt.Errorf("%s: want a plain string in one line", system)
	}
	path, err := nix.ParseStorePath(string(r.rest[:n]))
	if err != nil {
		return "", nix.StorePath{}, fmt.Errorf("%s: %w", system, err)
	}
	r.rest = r.rest[n+1:]
	return system, path, r.expect(';')
}

// isName tells whether a byte may be part of a name, as in x86_64-linux.
func isName(c byte, first bool) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_':
		return true
	}
	return !first && ('0' <= c && c <= '9' || c == '-')
}

func (r *reader) expect(token byte) error {
	if err := r.skip(); err != nil {
		return err
	}
	if len(r.rest) == 0 || r.rest[0] != token {
		return fmt.Errorf("want %c, found %s", token, r.found())
	}
	r.rest = r.rest[1:]
	return nil
}

// skip goes on to the next token: over white space and comments.
func (r *reader) skip() error {
	for len(r.rest) > 0 {
		n := 1
		switch {
		case strings.IndexByte(" \t\r\n", r.rest[0]) >= 0:
		case r.rest[0] == '#':
			if n = bytes.IndexByte(r.rest, '\n'); n < 0 {
				n = len(r.rest)
			}
		case bytes.HasPrefix(r.rest, []byte("/*")):
			end := bytes.Index(r.rest[2:], []byte("*/"))
			if end < 0 {
				return errors.New("a comment without an end")
			}
			n = end + 4
		default:
			return nil
		}
		r.line += bytes.Count(r.rest[:n], []byte("\n"))
		r.rest = r.rest[n:]
	}
	return nil
}

func (r *reader) found() string {
	if len(r.rest) == 0 {
		return "the end of the file"
	}
	word, _, _ := bytes.Cut(r.rest, []byte("\n"))
	return fmt.Sprintf("%q", word[:min(len(word), 20)])
}
