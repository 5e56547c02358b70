package toolset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// DefaultPath is where an image looks for programs that does not say it.
const DefaultPath = "/nix/profile/bin:/usr/local/bin:/usr/bin:/bin"

// Parse reads what image.nix evaluated to and checks it.
func Parse(data []byte) (Toolset, error) {
	var set Toolset
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&set); err != nil {
		return Toolset{}, explain(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Toolset{}, errors.New("more than one value")
	}
	if len(set.Tools) == 0 {
		return Toolset{}, errors.New("no tools")
	}
	if err := set.check(); err != nil {
		return Toolset{}, err
	}
	if _, ok := set.Env["PATH"]; !ok {
		if set.Env == nil {
			set.Env = make(map[string]string)
		}
		set.Env["PATH"] = DefaultPath
	}
	return set, nil
}

// explain says which field has a value of another kind, and of which it should be.
func explain(err error) error {
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong) && wrong.Field != "":
		return fmt.Errorf("%s: want %s, not %s", wrong.Field, kinds[wrong.Type.Kind()], found(wrong.Value))
	case errors.As(err, &wrong):
		return fmt.Errorf("want a set, not %s", found(wrong.Value))
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

var kinds = map[reflect.Kind]string{
	reflect.Bool:   "true or false",
	reflect.Map:    "a set",
	reflect.Slice:  "a list",
	reflect.String: "a string",
	reflect.Struct: "a set",
}

// found says what a value is, in Nix's words for it.
func found(kind string) string {
	switch kind {
	case "array":
		return "a list"
	case "object":
		return "a set"
	default: // of a number, the number comes with it
		return "a " + kind
	}
}

var (
	variable = regexp.MustCompile(`^[^=\x00]+$`)
	user     = regexp.MustCompile(`^[0-9]{1,9}(:[0-9]{1,9})?$`)
	port     = regexp.MustCompile(`^([0-9]{1,5})(/(tcp|udp|sctp))?$`)
	signal   = regexp.MustCompile(`^(SIG[A-Z0-9]+([+-][0-9]{1,2})?|[0-9]{1,2})$`)
	label    = regexp.MustCompile(`^[a-z0-9]+([._-][a-zA-Z0-9]+)*$`)
	version  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)
)

// ownLabel tells of the labels by which the factory knows its own images.
func ownLabel(name string) bool {
	return strings.HasPrefix(name, "io.github.nixpkgs-factory.") ||
		slices.Contains([]string{"org.opencontainers.image.revision", "org.opencontainers.image.created", "org.opencontainers.image.version"}, name)
}

// check holds each field against what engines and registries take.
func (t Toolset) check() error {
	for _, name := range slices.Sorted(maps.Keys(t.Env)) {
		if !variable.MatchString(name) {
			return fmt.Errorf("env: %q is no name of a variable", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Labels)) {
		if ownLabel(name) || !label.MatchString(name) {
			return fmt.Errorf("labels: %q is no label, or one that the factory sets", name)
		}
	}
	for i, text := range t.Ports {
		m := port.FindStringSubmatch(text)
		if m == nil || !isPort(m[1]) {
			return fmt.Errorf(`ports[%d]: want a port as in "8080/tcp", not %q`, i, text)
		}
	}
	for i, dir := range t.Volumes {
		if !isFolder(dir) || dir == "/" {
			return fmt.Errorf("volumes[%d]: want an absolute path, not %q", i, dir)
		}
	}
	for _, f := range []struct {
		name, text, want string
		ok               bool
	}{
		{"workdir", t.WorkDir, "an absolute path", isFolder(t.WorkDir)},
		{"user", t.User, `numbers as in "1000:1000"`, user.MatchString(t.User)},
		{"stopSignal", t.StopSignal, `a signal as in "SIGINT"`, signal.MatchString(t.StopSignal)},
		{"version", t.Version, "what a tag may have in it, at most 64 of A-Z a-z 0-9 _ . -", version.MatchString(t.Version)},
	} {
		if f.text != "" && !f.ok {
			return fmt.Errorf("%s: want %s, not %q", f.name, f.want, f.text)
		}
	}
	if t.HasNixpkgs() && !t.HasDatabase() {
		return errors.New("database: it cannot be false where nixpkgs is in the image, for Nix would not find that")
	}
	return nil
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

func isFolder(dir string) bool { return path.IsAbs(dir) && path.Clean(dir) == dir }
