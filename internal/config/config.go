// Package config turns channels.yaml into a checked Config.
//
// The file is read strictly: what is not understood is an error, and all
// errors of a file come at once, each with the place where it stands. A Config
// that Parse returned is whole: names are valid where they will be used,
// folders are joined to the folder of the file, and what the file leaves out
// has its default. No secret can stand in the file, so none can be in a Config.
package config

import (
	"path/filepath"
	"time"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Config is what channels.yaml says. Nothing reads the file a second time.
type Config struct {
	Upstream     Upstream
	Substituters []Substituter // in order of priority, at least one
	Publish      []Destination // at least one
	Image        string        // folder of the image's description
	Systems      []System      // at least one
	Schedule     string        // five cron fields, or a descriptor such as @hourly
	TimeZone     string        // IANA name of the zone that Schedule is meant in
	Channels     []Channel     // at least one
	Source       Source
	Compression  string            // of layers: gzip or zstd
	State        string            // the state file
	Cache        string            // working folder; "" when the file does not name one
	Jitter       time.Duration     // scheduled starts are spread by up to this
	Grace        time.Duration     // how long a stop waits for the image that is being made
	Limit        time.Duration     // the longest that a cycle may take
	Backfill     int               // heads passed over between two polls that are built, per channel
	Labels       map[string]string // labels and annotations to add or replace
	Verify       []string          // commands for sh -c, in the folder of the file, that an image has to pass before its tag
	Upload       []Upload          // binary caches that get what upstream does not have
	Notify       []Notify
	Evaluation   Evaluation
}

// Evaluation bounds what Nix may take to evaluate one nixpkgs for one system.
type Evaluation struct {
	Timeout time.Duration
	Memory  int64 // bytes
}

// Upload is a binary cache to fill. One of Attic, Cachix and Store is set.
type Upload struct {
	Attic  string // endpoint of an Attic server, without a slash at the end
	Cache  string // name of the cache there
	Cachix string // name of a cache at Cachix
	Store  string // URL of a Nix store
}

// Notify is a webhook.
type Notify struct {
	URLFrom    string   // environment variable that holds the address, which is a secret
	SecretFrom string   // environment variable that holds what events are signed with; "": they are not
	On         []string // published, failed
}

// Upstream says where channels, commits and archives come from.
type Upstream struct {
	Repository string // owner/name on that GitHub
	API        string // base URL without a slash at the end; "" is api.github.com
	Archive    string // archives are <Archive>/<Repository>/archive/<rev>.tar.gz
}

// Substituter is a binary cache and the keys that are trusted in it.
type Substituter struct {
	URL  string // http, https or file, without a slash at the end
	Keys []nix.PublicKey
}

// Channel is a branch to follow.
type Channel struct {
	Name    string
	Tags    []string // templates of the tags that move with the head: see TagsFor
	Systems []System // nil: those of Config

	Optional []System // those of its systems whose absence upstream is no failure; not all
	Backfill *int     // nil: that of Config
	Frozen   bool     // at its end of life: not polled, nothing of it changes
}

// Source says under which store names the nixpkgs tree enters the image.
type Source struct {
	Names []string // the first is always nixpkgs-src
}

// BackfillOf gives how many passed-over heads of ch are built, newest first.
func (c Config) BackfillOf(ch Channel) int {
	if ch.Backfill != nil {
		return *ch.Backfill
	}
	return c.Backfill
}

// SystemsOf gives the systems that images of ch are made for.
func (c Config) SystemsOf(ch Channel) []System {
	if ch.Systems != nil {
		return ch.Systems
	}
	return c.Systems
}

// SourceName is the store name of the tree that NIX_PATH of the image names.
const SourceName = "nixpkgs-src"

const (
	defaultCacheURL = "https://cache.nixos.org"
	defaultCacheKey = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
)

// Parse reads the text of channels.yaml. The name of the file is used in
// errors, and its folder is what relative paths in it are relative to; the
// file system is not asked. An error holds one *Error for each problem, in the
// order of the file, and can be taken apart with errors.As or, through
// Unwrap() []error, one by one.
func Parse(name string, data []byte) (Config, error) {
	p := newParser(name)
	c := p.defaults()
	if root, ok := p.document(data); ok {
		p.findSecrets(root)
		p.config(root, &c)
	}
	p.findSecretsInText(data)
	if err := p.err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// defaults is the configuration of a file that names its channels and nothing else.
func (p *parser) defaults() Config {
	key, err := nix.ParsePublicKey(defaultCacheKey)
	if err != nil {
		panic(err)
	}
	publish, err := ParseDestination("oci:./registry", p.dir)
	if err != nil {
		panic(err)
	}
	return Config{
		Upstream:     Upstream{Repository: "NixOS/nixpkgs", Archive: "https://github.com"},
		Substituters: []Substituter{{URL: defaultCacheURL, Keys: []nix.PublicKey{key}}},
		Publish:      []Destination{publish},
		Image:        resolve(p.dir, "images/base"),
		Systems:      append([]System(nil), systems...),
		Schedule:     "47 * * * *",
		TimeZone:     "UTC",
		Source:       Source{Names: []string{SourceName, "source"}},
		Compression:  "gzip",
		Grace:        10 * time.Minute,
		Limit:        6 * time.Hour,
		Evaluation:   Evaluation{Timeout: 10 * time.Minute, Memory: 4 << 30},
		State:        resolve(p.dir, "factory.db"),
	}
}

// resolve gives the path that a path in a file of folder dir means.
func resolve(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}
