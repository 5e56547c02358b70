package binarycache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/said"
)

const (
	maxInfo = 1 << 20 // bytes of a narinfo or of nix-cache-info; real ones have a few hundred

	// holdOff is for how long a cache that could not be reached is not tried again.
	// Without it each path of a closure would wait for all the repetitions of its own request.
	holdOff = time.Minute
)

// cache is one binary cache.
type cache struct {
	fetch *fetch.Client
	name  string   // its URL for messages
	base  *url.URL // with a slash at the end; nil if the URL is none
	keys  []nix.PublicKey

	ready    flight[struct{}, nix.CacheInfo]
	down     error // why it could not be used; written and read by the one who asks in ready
	downTill time.Time

	asking   chan struct{} // holds one who asks whether the cache lets anybody in
	openTill time.Time     // for how long that is known; of the one who asks
}

func newCache(f *fetch.Client, s Substituter) *cache {
	c := &cache{fetch: f, name: strings.TrimSuffix(fetch.Redact(s.URL), "/"), keys: s.Keys, asking: make(chan struct{}, 1)}
	base, err := url.Parse(s.URL)
	if err != nil {
		return c
	}
	base.RawQuery, base.Fragment = "", ""
	if !strings.HasSuffix(base.Path, "/") {
		base = base.JoinPath("/")
	}
	c.base = base
	return c
}

// info returns what the cache says of p, if that can be trusted.
// The error matches ErrNotFound if the cache does not have it.
func (c *cache) info(ctx context.Context, p nix.StorePath) (nix.NARInfo, error) {
	if err := c.check(ctx); err != nil {
		return nix.NARInfo{}, err
	}
	data, err := c.fetch.Get(ctx, c.base.JoinPath(p.Digest()+".narinfo").String(), maxInfo)
	if forbidden(err) {
		// Object storage that may not be listed says 403 of what is not there, and
		// so does a cache that lets nobody in.
		if err := c.letsIn(ctx); err != nil {
			return nix.NARInfo{}, err
		}
		return nix.NARInfo{}, ErrNotFound
	}
	switch {
	case errors.Is(err, fetch.ErrNotFound):
		return nix.NARInfo{}, ErrNotFound
	case err != nil:
		return nix.NARInfo{}, err
	}
	info, err := nix.ParseNARInfo(data)
	if err == nil && info.Path != p {
		err = fmt.Errorf("narinfo is for %s", info.Path.Base())
	}
	if err == nil {
		err = info.Trusted(c.keys)
	}
	if err != nil {
		return nix.NARInfo{}, fmt.Errorf("%s: %w", c.name, said.Error(err))
	}
	// What nobody vouches for is not passed on: it would enter the database of an
	// image, and differ from one day to the next.
	info.Sigs = info.Verified(c.keys)
	info.Deriver = nix.StorePath{}
	return info, nil
}

func forbidden(err error) bool {
	var answer *fetch.Error
	return errors.As(err, &answer) && answer.Status == http.StatusForbidden
}

// letsIn asks again for the one file that every cache has, and remembers the
// answer for a while: closures have many paths that a cache may lack. A cache
// that is asked in vain says nothing about what is in it.
func (c *cache) letsIn(ctx context.Context) error {
	select {
	case c.asking <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.asking }()
	if time.Now().Before(c.openTill) {
		return nil
	}
	if _, err := c.fetch.Get(ctx, c.base.JoinPath("nix-cache-info").String(), maxInfo); err != nil {
		return fmt.Errorf("%s lets nobody in: %w", c.name, err)
	}
	c.openTill = time.Now().Add(holdOff)
	return nil
}

// check reads nix-cache-info, once, and says whether the cache can be used.
func (c *cache) check(ctx context.Context) error {
	_, err := c.ready.do(ctx, struct{}{}, func() (nix.CacheInfo, error) {
		if time.Now().Before(c.downTill) {
			return nix.CacheInfo{}, c.down
		}
		info, err := c.readInfo(ctx)
		if err != nil && ctx.Err() == nil {
			c.down, c.downTill = err, time.Now().Add(holdOff)
		}
		return info, err
	})
	return err
}

func (c *cache) readInfo(ctx context.Context) (nix.CacheInfo, error) {
	if c.base == nil {
		return nix.CacheInfo{}, fmt.Errorf("%s is not the URL of a binary cache", c.name)
	}
	data, err := c.fetch.Get(ctx, c.base.JoinPath("nix-cache-info").String(), maxInfo)
	switch {
	case errors.Is(err, fetch.ErrNotFound) && c.base.Scheme == "file":
		// A folder may lack the file, but a folder that is missing is not an empty cache.
		if _, err := os.Stat(c.base.Path); err != nil {
			return nix.CacheInfo{}, fmt.Errorf("%s: %w", c.name, errors.Unwrap(err))
		}
		return nix.CacheInfo{}, nil
	case errors.Is(err, fetch.ErrNotFound):
		return nix.CacheInfo{}, nil
	case err != nil:
		return nix.CacheInfo{}, err
	}
	info, err := nix.ParseCacheInfo(data)
	if err == nil && info.StoreDir != "" && info.StoreDir != nix.StoreDir {
		err = fmt.Errorf("cache is for the store %q (want %q)", info.StoreDir, nix.StoreDir)
	}
	if err != nil {
		return nix.CacheInfo{}, fmt.Errorf("%s: %w", c.name, said.Error(err))
	}
	return info, nil
}

// narURL resolves the URL of a NAR, which is not covered by signatures.
// It must not leave the cache by "..", nor turn a cache on the network into one that reads local files.
func (c *cache) narURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("NAR URL %q is malformed", raw)
	}
	for _, part := range strings.Split(u.Path, "/") {
		if part == "." || part == ".." {
			return "", fmt.Errorf("NAR URL %q leaves the cache", raw)
		}
	}
	switch {
	case u.User != nil || u.Opaque != "":
		return "", fmt.Errorf("NAR URL %q is neither relative nor plain http", fetch.Redact(raw))
	case u.Scheme == "http" || u.Scheme == "https" || u.Scheme == "file" && c.base.Scheme == "file":
		return raw, nil
	case u.Scheme != "" || u.Host != "":
		return "", fmt.Errorf("NAR URL %q is neither relative nor http", raw)
	}
	joined := c.base.JoinPath(u.EscapedPath())
	joined.RawQuery = u.RawQuery
	return joined.String(), nil
}
