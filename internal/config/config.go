// Package config turns the text of channels.yaml into a checked Config.
//
// In go the name and the text of the file; out comes either a Config or every
// problem of the file at once, each with line, column, path and what is wanted.
// What a caller may rely on: a Config that Parse returned is whole. Names are
// valid where they will be used, folders are joined to the folder of the file,
// what the file leaves out has its default, and there is no secret in it.
//
// The keys are in table.go: a row for each, with its rule, which says what may be
// there and which field of Config it is read into, and its default, as it would
// stand in the file. A new key is a field and a row:
//
//	key{name: "limit", value: "6h", rule: duration(&c.Limit, "1s", "168h", "6h")},
//
// rule.go has the kinds of rules, check.go the forms of texts. parser.go walks
// the nodes of the file, and secret.go has looked at all of them before. Rules also
// say what JSON Schema can say of a value: schema.go puts that together, and
// docs/channels.schema.json is what comes out. After a change of the table
//
//	go test ./internal/config -run TestSchemaFile -update
//
// writes it again.
package config

import (
	"path/filepath"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Config is what channels.yaml says. Nothing reads the file a second time.
type Config struct {
	Upstream     Upstream
	Substituters []Substituter // in order of priority, at least one
	Publish      []Destination // at least one
	Images       []Image       // at least one
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
	Attest       bool // an SBOM and the provenance of each image go beside it
	Sign         Sign
	Nix          string // that evaluates: auto, tree or path
	Evaluation   Evaluation
}

// Sign says what images are signed by.
type Sign struct {
	Key string // file of a private key, or env:// and the variable that holds it; "": they are not signed
}

// FromEnvironment is how a key begins that a variable holds.
const FromEnvironment = "env://"

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

// place is equal for two caches that are the same one, and "" for one that
// could not be read.
func (u Upload) place() string {
	if u.Attic != "" && u.Cache != "" {
		return u.Attic + " " + u.Cache
	}
	return u.Cachix + u.Store
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
	Tags    []string // templates of the tags that move with the head, of images that do not have their own: see Tags
	Systems []System // nil: those of Config

	Optional []System // those of its systems whose absence upstream is no failure; not all
	Backfill *int     // nil: that of Config
	Frozen   bool     // at its end of life: not polled, nothing of it changes
}

// String is the channel's name.
func (ch Channel) String() string { return ch.Name }

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

const defaultCacheKey = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="

// Parse reads the text of channels.yaml. The name of the file is used in
// errors, and its folder is what relative paths in it are relative to; the
// file system is not asked. An error holds one *Error for each problem, in the
// order of the file, and can be taken apart with errors.As or, through
// Unwrap() []error, one by one.
func Parse(name string, data []byte) (Config, error) {
	p := &parser{file: name, reported: map[*yaml.Node]bool{}, secrets: map[string]bool{}, budget: maxValues}
	var c Config
	if root, ok := p.document(data); ok {
		p.findSecrets(root)
		c.rules(filepath.Dir(name)).read(p, root)
		for _, check := range p.later {
			check()
		}
	}
	p.findSecretsInText(data)
	if err := p.err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// resolve gives the path that a path in a file of folder dir means.
func resolve(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}
