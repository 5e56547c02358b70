package upload

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/run"
)

// Store is a store that Nix itself can write to: s3://, ssh-ng://, file://,
// https:// with PUT, local?root=, with the settings of the URL's query, as in
// nix copy --to URL. Credentials come from where Nix takes them: the AWS
// variables, SSH keys, a netrc file.
//
// Nix insists that a store has all that an object refers to. So what upstream
// has is left out only where nothing that is pushed refers to it.
type Store struct {
	URL      string
	Upstream []string      // names of the keys of caches that everybody uses anyway
	Dir      string        // for what Nix writes while it compresses; "": the system's folder
	Limit    time.Duration // a copy that takes longer is ended; 0: 1 h
}

// Check reports what is wrong with URL.
func (s Store) Check() error {
	u, err := url.Parse(s.URL)
	switch {
	case s.URL == "":
		return errors.New("store URL is empty")
	case strings.HasPrefix(s.URL, "-"):
		return errors.New("store URL starts with a hyphen")
	case err != nil:
		return errors.New("store URL is not a URL") // url.Error would repeat a password
	}
	if _, set := u.User.Password(); set {
		return errors.New("store URL has a password in it, which every user of the machine could see (Nix takes it from a netrc file)")
	}
	return nil
}

// Name is "store " and the URL, without what may be secret.
func (s Store) Name() string { return "store " + fetch.Redact(s.URL) }

// Push runs nix copy.
func (s Store) Push(ctx context.Context, infos []nix.PathInfo, objects Objects) (Report, error) {
	if err := s.Check(); err != nil {
		return Report{}, err
	}
	chosen, others := foreign(infos, s.Upstream)
	if len(chosen) == 0 {
		return Report{Upstream: others}, nil
	}
	needed := withReferences(chosen, infos)
	report := Report{Upstream: len(chosen) + others - len(needed)}
	taken, err := nixCopy(ctx, s.Dir, needed, objects, run.Command{Args: []string{"--to", s.URL}, Limit: s.Limit})
	report.Pushed, report.Bytes = len(taken), size(taken)
	if err == nil {
		report.Present = len(needed) - len(taken)
	}
	return report, err
}
