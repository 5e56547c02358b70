package config

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	wantUpload = "a list of binary caches to upload to, such as [ { cachix: mycache } ]"
	wantTarget = "{ attic: https://attic.example.org, cache: mycache }, { cachix: mycache } or { store: s3://bucket }"
	wantAttic  = "the address of an Attic server, beside cache"
	wantName   = "the name of a cache at the Attic server: at most 50 of A-Z a-z 0-9 - _ +, beginning with a letter or digit"
	wantCachix = "the name of a cache at Cachix: at most 63 of a-z 0-9 -, beginning with a letter or digit"
)

var (
	// Names as servers take them: Attic's rule, and a label of <name>.cachix.org.
	atticPattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_+-]{0,49}$`)
	cachixPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

	storeSchemes = []string{"s3", "http", "https", "file", "ssh", "ssh-ng"}
	wantStore    = "the URL of a Nix store that begins with " + schemeList(storeSchemes)
)

func (p *parser) upload(v value) []Upload {
	var all []Upload
	seen := lines{}
	for _, item := range p.list(v, "binary cache", wantUpload) {
		var c Upload
		var name value // what tells it from others of its kind
		found := p.mapping(item, wantTarget, []field{
			{key: "attic", decode: func(v value) { c.Attic = p.url(v, "http", "https") }},
			{key: "cache", decode: func(v value) { name, c.Cache = v, p.text(v, wantName, checkName(atticPattern, wantName)) }},
			{key: "cachix", decode: func(v value) { name, c.Cachix = v, p.text(v, wantCachix, checkName(cachixPattern, wantCachix)) }},
			{key: "store", decode: func(v value) { name, c.Store = v, p.text(v, wantStore, checkStore) }},
		})
		if found != nil && p.checkKind(item, found) && p.unique(seen, name, "binary cache", c.place()) {
			all = append(all, c)
		}
	}
	return all
}

// checkKind tells by its keys whether an item is one cache.
func (p *parser) checkKind(item value, found lines) bool {
	has := func(key string) int {
		if _, ok := found[key]; ok {
			return 1
		}
		return 0
	}
	if n := max(has("attic"), has("cache")) + has("cachix") + has("store"); n != 1 {
		p.errorf(item, "found %d caches in one item (want %s)", n, wantTarget)
		return false
	}
	if has("attic") > has("cache") {
		p.missing(item, field{key: "cache", missing: "missing (want " + wantName + ")"})
	}
	if has("cache") > has("attic") {
		p.missing(item, field{key: "attic", missing: "missing (want " + wantAttic + ")"})
	}
	return has("attic") == has("cache")
}

// place is equal for two caches that are the same one, and "" for one that
// could not be read.
func (c Upload) place() string {
	if c.Attic != "" && c.Cache != "" {
		return c.Attic + " " + c.Cache
	}
	return c.Cachix + c.Store
}

func checkName(pattern *regexp.Regexp, want string) func(string) error {
	return func(s string) error {
		if !pattern.MatchString(s) {
			return fmt.Errorf("bad name %q (want %s)", s, want)
		}
		return nil
	}
}

// checkStore takes the stores of https://nix.dev/manual/nix/latest/store/types/
// that can be reached from anywhere, or that are a folder.
func checkStore(s string) error {
	address, query, _ := strings.Cut(s, "?")
	_, err := checkURL(address, storeSchemes)
	if strings.Contains(s, "#") {
		err = errors.New("has a # part, which is not used")
	}
	if err != nil {
		return fmt.Errorf("bad address: %w (want %s)", err, wantStore)
	}
	parameters, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("bad address: what follows the ? is not name=value&name=value")
	}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		for _, text := range parameters[name] {
			if err := checkParameter(name, text); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkParameter refuses what Nix would take as a credential. The two settings
// for signing keys take paths: those are no secrets, but a key in their place is.
func checkParameter(name, text string) error {
	if name == "secret-key" || name == "secret-keys" {
		for _, path := range strings.Split(text, ",") {
			if !filepath.IsAbs(path) {
				return fmt.Errorf("bad parameter %q: not the absolute path of a file that holds the key", name)
			}
		}
		return nil
	}
	if _, _, found := recognise(text); found || secretKey.MatchString(name) {
		return fmt.Errorf("bad parameter %q: a secret has no place in this file (%s)", brief(name), instead("upload", ""))
	}
	return nil
}
