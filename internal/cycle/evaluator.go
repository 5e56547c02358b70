package cycle

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/evaluator"
)

// takeIn takes in what a build is made of and with: the source, and the Nix that
// evaluates it. The latter is fetched, where it has to be, while the rest of the
// source comes. release gives both back.
func (f *Factory) takeIn(ctx context.Context, r revision, dir string, log *slog.Logger) (m materials, release func(), err error) {
	m.dir = dir
	var releaseNix func()
	fallback := newEarly()
	group, within := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if m.src, err = f.takeSource(within, r, dir, fallback, log); err != nil {
			return fmt.Errorf("source: %w", err)
		}
		return nil
	})
	group.Go(func() (err error) {
		wanted := func() ([]byte, bool, error) { return fallback.wait(within) }
		m.nix, releaseNix, err = f.Nix.For(within, wanted, filepath.Join(dir, "nix-trial"), r.channel.Name)
		return err
	})
	err = group.Wait()
	release = func() {
		m.src.close()
		if releaseNix != nil {
			releaseNix()
		}
	}
	if err != nil {
		release()
		return m, nil, err
	}
	m.nix.Limits = f.limits()
	return m, release, nil
}

func (f *Factory) limits() evaluator.Limits {
	return evaluator.Limits{Timeout: f.Config.Evaluation.Timeout, Memory: f.Config.Evaluation.Memory}
}

// early hands a file of the source on from who reads that to who needs the file.
type early struct {
	text chan []byte // holds it; closed without it where there is none
	once sync.Once
}

func newEarly() *early { return &early{text: make(chan []byte, 1)} }

func (e *early) take(text []byte) { e.once.Do(func() { e.text <- text; close(e.text) }) }

// end says that it will not come, if it has not.
func (e *early) end() { e.once.Do(func() { close(e.text) }) }

// wait returns the file, and whether there is one.
func (e *early) wait(ctx context.Context) ([]byte, bool, error) {
	select {
	case text, ok := <-e.text:
		return text, ok, nil
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
}
