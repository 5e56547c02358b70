package evaluator

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Mode is how the Nix of this machine evaluates.
type Mode struct {
	Namespaces bool   // without network, home and other processes
	Why        string // there are no namespaces
	Writable   bool   // with a store that is thrown away: it refuses the dummy store
}

func (m Mode) String() string {
	text := "restricted evaluation"
	if m.Namespaces {
		text += ", in namespaces without network, home and other processes"
	} else {
		text += ", without namespaces: " + m.Why
	}
	if m.Writable {
		text += "; with a store that is thrown away"
	}
	return text
}

func (m Mode) store(scratch string) string {
	if m.Writable {
		return "local?root=" + filepath.Join(scratch, "root")
	}
	return "dummy://"
}

func (m Mode) option() string {
	if m.Writable {
		return "--read-write-mode"
	}
	return "--readonly-mode"
}

// strictest is the mode that others are a substitute for.
var strictest = Mode{Namespaces: true}

// trial remembers the mode of a Nix.
type trial struct {
	mu   sync.RWMutex // held for reading by what is evaluated before
	mode *Mode
}

// What a trial evaluates: a derivation, a source file of it and a text, as in
// any nixpkgs.
const attempt = `builtins.deepSeq (derivation { name = "trial"; system = "trial"; builder = ./trial.nix; args = [ (builtins.toFile "text" "text") ]; }).drvPath "it works"
`

// Mode tries how this Nix evaluates, once. Nothing but an expression of ours
// has a say in it.
func (n Nix) Mode(ctx context.Context, scratch string) (Mode, error) {
	n.trial.mu.Lock()
	defer n.trial.mu.Unlock()
	if n.trial.mode != nil {
		return *n.trial.mode, nil
	}
	dir := filepath.Join(scratch, "trial")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Mode{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, "trial.nix"), []byte(attempt), 0o644); err != nil {
		return Mode{}, err
	}
	n.Limits.Timeout = time.Minute
	var last error
	why := ""
	for _, mode := range []Mode{strictest, {}, {Namespaces: true, Writable: true}, {Writable: true}} {
		err := n.try(ctx, mode, dir)
		if ctx.Err() != nil {
			return Mode{}, ctx.Err()
		}
		if err == nil {
			if !mode.Namespaces {
				mode.Why = why
			}
			n.trial.mode = &mode
			return mode, nil
		}
		if mode.Namespaces {
			why = err.Error()
		}
		last = err
	}
	return Mode{}, fmt.Errorf("it cannot evaluate without the user's configuration, programs and store: %w", last)
}

func (n Nix) try(ctx context.Context, mode Mode, dir string) error {
	out, err := n.eval(ctx, mode, filepath.Join(dir, "scratch"), Expression{File: filepath.Join(dir, "trial.nix"), Read: []string{dir}})
	if err == nil && strings.TrimSpace(string(out)) != `"it works"` {
		return fmt.Errorf("nix-instantiate answers %q", out)
	}
	return err
}
