package evaluator

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/nixpkgs-factory/factory/internal/keep"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/run"
)

// instantiate is the program that evaluates. It is one with Nix's others, which
// goes by the name that it is called by.
const instantiate = "nix-instantiate"

// Oldest is the oldest Nix that evaluations are restricted with as they should be.
const Oldest = "2.8"

var nixName = regexp.MustCompile(`^nix-([0-9]+(?:\.[0-9A-Za-z_+-]+)+)$`)

// version is that of a Nix by its store path, as in /nix/store/…-nix-2.31.2.
func version(p nix.StorePath) (string, error) {
	m := nixName.FindStringSubmatch(p.Name())
	if m == nil {
		return "", fmt.Errorf("%s is no release of Nix", p.Base())
	}
	return m[1], nil
}

var number = regexp.MustCompile(`^[0-9]+`)

// Older compares versions number by number; what is not a number ends it.
func Older(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range bs {
		var x int
		if i < len(as) {
			x, _ = strconv.Atoi(number.FindString(as[i]))
		}
		if y, _ := strconv.Atoi(bs[i]); x != y {
			return x < y
		}
	}
	return false
}

// Unpacked is the Nix whose closure c is.
func Unpacked(c keep.Closure) (Nix, error) {
	v, err := version(c.Root)
	byLoader := sync.OnceValues(func() (program, error) { return loaded(c.Store, c.Root) })
	return Nix{Version: v, Named: c.Root, store: c.Store, byLoader: byLoader, trial: new(trial)}, err
}

// program is how nix-instantiate is started.
type program struct {
	name   string
	args   []string // that come before its own
	beside []string // folders that it has to see
	store  string   // shown in the place of the machine's store and programs
}

func (n Nix) program(mode Mode) (program, error) {
	switch {
	case n.Named.IsZero():
		name := followed(filepath.Join(n.bin, instantiate))
		return program{name: name, beside: run.Beside(name)}, nil
	case mode.Namespaces:
		store, err := folder(n.store) // what is shown in a namespace is shown by the way that has no links
		return program{name: filepath.Join(n.Named.String(), "bin", instantiate), store: store}, err
	}
	return n.byLoader()
}

// followed leads from a link to the program, as long as it keeps its name.
func followed(program string) string {
	for range 40 {
		dir, err := filepath.EvalSymlinks(filepath.Dir(program))
		if err != nil {
			return program
		}
		program = filepath.Join(dir, filepath.Base(program))
		target, err := os.Readlink(program)
		if err != nil || filepath.Base(target) != filepath.Base(program) {
			return program
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		program = target
	}
	return program
}
