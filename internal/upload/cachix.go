package upload

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/run"
)

// Cachix is a cache of Cachix (https://cachix.org), through its program on PATH.
//
// cachix reads what it pushes from the store of this machine (or the one that
// NIX_REMOTE names; versions of 2025 and before read /nix/store whatever that
// says). What was built here is there. What is not, such as nixpkgs-src, is
// first added to that store, where nothing keeps it from the next garbage
// collection. cachix pushes what its arguments refer to as well, and decides
// itself what the cache needs.
type Cachix struct {
	Cache    string        // the cache's name
	Token    string        // as cachix takes it from CACHIX_AUTH_TOKEN; "": Push is a notice
	Upstream []string      // names of the keys of caches that everybody uses anyway
	Dir      string        // for what Nix writes meanwhile; "": the system's folder
	Limit    time.Duration // a command that takes longer is ended; 0: 1 h

	SigningKey string // as cachix takes it from CACHIX_SIGNING_KEY; "": the cache signs itself
}

var cachixName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`) // a label of <name>.cachix.org

// Check reports what is wrong with Cache.
func (c Cachix) Check() error {
	if !cachixName.MatchString(c.Cache) {
		return fmt.Errorf("cache name %q: want lower-case letters, digits and hyphens", c.Cache)
	}
	return nil
}

// Name is "cachix " and the cache's name.
func (c Cachix) Name() string { return "cachix " + c.Cache }

// Push adds what the machine's store lacks to it, and runs cachix push.
func (c Cachix) Push(ctx context.Context, infos []nix.PathInfo, objects Objects) (Report, error) {
	token, err := c.ready()
	if err != nil {
		return Report{}, err
	}
	chosen, others := foreign(infos, c.Upstream)
	report := Report{Upstream: others}
	if len(chosen) == 0 {
		return report, nil
	}
	if _, err := nixCopy(ctx, c.Dir, withReferences(chosen, infos), objects, run.Command{Limit: c.Limit}); err != nil {
		return report, conceal(err, token)
	}
	var paths strings.Builder
	for _, info := range chosen {
		paths.WriteString(info.Path.String() + "\n")
	}
	env := append(run.Environ([]string{"CACHIX_*"}), "CACHIX_AUTH_TOKEN="+token)
	if c.SigningKey != "" {
		env = append(env, "CACHIX_SIGNING_KEY="+c.SigningKey)
	}
	push := run.Command{Name: "cachix", Args: []string{"push", c.Cache}, Env: env, Stdin: strings.NewReader(paths.String()), Limit: c.Limit}
	if err := execute(ctx, push, token, c.SigningKey); err != nil {
		return report, err
	}
	report.Pushed, report.Bytes = len(chosen), size(chosen)
	return report, nil
}

// ready returns the token, if all is there that a push needs.
func (c Cachix) ready() (token string, err error) {
	if err := c.Check(); err != nil {
		return "", err
	}
	token = strings.TrimSpace(c.Token)
	if token == "" {
		return "", &NotPushed{"CACHIX_AUTH_TOKEN is not set"}
	}
	if _, err := exec.LookPath("cachix"); errors.Is(err, exec.ErrNotFound) {
		return "", &NotPushed{"cachix is not on PATH"}
	}
	return token, nil
}
