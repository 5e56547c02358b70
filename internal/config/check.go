package config

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

const (
	wantSchedule    = `five fields, such as "47 * * * *", or a descriptor, such as @hourly`
	wantRepository  = "owner/name, such as NixOS/nixpkgs"
	wantChannelName = "the name of a branch that Hydra advances, such as nixos-unstable"
	wantStoreName   = "a name in the Nix store, such as " + SourceName
	maxChannel      = 100
)

var (
	channelPattern    = regexp.MustCompile(`^` + component + `$`)
	revisionPattern   = regexp.MustCompile(`^[0-9A-Fa-f]{40}$`)
	repositoryPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$`)
)

func anything(string) error { return nil }

func checkCompression(s string) error {
	if s != "gzip" && s != "zstd" {
		return fmt.Errorf("unknown compression %q (want %s)", s, wantCompression)
	}
	return nil
}

// checkSchedule also refuses what cron takes in a way that nobody means: a
// zone inside the expression, times that never come, an @every below a second.
func checkSchedule(s string) error {
	bad := func(reason any) error {
		return fmt.Errorf("bad schedule %q: %v (want %s)", s, reason, wantSchedule)
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

func checkZone(s string) error {
	if _, err := time.LoadLocation(s); err != nil {
		return fmt.Errorf("unknown time zone %q (want %s)", s, wantZone)
	}
	return nil
}

func checkRepository(s string) error {
	if _, name, _ := strings.Cut(s, "/"); !repositoryPattern.MatchString(s) || name == "." || name == ".." {
		return fmt.Errorf("bad repository %q (want %s)", s, wantRepository)
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
	return fmt.Errorf("bad channel %q: %s (want %s)", s, reason, wantChannelName)
}

func checkStoreName(s string) error {
	if _, err := nix.SourcePath(s, nix.Hash{}, nil); err != nil {
		return fmt.Errorf("%v (want %s)", err, wantStoreName)
	}
	return nil
}

func schemeList(schemes []string) string {
	return alternatives(schemes, func(s string) string { return s + "://" })
}

// checkURL reads an address that paths are appended to.
func checkURL(s string, schemes []string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		// The library's message repeats the address; its cause does not.
		var cause *url.Error
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return "", err
	case !slices.Contains(schemes, u.Scheme):
		return "", fmt.Errorf("scheme %q", u.Scheme)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(s, "#"):
		return "", errors.New("has a ? or # part, which is not used")
	case u.Scheme == "file" && (u.Host != "" || !strings.HasPrefix(u.Path, "/")):
		return "", fmt.Errorf("%q is not file:// and an absolute path", s)
	case u.Scheme != "file" && u.Hostname() == "":
		return "", fmt.Errorf("%q has no host", s)
	}
	return strings.TrimRight(s, "/"), nil
}
