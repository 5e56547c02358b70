package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nixbuild"
	"github.com/nixpkgs-factory/factory/internal/realise"
	"github.com/nixpkgs-factory/factory/internal/upload"
)

// cacheFlags name binary caches that get what a build has made.
type cacheFlags struct {
	attic, cachix, stores []string
	archives, required    bool
}

func (o *cacheFlags) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&o.attic, "attic", nil, "fill this cache of an Attic server, URL/CACHE, with what was built (ATTIC_TOKEN); may be repeated")
	flags.StringArrayVar(&o.cachix, "cachix", nil, "fill this cache of Cachix, by its name (CACHIX_AUTH_TOKEN); may be repeated")
	flags.StringArrayVar(&o.stores, "store", nil, "fill this store, a URL as for nix copy --to; may be repeated")
	flags.BoolVar(&o.archives, "cache-archives", false, "put archives of images into the caches, too")
	flags.BoolVar(&o.required, "cache-required", false, "fail if a cache cannot be filled")
}

// everybodys are the keys of the cache that everybody has: what it has signed
// need not go into others.
var everybodys = []string{"cache.nixos.org-1"}

// targets are the caches that the flags name.
func (a *app) targets(o cacheFlags) ([]upload.Target, error) {
	var targets []upload.Target
	client := fetch.New(fetch.Options{UserAgent: userAgent})
	add := func(flag string, t upload.Target, err error) error {
		targets = append(targets, t)
		if err != nil {
			return usageError{fmt.Errorf("--%s: %w", flag, err)}
		}
		return nil
	}
	var problems []error
	for _, address := range o.attic {
		endpoint, cache := cutLast(strings.TrimRight(address, "/"))
		t := upload.Attic{Endpoint: endpoint, Cache: cache, Token: a.env("ATTIC_TOKEN"), Client: client}
		problems = append(problems, add("attic", t, t.Check()))
	}
	for _, name := range o.cachix {
		t := upload.Cachix{Cache: name, Token: a.env("CACHIX_AUTH_TOKEN"), SigningKey: a.env("CACHIX_SIGNING_KEY"), Upstream: everybodys}
		problems = append(problems, add("cachix", t, t.Check()))
	}
	for _, url := range o.stores {
		t := upload.Store{URL: url, Upstream: everybodys}
		problems = append(problems, add("store", t, t.Check()))
	}
	return targets, errors.Join(problems...)
}

// cutLast takes a path apart at its last slash.
func cutLast(path string) (before, after string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// fillCaches brings what builds have made to binary caches. That one cannot be
// filled is an error only where the flags say so; else it is logged.
func (a *app) fillCaches(ctx context.Context, o cacheFlags, targets []upload.Target, builds []built) error {
	if len(targets) == 0 {
		return nil
	}
	log := a.logger()
	infos, err := closures(ctx, builds, o.archives)
	if err == nil && len(builds) == 0 {
		err = errors.New("nothing that is pushed was built by Nix")
	}
	if err != nil {
		return a.cacheFailed(ctx, o, fmt.Errorf("binary caches: %w", err))
	}
	var problems []error
	for _, to := range targets {
		report, err := to.Push(ctx, infos, realise.Store{Nix: builds[0].with})
		var passed *upload.NotPushed
		switch {
		case errors.As(err, &passed) && !o.required:
			log.Warn("binary cache passed over", "cache", to.Name(), "reason", passed.Reason)
		case err != nil:
			problems = append(problems, a.cacheFailed(ctx, o, fmt.Errorf("%s: %w", to.Name(), err)))
		default:
			log.Info("binary cache filled", "cache", to.Name(), "pushed", report.Pushed, "present", report.Present, "upstream", report.Upstream, "bytes", report.Bytes)
		}
	}
	return errors.Join(problems...)
}

func (a *app) cacheFailed(ctx context.Context, o cacheFlags, err error) error {
	if o.required || ctx.Err() != nil {
		return err
	}
	a.logger().Error("a binary cache was not filled", "error", err)
	return nil
}

// closures are what a later run would have to build or fetch again.
func closures(ctx context.Context, builds []built, archives bool) ([]nix.PathInfo, error) {
	var all []nix.PathInfo
	for _, b := range builds {
		b.with.Stderr = nil
		infos, err := nixbuild.Closure(ctx, b.with, b.Result, archives)
		if err != nil {
			return nil, err
		}
		all = append(all, infos...)
	}
	return all, nil
}
