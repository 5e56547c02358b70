// Package binarycache turns store paths into path infos and NARs, by asking
// Nix binary caches over HTTP or in a folder.
//
// An info is only ever returned when a key of the cache that sent it vouches
// for it, or when it vouches for itself by its content address. "No cache has
// it" and "a cache could not be asked" are different errors. The bytes of a
// NAR are bounded but not verified: that is for whoever reads them to do,
// with the hash of the info.
package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// ErrNotFound is matched when every cache says that it does not have the path.
// The error is a *NotFoundError then.
var ErrNotFound = errors.New("not found")

// NotFoundError names the path that no cache has.
type NotFoundError struct {
	Path   nix.StorePath
	Caches string // that were asked
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("%s: %v in %s", e.Path.Base(), ErrNotFound, e.Caches)
}

func (e *NotFoundError) Unwrap() error { return ErrNotFound }

// Substituter is a binary cache and the keys whose signatures count in it.
type Substituter struct {
	URL  string // http, https or file; a query, as Nix uses it for settings, is ignored
	Keys []nix.PublicKey
}

// Cache asks several binary caches in order. It remembers the infos that it
// returned, and is safe for concurrent use.
type Cache struct {
	caches  []*cache
	objects flight[nix.StorePath, object]

	mu       sync.Mutex
	doubtful map[nix.StorePath]int // places of caches with NARs that were not as described
}

// object is a trusted answer, with the place of the cache that gave it.
type object struct {
	nix.NARInfo
	place int
}

// New makes a Cache that asks subs, the first one first. It makes no request.
func New(f *fetch.Client, subs []Substituter) *Cache {
	c := &Cache{}
	for _, s := range subs {
		c.caches = append(c.caches, newCache(f, s))
	}
	return c
}

// Info returns what the first cache that has a trusted info of p says.
// Errors name the path and the caches.
func (c *Cache) Info(ctx context.Context, p nix.StorePath) (nix.PathInfo, error) {
	o, err := c.first(ctx, p)
	return o.PathInfo, err
}

// Forget makes every path be asked for again.
func (c *Cache) Forget() {
	c.objects.clear()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doubtful = nil
}

func (c *Cache) first(ctx context.Context, p nix.StorePath) (object, error) {
	return c.objects.do(ctx, p, func() (object, error) { return c.find(ctx, p, 0) })
}

// find asks the caches from a place on.
func (c *Cache) find(ctx context.Context, p nix.StorePath, from int) (object, error) {
	var failure error
	for place := from; place < len(c.caches); place++ {
		info, err := c.caches[place].info(ctx, p)
		switch {
		case err == nil:
			return object{info, place}, nil
		case ctx.Err() != nil:
			return object{}, fmt.Errorf("%s: %w", p.Base(), ctx.Err())
		case !errors.Is(err, ErrNotFound):
			failure = also(failure, err)
		}
	}
	if failure == nil {
		return object{}, &NotFoundError{Path: p, Caches: c.names()}
	}
	return object{}, fmt.Errorf("%s: %w", p.Base(), failure)
}

func (c *Cache) names() string {
	var names []string
	for _, cache := range c.caches {
		names = append(names, cache.name)
	}
	if len(names) == 0 {
		return "any binary cache: none is configured"
	}
	return strings.Join(names, ", ")
}

// NAR returns the decompressed NAR of an object that Info described: as many
// bytes as info.NarSize, or fewer and an error. They have not been verified.
//
// It comes from the cache that gave the info, which is asked once more if it
// does not have the NAR or has one of another length: copies of a cache may be
// a little behind. If it does not deliver then, it comes from a later one with
// the same NAR. Whoever finds that a NAR is not as described calls the stream's
// Doubt: the next one comes from a later cache if there is one that has it.
// Errors, also those of Read, name the path and the cache.
func (c *Cache) NAR(ctx context.Context, info nix.PathInfo) (io.ReadCloser, error) {
	var failure error
	o, err := c.first(ctx, info.Path)
	if err == nil && c.doubts(info.Path, o.place) {
		if r, err := c.after(ctx, o.place, info); err == nil {
			return r, nil
		}
	}
	for err == nil {
		var r io.ReadCloser
		if r, err = c.open(ctx, o, info); err == nil {
			return r, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w", info.Path.Base(), ctx.Err())
		}
		failure = also(failure, err)
		o, err = c.find(ctx, info.Path, o.place+1)
	}
	if failure == nil {
		return nil, err
	}
	// What is wrong with the later caches explains less than what is wrong with those that should have the NAR.
	return nil, fmt.Errorf("%s: %w", info.Path.Base(), failure)
}

// after opens a NAR of a cache behind a place.
func (c *Cache) after(ctx context.Context, place int, info nix.PathInfo) (io.ReadCloser, error) {
	for {
		o, err := c.find(ctx, info.Path, place+1)
		if err != nil {
			return nil, err
		}
		if r, err := c.open(ctx, o, info); err == nil {
			return r, nil
		}
		place = o.place
	}
}

func (c *Cache) doubt(p nix.StorePath, place int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.doubtful == nil {
		c.doubtful = map[nix.StorePath]int{}
	}
	c.doubtful[p] = place
}

func (c *Cache) doubts(p nix.StorePath, place int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, found := c.doubtful[p]
	return found && at == place
}

func (c *Cache) open(ctx context.Context, o object, info nix.PathInfo) (io.ReadCloser, error) {
	cache := c.caches[o.place]
	if o.NarHash != info.NarHash || o.NarSize != info.NarSize {
		return nil, fmt.Errorf("%s: has NAR %s of %d bytes (want %s of %d bytes)",
			cache.name, o.NarHash, o.NarSize, info.NarHash, info.NarSize)
	}
	nar, err := cache.nar(ctx, o.NARInfo)
	if errors.Is(err, fetch.ErrNotFound) || errors.Is(err, fetch.ErrTooLarge) {
		nar, err = cache.nar(ctx, o.NARInfo)
	}
	if err != nil {
		return nil, err
	}
	nar.doubt = func() { c.doubt(info.Path, o.place) }
	return nar, nil
}

// also adds an error to those before it, in one line.
func also(before, err error) error {
	if before == nil {
		return err
	}
	return fmt.Errorf("%w; %w", before, err)
}
