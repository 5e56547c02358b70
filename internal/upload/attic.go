package upload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/nix"
)

// Attic is a cache of an Attic server (https://docs.attic.rs), spoken to by its
// HTTP API. NARs go straight from where they are to the server.
type Attic struct {
	Endpoint string // http or https URL of the server, with or without a slash at the end
	Cache    string // the cache's name
	Token    string // JSON web token that may pull and push; "": Push is a notice

	Client   *fetch.Client // nil: one of our own
	Parallel int           // uploads at once; 0: 5
}

// maxFailures is after how many failed objects the others are not tried.
const maxFailures = 5

// atticName is Attic's rule for names of caches.
var atticName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_+-]{0,49}$`)

// Check reports what is wrong with Endpoint and Cache.
func (a Attic) Check() error {
	_, err := a.base()
	return err
}

// base returns the endpoint with a slash at the end.
func (a Attic) base() (*url.URL, error) {
	if !atticName.MatchString(a.Cache) {
		return nil, fmt.Errorf("cache name %q: want 1 to 50 of A-Z a-z 0-9 - _ +, the first one a letter or digit", a.Cache)
	}
	base, err := parseEndpoint(a.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("endpoint %w", err)
	}
	return base, nil
}

func parseEndpoint(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("is not a URL") // url.Error would repeat a password
	case u.User != nil:
		return nil, errors.New("has a user in it (the token is set as ATTIC_TOKEN)")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("%q is not an http or https URL", fetch.Redact(raw))
	}
	u.RawQuery, u.Fragment = "", ""
	return u.JoinPath("/"), nil
}

// Name is "attic " and the address of the cache.
func (a Attic) Name() string {
	return "attic " + strings.TrimSuffix(fetch.Redact(a.Endpoint), "/") + "/" + a.Cache
}

// Push uploads what the cache misses. An object that the server does not take
// does not keep back the others; a server that takes none does.
func (a Attic) Push(ctx context.Context, infos []nix.PathInfo, objects Objects) (Report, error) {
	s, end, err := a.begin()
	if err != nil {
		return Report{}, err
	}
	defer end()
	report, err := s.push(ctx, infos, objects)
	return report, conceal(err, s.Token)
}

// begin makes a session, unless it can be seen that nobody would talk to us.
func (a Attic) begin() (*session, func(), error) {
	base, err := a.base()
	a.Token = strings.TrimSpace(a.Token) // variables are often set from files
	switch {
	case err != nil:
		return nil, nil, err
	case a.Token == "":
		return nil, nil, &NotPushed{"ATTIC_TOKEN is not set"}
	case !plain(a.Token) || strings.Contains(a.Token, " "):
		return nil, nil, errors.New("ATTIC_TOKEN is not a token: it has a space or a character that no token has")
	}
	end := func() {}
	if a.Client == nil {
		a.Client = fetch.New(fetch.Options{})
		end = a.Client.CloseIdleConnections
	}
	return &session{Attic: a, api: base}, end, nil
}

// session is a Push or a Probe under way.
type session struct {
	Attic
	api *url.URL // with a slash at the end
}

func (s *session) push(ctx context.Context, infos []nix.PathInfo, objects Objects) (Report, error) {
	var report Report
	config, err := s.config(ctx)
	if err != nil {
		return report, err
	}
	chosen, others := foreign(infos, config.UpstreamKeyNames)
	report.Upstream = others
	missing, err := s.missing(ctx, chosen, 0)
	if err != nil {
		return report, err
	}
	report.Present = len(chosen) - len(missing)
	pushed, err := s.uploadAll(ctx, missing, objects)
	report.Pushed, report.Bytes = len(pushed), size(pushed)
	return report, err
}

// uploadAll uploads objects, several at once, and returns those that are there now.
func (s *session) uploadAll(ctx context.Context, missing []nix.PathInfo, objects Objects) ([]nix.PathInfo, error) {
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(cmp.Or(s.Parallel, 5))
	errs := slices.Repeat([]error{context.Canceled}, len(missing)) // as long as they are not tried
	var failures atomic.Int32
	for i, info := range missing {
		group.Go(func() error {
			if within.Err() != nil {
				return nil
			}
			errs[i] = s.upload(within, info, objects)
			switch {
			case forAll(errs[i]):
				return errs[i]
			case errs[i] != nil && failures.Add(1) >= maxFailures:
				return errEnough
			}
			return nil
		})
	}
	end := group.Wait()
	var pushed []nix.PathInfo
	for i, info := range missing {
		if errs[i] == nil {
			pushed = append(pushed, info)
		}
	}
	switch {
	case ctx.Err() != nil:
		return pushed, ctx.Err()
	case end != nil && end != errEnough:
		return pushed, end
	}
	return pushed, failed(errs, len(missing)-len(pushed), len(missing))
}

var errEnough = errors.New("enough failures")

// failed makes one error of those of several objects. Uploads that were under
// way when the others were given up have nothing to say.
func failed(errs []error, absent, all int) error {
	var said error
	for _, err := range errs {
		switch {
		case err == nil || errors.Is(err, context.Canceled):
		case said == nil:
			said = err
		default:
			said = fmt.Errorf("%w; %w", said, err)
		}
	}
	if said == nil {
		return nil
	}
	return fmt.Errorf("%d of %d objects not pushed: %w", absent, all, said)
}
