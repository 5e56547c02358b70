package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/plan"
)

// maxMatrix is how many jobs GitHub makes of a matrix.
const maxMatrix = 256

// matrix is the matrix of a GitHub Actions job: an entry for each commit and system
// of which images are due. One job makes all of them, for they share the source, the
// evaluator and most layers.
type matrix struct {
	Include []matrixEntry `json:"include"`
}

type matrixEntry struct {
	Channel string        `json:"channel"`
	Rev     git.Rev       `json:"rev"`
	System  config.System `json:"system"`
	Images  string        `json:"images"` // names, with commas between them
}

func (e matrixEntry) names() []string { return strings.Split(e.Images, ",") }

func matrixOf(jobs []plan.Job) matrix {
	m := matrix{Include: []matrixEntry{}}
	due := make(map[matrixEntry]int) // where the entry is, by what it is without images
	for _, j := range jobs {
		if j.Action == plan.None {
			continue
		}
		for _, system := range j.Systems {
			e := matrixEntry{Channel: j.Channel, Rev: j.Rev, System: system}
			at, ok := due[e]
			switch {
			case ok:
				m.Include[at].Images += "," + j.ImageName
			case len(m.Include)+len(j.Systems) > maxMatrix && system == j.Systems[0]:
				return m // the rest is due next time, too
			default:
				due[e] = len(m.Include)
				e.Images = j.ImageName
				m.Include = append(m.Include, e)
			}
		}
	}
	return m
}

// handOn makes a matrix the output of a step of GitHub Actions.
func (a *app) handOn(m matrix) error {
	err := appendTo(a.env("GITHUB_OUTPUT"), func(w io.Writer) error {
		data, err := json.Marshal(m)
		if err == nil {
			_, err = fmt.Fprintf(w, "matrix=%s\ndue=%t\n", data, len(m.Include) > 0)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("step output: %w", err)
	}
	return nil
}

// maxMatrixText bounds the text of a matrix, whose entries have about 100 bytes.
const maxMatrixText = 1 << 20

func parseMatrix(text string) (matrix, error) {
	if len(text) > maxMatrixText {
		return matrix{}, fmt.Errorf("larger than %d bytes", maxMatrixText)
	}
	var m matrix
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return matrix{}, err
	}
	if m.Include == nil {
		return matrix{}, errors.New("no include: want the output matrix of factory plan --output github")
	}
	if len(m.Include) > maxMatrix {
		return matrix{}, fmt.Errorf("%d entries, more than %d", len(m.Include), maxMatrix)
	}
	for i, e := range m.Include {
		if e.Channel == "" || e.Rev.IsZero() || e.System == (config.System{}) || e.Images == "" {
			return matrix{}, fmt.Errorf("include[%d]: want channel, rev, system and images", i)
		}
	}
	return m, nil
}
