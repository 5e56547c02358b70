package heads

import (
	"context"
	"fmt"
	"net/url"

	"github.com/nixpkgs-factory/factory/internal/git"
)

// Contains tells whether a commit is in the history of a channel. That a repository
// has a commit says little: GitHub answers for those of all forks, too. See
// https://docs.github.com/rest/commits/commits#compare-two-commits.
func (c *Client) Contains(ctx context.Context, channel string, rev git.Rev) (bool, error) {
	var answer struct {
		Status string `json:"status"` // of the commit, seen from the channel
		Base   struct {
			SHA string `json:"sha"`
		} `json:"merge_base_commit"`
	}
	// What the channel has beyond the commit is not wanted, and not sent.
	req, err := c.get(ctx, "compare/"+url.PathEscape(channel)+"..."+rev.String()+"?per_page=1", &answer)
	if err != nil {
		return false, err
	}
	switch answer.Status {
	case "identical", "behind":
		if answer.Base.SHA != rev.String() {
			return false, wrongAnswer(req, fmt.Errorf("the commit is %s, and both have %.60q", answer.Status, answer.Base.SHA))
		}
		return true, nil
	case "ahead", "diverged":
		return false, nil
	}
	return false, wrongAnswer(req, fmt.Errorf("the commit is %.60q", answer.Status))
}
