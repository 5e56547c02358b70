package toolset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Tool is a package whose files are linked below /nix/profile.
type Tool struct {
	Attr    string        `json:"attr"`
	Name    string        `json:"name"`
	Version string        `json:"version"`
	Path    nix.StorePath `json:"path"`
	DrvPath string        `json:"drvPath"` // "": image.nix has a package there
	Output  string        `json:"output"`

	At int `json:"-"` // its place among the tools of image.nix
}

// toolList is how image.nix says its tools: by a set for each, or the package.
type toolList []Tool

// UnmarshalJSON reads the list.
func (l *toolList) UnmarshalJSON(data []byte) error {
	var all []json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return fmt.Errorf("tools: want a list, not %.20s", data)
	}
	if len(all) > maxTools {
		return fmt.Errorf("%d tools, more than %d", len(all), maxTools)
	}
	*l = make([]Tool, len(all))
	for i, one := range all {
		t, err := parseTool(one)
		if err == nil && (t.Attr == "" || t.Path.IsZero()) {
			err = errors.New("want a package, or attr and path")
		}
		if err != nil {
			return fmt.Errorf("tools[%d]: %w", i, err)
		}
		t.At = i
		(*l)[i] = t
	}
	return nil
}

// maxTools bounds how many there are: caches are asked for all of them at once,
// and the tree has a say in the number.
const maxTools = 1000

func parseTool(data []byte) (Tool, error) {
	if data[0] == '"' {
		return parsePackage(data)
	}
	var t Tool
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return t, explain(dec.Decode(&t))
}

// parsePackage reads a package, which Nix says by its store path alone.
func parsePackage(data []byte) (Tool, error) {
	var t Tool
	if err := json.Unmarshal(data, &t.Path); err != nil {
		return t, err
	}
	m := nameAndVersion.FindStringSubmatch(t.Path.Name())
	t.Attr, t.Name, t.Version = m[1], m[1], m[2]
	return t, nil
}

// nameAndVersion takes a name apart as Nix does: a version begins at the first
// dash that no letter follows.
var nameAndVersion = regexp.MustCompile(`^(.*?)(?:-([^a-zA-Z].*))?$`)
