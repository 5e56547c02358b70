package heads

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/google/go-github/v62/github"

	"github.com/nixpkgs-factory/factory/internal/fetch"
)

const maxClosest = 3

// unknownChannel says which channels the user may have meant, by one more request.
// The cause is the answer to the first one.
func (c *Client) unknownChannel(ctx context.Context, channel string, cause error) error {
	unknown := &UnknownChannelError{Channel: channel, Repository: c.owner + "/" + c.name}
	// Both kinds of channels, nixos-* and nixpkgs-*, start like this.
	var refs []*github.Reference
	_, err := c.get(ctx, "git/matching-refs/heads/nix", &refs)
	switch {
	case errors.Is(err, fetch.ErrNotFound):
		if !c.authenticated {
			return fmt.Errorf("%w (if the repository is private: set GITHUB_TOKEN)", cause)
		}
		return cause // it is the repository that does not exist
	case ctx.Err() != nil:
		return err
	case err != nil:
		return unknown // without advice, but still true
	}
	var names []string
	for _, ref := range refs {
		name := strings.TrimPrefix(ref.GetRef(), "refs/heads/")
		if strings.HasPrefix(name, "nixos-") || strings.HasPrefix(name, "nixpkgs-") {
			names = append(names, name)
		}
	}
	unknown.Closest = closest(channel, names)
	return unknown
}

// closest returns the names that take few edits to become name, fewest first;
// of equally close ones the later in the alphabet, which is the newer release.
func closest(name string, names []string) []string {
	type candidate struct {
		name  string
		edits int
	}
	var near []candidate
	for _, n := range names {
		// Beyond half of the name nothing is similar any more.
		if edits := levenshtein.ComputeDistance(strings.ToLower(name), n); edits <= max(3, len(name)/2) {
			near = append(near, candidate{n, edits})
		}
	}
	slices.SortFunc(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.edits, b.edits), strings.Compare(b.name, a.name))
	})
	near = near[:min(len(near), maxClosest)]
	var result []string
	for _, n := range near {
		result = append(result, n.name)
	}
	return result
}
