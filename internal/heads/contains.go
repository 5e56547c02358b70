package heads

import (
	"context"
	"fmt"

	"github.com/nixpkgs-factory/factory/internal/git"
)

// Contains tells whether a commit is in the history of a channel. That a repository
// has a commit says little: GitHub answers for those of all forks, too. It also compares
// with branches of forks (OWNER:BRANCH), tags, pull requests and commits by their ids, so
// the name has to be that of a branch first, and its head is compared with. See
// https://docs.github.com/rest/commits/commits#compare-two-commits.
func (c *Client) Contains(ctx context.Context, channel string, rev git.Rev) (bool, error) {
	var answer struct {
		Status string `json:"status"` // of the commit, seen from the channel
		Base   struct {
			SHA string `json:"sha"`
		} `json:"merge_base_commit"`
	}
	head, err := c.Head(ctx, channel)
	if err != nil {
		return false, err
	}
	// What the channel has beyond the commit is not wanted, and not sent.
	req, err := c.get(ctx, "compare/"+head.Rev.String()+"..."+rev.String()+"?per_page=1", &answer)
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
