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
	"time"
	"unicode"

	"github.com/robfig/cron/v3"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

const (
	maxChannel = 100
	maxLabel   = 1024
)

// Patterns of texts, for rules and for the schema.
const (
	revision = `[0-9A-Fa-f]{40}`
	onGitHub = `[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+`
	labelled = `[a-z0-9]+(?:[._/-][A-Za-z0-9]+)*`
	own      = `io\.github\.nixpkgs-factory\..*|org\.opencontainers\.image\.(?:revision|created|version)` // labels
)

// The forms of texts that the table names.
var (
	schedule = checked(`five fields, such as "47 * * * *", or a descriptor, such as @hourly`, checkSchedule).
			like(`@(?:yearly|annually|monthly|weekly|daily|midnight|hourly|every .+)|\s*\S+(?:\s+\S+){4}\s*`)
	repository  = checked("owner/name, such as NixOS/nixpkgs", checkRepository).like(onGitHub)
	channelName = checked("the name of a branch that Hydra advances, such as nixos-unstable", checkChannel).like(component).but(`.*\.lock|` + revision)
	labelName   = checked("a name such as org.opencontainers.image.source", checkLabelName).
			like(labelled).but(own)
	store      = checked("the URL of a Nix store that begins with "+schemeList(storeSchemes), checkStore).like(schemes(storeSchemes) + `.*`)
	webAddress = addressOf("http", "https")
	address    = addressOf("http", "https", "file")
	trustedKey = form[nix.PublicKey]{want: "a public key, such as " + defaultCacheKey, parse: nix.ParsePublicKey}.like(`[^:]+:[A-Za-z0-9+/]{43}=`)

	zone = checked("a time zone, such as UTC or Europe/Berlin", func(s string) error {
		if _, err := time.LoadLocation(s); err != nil {
			return fmt.Errorf("unknown time zone %q", s)
		}
		return nil
	})
	storeName = checked("a name in the Nix store, such as "+SourceName, func(s string) error {
		_, err := nix.SourcePath(s, nix.Hash{}, nil)
		return err
	}).like(`[A-Za-z0-9+_?=-][A-Za-z0-9+._?=-]*`)
	label = checked("a text of at most 1024 bytes without control characters", func(s string) error {
		if len(s) > maxLabel || strings.ContainsFunc(s, unicode.IsControl) {
			return fmt.Errorf("bad value %q", brief(s))
		}
		return nil
	}).like(`[^\x00-\x1f\x7f-\x9f]*`)
	command = checked("a command for sh -c, such as scripts/smoke-test", func(s string) error {
		switch {
		case strings.TrimSpace(s) == "":
			return errors.New("blank")
		case strings.ContainsRune(s, 0):
			return errors.New("has a zero byte in it")
		}
		return nil
	})

	// Names as servers take them: Attic's rule, and a label of <name>.cachix.org.
	atticName = matching("the name of a cache at the Attic server: at most 50 of A-Z a-z 0-9 - _ +, beginning with a letter or digit",
		`[A-Za-z0-9][A-Za-z0-9_+-]{0,49}`, badName)
	cachixName = matching("the name of a cache at Cachix: at most 63 of a-z 0-9 -, beginning with a letter or digit",
		`[a-z0-9][a-z0-9-]{0,62}`, badName)

	variable = matching("the name of the environment variable that holds the address, such as FACTORY_WEBHOOK_URL",
		`[A-Za-z_][A-Za-z0-9_]*`, noVariable)
	// A secret that somebody has put here hardly has capitals only.
	secretVariable = matching("the name, in capitals, of the environment variable that holds the secret, such as FACTORY_WEBHOOK_SECRET",
		`[A-Z_][A-Z0-9_]*`, noVariable)
)

// privateKey is where a private key is: a file, relative to a folder, or a variable.
// A key itself, somebody has put here by mistake, is not repeated.
func privateKey(dir string) form[string] {
	want := "the file of a private key, such as cosign.key, or env:// and the name, in capitals, of the variable that holds one, such as env://COSIGN_PRIVATE_KEY"
	return form[string]{want: want, parse: func(s string) (string, error) {
		if strings.HasPrefix(s, FromEnvironment) {
			if !keyVariable.MatchString(s) {
				return "", noVariable(s)
			}
			return s, nil
		}
		if strings.Contains(s, "://") {
			return "", errors.New("a key of a service (want a file or a variable: keyless signatures and those of services are made by cosign)")
		}
		return resolve(dir, s), nil
	}}
}

var keyVariable = regexp.MustCompile(`^env://[A-Z_][A-Z0-9_]*$`)

var (
	channelPattern    = regexp.MustCompile(`^` + component + `$`)
	revisionPattern   = regexp.MustCompile(`^` + revision + `$`)
	repositoryPattern = regexp.MustCompile(`^` + onGitHub + `$`)
	labelPattern      = regexp.MustCompile(`^` + labelled + `$`)
	ownLabels         = regexp.MustCompile(`^(?:` + own + `)$`)
)

func badName(s string) error { return fmt.Errorf("bad name %q", s) }

// noVariable does not repeat what it refuses: it may be the secret itself.
func noVariable(string) error { return errors.New("not a variable") }

// checkSchedule also refuses what cron takes in a way that nobody means: a
// zone inside the expression, times that never come, an @every below a second.
func checkSchedule(s string) error {
	bad := func(reason any) error {
		return fmt.Errorf("bad schedule %q: %v", s, reason)
	}
	if strings.Contains(s, "TZ=") {
		return bad("the key timezone sets the time zone")
	}
	schedule, err := cron.ParseStandard(s)
	if err != nil {
		return bad(err)
	}
	if every, ok := strings.CutPrefix(s, "@every "); ok {
		if d, err := time.ParseDuration(every); err != nil || d < time.Second {
			return bad("less than a second")
		}
	}
	// Five years, the most that Next looks ahead, have a leap day in them here.
	if schedule.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return bad("that time never comes")
	}
	return nil
}

func checkRepository(s string) error {
	if _, name, _ := strings.Cut(s, "/"); !repositoryPattern.MatchString(s) || name == "." || name == ".." {
		return fmt.Errorf("bad repository %q", s)
	}
	return nil
}

// checkChannel holds a name against the rules for branches of git and those
// for parts of a repository name in a registry: it has to be both.
func checkChannel(s string) error {
	var reason string
	switch {
	case len(s) > maxChannel:
		reason = fmt.Sprintf("longer than %d characters", maxChannel)
	case s != strings.ToLower(s):
		reason = "has capital letters, which registries refuse"
	case !channelPattern.MatchString(s):
		reason = "registries take only a-z, 0-9 and single . _ - between them"
	case strings.HasSuffix(s, ".lock"):
		reason = "git has no branch that ends in .lock"
	case revisionPattern.MatchString(s):
		reason = "a revision is not a channel"
	default:
		return nil
	}
	return fmt.Errorf("bad channel %q: %s", s, reason)
}

// checkLabelName takes names that registries and engines can show and filter
// by, and none by which the factory knows its own images.
func checkLabelName(s string) error {
	if len(s) > 255 || !labelPattern.MatchString(s) {
		return fmt.Errorf("bad label %q", brief(s))
	}
	if ownLabels.MatchString(s) {
		return fmt.Errorf("bad label %q: the factory sets it", s)
	}
	return nil
}

// addressOf is the form of servers' addresses, which paths are appended to. They
// are read without slashes at the end.
func addressOf(names ...string) form[string] {
	return form[string]{want: "an address that begins with " + schemeList(names), parse: func(s string) (string, error) {
		if err := checkURL(s, names); err != nil {
			return "", fmt.Errorf("bad address: %w", err)
		}
		return strings.TrimRight(s, "/"), nil
	}}.like(schemes(names) + `[^?#]+`)
}

// schemes is the pattern of how addresses begin.
func schemes(names []string) string { return `(?:` + strings.Join(names, "|") + `)://` }

func schemeList(schemes []string) string {
	return alternatives(schemes, func(s string) string { return s + "://" })
}

func checkURL(s string, schemes []string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		// The library's message repeats the address; its cause does not.
		var cause *url.Error
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return err
	case !slices.Contains(schemes, u.Scheme):
		return fmt.Errorf("scheme %q", u.Scheme)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(s, "#"):
		return errors.New("has a ? or # part, which is not used")
	case u.Scheme == "file" && (u.Host != "" || !strings.HasPrefix(u.Path, "/")):
		return fmt.Errorf("%q is not file:// and an absolute path", s)
	case u.Scheme != "file" && u.Hostname() == "":
		return fmt.Errorf("%q has no host", s)
	}
	return nil
}

var storeSchemes = []string{"s3", "http", "https", "file", "ssh", "ssh-ng"}

// checkStore takes the stores of https://nix.dev/manual/nix/latest/store/types/
// that can be reached from anywhere, or that are a folder.
func checkStore(s string) error {
	address, query, _ := strings.Cut(s, "?")
	err := checkURL(address, storeSchemes)
	if strings.Contains(s, "#") {
		err = errors.New("has a # part, which is not used")
	}
	if err != nil {
		return fmt.Errorf("bad address: %w", err)
	}
	parameters, err := url.ParseQuery(query)
	if err != nil {
		return complete{errors.New("bad address: what follows the ? is not name=value&name=value")}
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
				return complete{fmt.Errorf("bad parameter %q: not the absolute path of a file that holds the key", name)}
			}
		}
		return nil
	}
	if _, match := recognise(text); match != "" || secretKey.MatchString(name) {
		return complete{fmt.Errorf("bad parameter %q: a secret has no place in this file (%s)", brief(name), instead("upload", ""))}
	}
	return nil
}
