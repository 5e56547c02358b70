package cycle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/binarycache"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/progress"
	"github.com/nixpkgs-factory/factory/internal/realise"
	"github.com/nixpkgs-factory/factory/internal/recipe"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

// objects answers for store paths: from binary caches and, for what was built
// because no cache has it, from the store of this machine.
type objects struct {
	cache *binarycache.Cache
	local *realise.Store // nil: nothing was built
}

// Info implements closure.Infos.
func (o objects) Info(ctx context.Context, p nix.StorePath) (nix.PathInfo, error) {
	info, err := o.cache.Info(ctx, p)
	if o.local != nil && errors.Is(err, binarycache.ErrNotFound) {
		return o.local.Info(ctx, p)
	}
	return info, err
}

// NAR implements layers.NARs.
func (o objects) NAR(ctx context.Context, info nix.PathInfo) (io.ReadCloser, error) {
	if info.Ultimate {
		return o.local.NAR(ctx, info)
	}
	return o.cache.NAR(ctx, info)
}

// counting counts the bytes of NARs as a task's progress.
type counting struct {
	objects
	task progress.Task
}

func (c counting) NAR(ctx context.Context, info nix.PathInfo) (io.ReadCloser, error) {
	rc, err := c.objects.NAR(ctx, info)
	if err != nil {
		return nil, err
	}
	return progress.Count(rc, c.task), nil
}

// objects returns where the toolset's store objects come from. Tools that no
// cache has are built first, unless the system is one that may be missing.
func (f *Factory) objects(ctx context.Context, w work, e evaluated, optional bool) (objects, error) {
	todo, cause, err := f.absent(ctx, e.set)
	if err != nil {
		return objects{}, err
	}
	if len(todo) == 0 {
		return objects{cache: f.Cache}, nil
	}
	names := make([]string, len(todo))
	for i, tool := range todo {
		names[i] = tool.Attr
	}
	if optional {
		return objects{}, fmt.Errorf("%s: %w", strings.Join(names, ", "), cause)
	}
	w.log.Info("building what no cache has", "system", e.system.Nix, "tools", strings.Join(names, " "))
	installed, err := f.Nix.Installed(ctx)
	if err != nil {
		return objects{}, fmt.Errorf("%s: %w: it has to be built, and %w", strings.Join(names, ", "), cause, err)
	}
	installed.Limits = f.limits()
	store := realise.Store{Nix: installed}
	for _, sub := range f.Config.Substituters {
		store.Substituters = append(store.Substituters, sub.URL)
		store.Keys = append(store.Keys, sub.Keys...)
	}
	folders, err := recipe.Folders(w.image.Folder)
	if err != nil {
		return objects{}, err
	}
	select { // Nix has the processors of one build busy
	case w.building <- struct{}{}:
	case <-ctx.Done():
		return objects{}, ctx.Err()
	}
	defer func() { <-w.building }()
	if err := store.Build(ctx, folders, e.args, todo); err != nil {
		return objects{}, fmt.Errorf("no cache has %s, and it cannot be built: %w", strings.Join(names, ", "), err)
	}
	return objects{cache: f.Cache, local: &store}, nil
}

// absent returns the tools that no cache has, and what was said of the first one.
func (f *Factory) absent(ctx context.Context, set toolset.Toolset) (tools []toolset.Tool, cause, err error) {
	said := make([]error, len(set.Tools))
	group, ctx := errgroup.WithContext(ctx)
	for i, tool := range set.Tools {
		group.Go(func() error {
			_, err := f.Cache.Info(ctx, tool.Path)
			if errors.Is(err, binarycache.ErrNotFound) {
				said[i] = err
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	for i, tool := range set.Tools {
		if said[i] != nil {
			tools = append(tools, tool)
			cause = cmp.Or(cause, said[i])
		}
	}
	return tools, cause, nil
}
