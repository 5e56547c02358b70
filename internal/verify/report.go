package verify

import (
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/said"
)

// Report is what was found out of an image. Its JSON form is part of the command's
// interface.
type Report struct {
	Image   string  `json:"image"` // as it was named
	Digest  v1.Hash `json:"digest"`
	Channel string  `json:"channel,omitempty"`
	Rev     string  `json:"rev,omitempty"`

	Images  []Made  `json:"images"` // of the platforms that were looked at
	Seconds float64 `json:"seconds"`
	Bytes   int64   `json:"bytes"` // of layers that were read, compressed
	Checks  []Check `json:"checks"`
}

// Made is the image of one platform.
type Made struct {
	System string  `json:"system"`
	Digest v1.Hash `json:"digest"`
}

// Verified tells whether nothing is wrong.
func (r Report) Verified() bool {
	return !slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Result == Failed })
}

// Result is how a check ended.
type Result string

const (
	Passed Result = "passed"
	Failed Result = "failed"
	Not    Result = "not checked"
)

// Check is one thing that was held against another.
type Check struct {
	System   string   `json:"system,omitempty"` // whose image; "" for all
	Name     string   `json:"check"`
	Result   Result   `json:"result"`
	Text     string   `json:"text"` // what was checked, or why nothing was
	Problems []string `json:"problems"`
	More     int      `json:"more,omitempty"` // problems that are not shown
}

// Rebuilt is the check of an image against what was made again. Nothing in the root
// file system is without a proof after it.
func (r *Report) Rebuilt(c Check) {
	r.Checks = append(r.Checks, c)
	if c.Result != Passed {
		return
	}
	for i := range r.Checks {
		if old := &r.Checks[i]; old.Name == rootCheck {
			old.Result, old.Text = Passed, "the same as made again"
		}
	}
}

// rootCheck is the name of the check of what only a rebuild proves.
const rootCheck = "root"

// NewCheck begins a check of all platforms.
func NewCheck(name string) *Check { return newCheck("", name) }

// Add takes a problem in.
func (c *Check) Add(format string, args ...any) { c.add(format, args...) }

// Say tells what is checked.
func (c *Check) Say(format string, args ...any) { c.say(format, args...) }

// mostProblems is how many problems of a check are shown.
const mostProblems = 20

func newCheck(system, name string) *Check {
	return &Check{System: system, Name: name, Result: Passed, Problems: []string{}}
}

// add takes a problem in.
func (c *Check) add(format string, args ...any) {
	c.Result = Failed
	if len(c.Problems) == mostProblems {
		c.More++
		return
	}
	c.Problems = append(c.Problems, said.Line(fmt.Sprintf(format, args...)))
}

func (c *Check) addAll(problems []error) {
	for _, err := range problems {
		c.add("%v", err)
	}
}

// join takes the problems of another check in.
func (c *Check) join(before string, other *Check) {
	for _, p := range other.Problems {
		c.add("%s%s", before, p)
	}
	c.More += other.More
}

// say tells what is checked.
func (c *Check) say(format string, args ...any) { c.Text = said.Line(fmt.Sprintf(format, args...)) }

// not tells why nothing is checked.
func (c *Check) not(format string, args ...any) {
	c.Result = Not
	c.say(format, args...)
}
