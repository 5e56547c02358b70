package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/plan"
)

// maxMatrix is how many jobs GitHub makes of a matrix.
const maxMatrix = 256

// matrix is the matrix of a GitHub Actions job: an entry for each image of one
// system that is due.
type matrix struct {
	Include []matrixEntry `json:"include"`
}

type matrixEntry struct {
	Channel string        `json:"channel"`
	Rev     git.Rev       `json:"rev"`
	System  config.System `json:"system"`
}

func matrixOf(jobs []plan.Job) matrix {
	m := matrix{Include: []matrixEntry{}}
	for _, j := range jobs {
		if j.Action == plan.None {
			continue
		}
		if len(m.Include)+len(j.Systems) > maxMatrix {
			break // the rest is due next time, too
		}
		for _, system := range j.Systems {
			m.Include = append(m.Include, matrixEntry{j.Channel, j.Rev, system})
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
		if e.Channel == "" || e.Rev.IsZero() || e.System == (config.System{}) {
			return matrix{}, fmt.Errorf("include[%d]: want channel, rev and system", i)
		}
	}
	return m, nil
}
