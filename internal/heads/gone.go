package heads

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/google/go-github/v62/github"
)

// Gone tells whether the list of branches lacks a channel. One that is not
// found although the list has it is a channel that cannot be asked, not one
// whose life is over. If there is no list, nothing is known.
func (c *Client) Gone(ctx context.Context, channel string) (bool, error) {
	var refs []*github.Reference
	if _, err := c.get(ctx, "git/matching-refs/heads/"+url.PathEscape(channel), &refs); err != nil {
		return false, fmt.Errorf("list of branches: %w", err)
	}
	return !slices.ContainsFunc(refs, func(r *github.Reference) bool { return r.GetRef() == "refs/heads/"+channel }), nil
}
