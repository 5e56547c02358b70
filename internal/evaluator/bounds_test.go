package evaluator

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/run"
)

// endless takes ages and next to no memory.
const endless = `let many = f: builtins.foldl' (a: _: f a) 0 (builtins.genList (x: x) 10000); in many (_: many (_: many (_: many (x: x))))`

// What an expression may take is bounded, and what it says does not end up in
// our memory.
func TestBounds(t *testing.T) {
	n, err := Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v := newVictim(t, true)
	for _, tt := range []struct {
		name, text string
		limits     Limits
		want       string // part of the error
		kind       any    // that the error is
	}{
		{"endless", endless, Limits{Timeout: 300 * time.Millisecond}, "nix-instantiate: not done after 300ms", new(*run.TimeError)},
		{"memory", `let double = n: s: if n == 0 then s else double (n - 1) (s + s); in builtins.stringLength (double 33 "x")`, Limits{Memory: 256 << 20}, "(it may have 256 MiB)", new(*EvalError)},
		{"stack", `let f = x: f x + 1; in f 1`, Limits{}, "nix-instantiate: ", new(*EvalError)},
		{"a long answer", `let double = n: s: if n == 0 then s else double (n - 1) (s + s); in double 25 "x"`, Limits{}, "wrote more than 16777216 bytes", new(*run.OutputError)},
		{"a long trace", `let double = n: s: if n == 0 then s else double (n - 1) (s + s); line = double 20 "x"; in builtins.foldl' (a: _: builtins.trace line a) (throw "the end") (builtins.genList (x: x) 100)`, Limits{}, "the end", new(*EvalError)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := n
			n.Limits = tt.limits
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			out, err := n.Eval(t.Context(), t.TempDir(), v.expression(t, tt.text))
			runtime.ReadMemStats(&after)
			if err == nil || !errors.As(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Eval() = %.50q, %.500v, want an error that says %q", out, err, tt.want)
			}
			// What is read to the limit of an answer is copied as it grows.
			if took := after.TotalAlloc - before.TotalAlloc; took > 8*maxOutput {
				t.Errorf("%d MiB were allocated here", took>>20)
			}
		})
	}

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := n.Eval(ctx, t.TempDir(), v.expression(t, endless)); err != ctx.Err() || err == nil {
		t.Errorf("interrupted: %v", err)
	}
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("an interrupt took %v", took)
	}
}
