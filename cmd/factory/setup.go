package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/nixpkgs-factory/factory/internal/binarycache"
	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/evaluator"
	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/keep"
	"github.com/nixpkgs-factory/factory/internal/notify"
	"github.com/nixpkgs-factory/factory/internal/provenance"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/smallfile"
	"github.com/nixpkgs-factory/factory/internal/workdir"
)

// config reads channels.yaml. Where there is none and nobody named one,
// optional gives the defaults.
func (a *app) config(optional bool) (config.Config, error) {
	named := a.setting(a.configFile, "FACTORY_CONFIG") != ""
	file := a.configPath()
	data, err := smallfile.Read(file, maxConfig)
	if errors.Is(err, fs.ErrNotExist) && optional && !named {
		data = []byte("channels: [ { name: nixos-unstable } ]\n")
	} else if errors.Is(err, fs.ErrNotExist) && !named {
		return config.Config{}, usageError{fmt.Errorf("configuration: there is no %s in this folder: name one with --config or FACTORY_CONFIG", file)}
	} else if err != nil {
		return config.Config{}, usageError{fmt.Errorf("configuration: %w", err)}
	}
	c, err := config.Parse(file, data)
	if err != nil {
		return config.Config{}, usageError{err}
	}
	if err := a.setPublish(&c); err != nil {
		return config.Config{}, usageError{err}
	}
	if v := a.env("FACTORY_IMAGE_SOURCE"); v != "" {
		if err := c.SetSource(v); err != nil {
			return config.Config{}, usageError{fmt.Errorf("FACTORY_IMAGE_SOURCE: %w", err)}
		}
	}
	if v := a.setting(a.nixChoice, "FACTORY_NIX"); v != "" {
		if !slices.Contains(evaluator.Choices, v) {
			return config.Config{}, usageError{fmt.Errorf("--nix %q: want %s", v, strings.Join(evaluator.Choices, ", "))}
		}
		c.Nix = v
	}
	if v := a.setting(a.stateFile, "FACTORY_STATE"); v != "" {
		c.State = v
	}
	if v := a.setting(a.cacheDir, "FACTORY_CACHE_DIR"); v != "" {
		c.Cache = v
	}
	if c.Cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return config.Config{}, usageError{fmt.Errorf("no folder for unfinished work: %w (name one with --cache-dir)", err)}
		}
		c.Cache = filepath.Join(base, "factory")
	}
	a.several = len(c.Images) > 1
	return c, absolute(&c)
}

// maxConfig bounds the configuration file.
const maxConfig = 1 << 20

// absolute makes the configuration's folders absolute: images in a layout have
// one name then, wherever the command is run.
func absolute(c *config.Config) error {
	folders := []*string{&c.State, &c.Cache}
	for i := range c.Images {
		folders = append(folders, &c.Images[i].Folder)
	}
	for i := range c.Publish {
		if c.Publish[i].Layout != "" {
			folders = append(folders, &c.Publish[i].Layout)
		}
	}
	for _, f := range folders {
		abs, err := filepath.Abs(*f)
		if err != nil {
			return err
		}
		*f = abs
	}
	return nil
}

// setPublish replaces the destinations by those of the command line or the
// environment, if there are any.
func (a *app) setPublish(c *config.Config) error {
	dests, err := a.wanted()
	if err == nil && len(dests) > 0 {
		c.Publish = dests
	}
	return err
}

// wanted are the destinations of the command line, or else of the environment.
// Layouts among them are relative to the current folder.
func (a *app) wanted() ([]config.Destination, error) {
	list, by := a.publish, "--publish"
	if len(list) == 0 {
		list, by = strings.Fields(a.env("FACTORY_PUBLISH")), "FACTORY_PUBLISH"
	}
	var dests []config.Destination
	for _, to := range list {
		dest, err := config.ParseDestination(to, ".")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", by, err)
		}
		dests = append(dests, dest)
	}
	return dests, nil
}

func (a *app) configPath() string {
	if file := a.setting(a.configFile, "FACTORY_CONFIG"); file != "" {
		return file
	}
	return "channels.yaml"
}

// openFactory reads the configuration, holds the flags against it and puts everything
// together. The caller closes the factory's Store.
func (a *app) openFactory(checks ...func(config.Config) error) (*cycle.Factory, error) {
	c, err := a.config(false)
	if err != nil {
		return nil, err
	}
	for _, check := range append(checks, a.somewhere) {
		if err := check(c); err != nil {
			return nil, err
		}
	}
	return a.factory(c)
}

// somewhere checks that there is a destination. The configuration of the factory's
// own image has none: what is published into a container is gone with it.
func (a *app) somewhere(c config.Config) error {
	if len(c.Publish) > 0 {
		return nil
	}
	return usageError{fmt.Errorf("%s names no destination: say where to publish with --publish or FACTORY_PUBLISH, such as ghcr.io/my-org, or oci:DIR for a folder", a.configPath())}
}

// prepare is openFactory for commands that tell webhooks what they did.
func (a *app) prepare(checks ...func(config.Config) error) (*cycle.Factory, *notify.Webhooks, error) {
	var hooks *notify.Webhooks
	f, err := a.openFactory(append(checks, func(c config.Config) (err error) {
		if hooks, err = a.webhooks(c); err != nil {
			return usageError{err}
		}
		return nil
	})...)
	return f, hooks, err
}

func (a *app) factory(c config.Config) (*cycle.Factory, error) {
	for _, i := range c.Images {
		if _, err := os.Stat(filepath.Join(i.Folder, "image.nix")); err != nil {
			return nil, usageError{fmt.Errorf("image folder: %w", err)}
		}
	}
	if _, err := a.keychain(c.Publish); err != nil {
		return nil, err
	}
	if err := notAFolder(c.State); err != nil {
		return nil, err
	}
	store, unusable, aside, err := record.OpenAnew(c.State)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if unusable != nil {
		a.logger().Warn("the state file cannot be read and was set aside: what is published is found again in the registries, the history is lost",
			"state", c.State, "aside", aside, "reason", unusable.Err)
	}
	f, err := a.wire(c, store)
	if err != nil {
		store.Close()
		return nil, err
	}
	return f, nil
}

// notAFolder refuses a folder as the state file.
func notAFolder(state string) error {
	if info, err := os.Stat(state); err == nil && info.IsDir() {
		return usageError{fmt.Errorf("state: %s is a folder: name a file, such as %s", state, filepath.Join(state, "factory.db"))}
	}
	return nil
}

// snapshot opens the state for reading, also beside a factory that runs. The
// caller closes it.
func snapshot(c config.Config) (*record.Store, error) {
	if err := notAFolder(c.State); err != nil {
		return nil, err
	}
	store, err := record.Snapshot(c.State)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("state: %s is not there: no cycle has run yet", c.State)
	}
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return store, nil
}

// wire puts everything together around a state that is open.
func (a *app) wire(c config.Config, store *record.Store) (*cycle.Factory, error) {
	f := a.fetch()
	client, err := a.heads(c, f, store)
	if err != nil {
		return nil, err
	}
	repository, err := a.repositories(c)
	if err != nil {
		return nil, err
	}
	subs := make([]binarycache.Substituter, len(c.Substituters))
	for i, s := range c.Substituters {
		subs[i] = binarycache.Substituter{URL: s.URL, Keys: s.Keys}
	}
	cache := binarycache.New(f, subs)
	return &cycle.Factory{
		Config:     c,
		Heads:      client,
		Fetch:      a.archives(c, f),
		Cache:      cache,
		Store:      store,
		Repository: repository,
		Uploads:    a.uploads(c),
		Sign:       a.signer(c),
		Builder:    provenance.Builder(a.env),
		Nix:        a.nix(c, cache),
		Dir:        c.Cache,
		Memory:     workdir.SharedMemory,
		ConfigDir:  filepath.Dir(a.configPath()),
		Log:        a.logger(),
		Moved:      &a.moved,
		Progress:   a.bars(),
		Now:        time.Now,
	}, nil
}

// nix finds the Nix that evaluates.
func (a *app) nix(c config.Config, cache *binarycache.Cache) *evaluator.Chooser {
	return &evaluator.Chooser{
		Choice:    evaluator.Choice(c.Nix),
		Keep:      keep.Folder{Dir: keptNix(c), Source: cache, Most: evaluator.MaxClosure, Progress: a.bars()},
		Installed: evaluator.Find,
		Log:       a.logger(),
	}
}

func (a *app) fetch() *fetch.Client {
	return fetch.New(fetch.Options{UserAgent: userAgent, Progress: func(_ string, n int64) { a.moved.Fetched.Add(n) }})
}

// archives returns f as it reads nixpkgs archives: those of a private repository
// need the API's token.
func (a *app) archives(c config.Config, f *fetch.Client) *fetch.Client {
	return heads.Archives(f, a.env("GITHUB_TOKEN"), c.Upstream.API, c.Upstream.Archive)
}

func (a *app) heads(c config.Config, f *fetch.Client, etags heads.ETags) (*heads.Client, error) {
	log := a.logger()
	return heads.NewClient(heads.Options{
		Sleep: func(ctx context.Context, pause time.Duration) error {
			log.Warn("the API asks for fewer requests at a time, waiting", "for", pause)
			return fetch.Sleep(ctx, pause)
		},
		HTTP:       &http.Client{Transport: f.Transport()},
		API:        c.Upstream.API,
		Repository: c.Upstream.Repository,
		UserAgent:  userAgent,
		Token:      a.env("GITHUB_TOKEN"),
		ETags:      etags,
	})
}

// repositories returns how a repository in a destination is opened, by its name below
// that. All of them share one client: what one image has in a registry, the others
// need not send.
func (a *app) repositories(c config.Config) (func(config.Destination, string) (registry.Repository, error), error) {
	keychain, err := a.keychain(c.Publish)
	if err != nil {
		return nil, err
	}
	o := a.registryOptions(keychain)
	o.Sent = &a.moved.Pushed
	o.Push = true
	client := registry.NewClient(o)
	return func(dest config.Destination, under string) (registry.Repository, error) {
		if dest.Layout != "" {
			return registry.Layout(dest.Layout, under), nil
		}
		repo, err := dest.Remote(under)
		if err != nil {
			return nil, err
		}
		return client.Repository(repo)
	}, nil
}

// registryOptions are how every command speaks to registries.
func (a *app) registryOptions(keychain authn.Keychain) registry.Options {
	return registry.Options{
		Keychain:     keychain,
		UserAgent:    userAgent,
		TrustedHosts: registry.ParseHosts(a.env("REGISTRY_TRUSTED_HOSTS")),
	}
}

// short is a revision as people are shown it.
func short(rev git.Rev) string { return rev.Short(12) }
