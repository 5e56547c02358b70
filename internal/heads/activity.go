package heads

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/nixpkgs-factory/factory/internal/git"
)

// Move is a movement of a channel.
type Move struct {
	Rev  git.Rev   // where it went
	Time time.Time // when
}

// Moves returns the newest movements of a channel, newest first, at most limit
// (1 to 100). The first one is how the channel came to its head. One
// conditional request; see
// https://docs.github.com/rest/repos/repos#list-repository-activities.
func (c *Client) Moves(ctx context.Context, channel string, limit int) ([]Move, error) {
	if limit < 1 || limit > 100 {
		return nil, fmt.Errorf("%d movements (want 1 to 100)", limit)
	}
	query := url.Values{"ref": {"refs/heads/" + channel}, "per_page": {strconv.Itoa(limit)}}
	var answer []struct {
		Ref       string    `json:"ref"`
		After     string    `json:"after"`
		Timestamp time.Time `json:"timestamp"`
		Type      string    `json:"activity_type"`
	}
	req, err := c.get(ctx, "activity?"+query.Encode(), &answer)
	if err != nil {
		return nil, err
	}
	var moves []Move
	for _, a := range answer {
		if a.Ref != "refs/heads/"+channel {
			return nil, wrongAnswer(req, fmt.Errorf("the answer is for %.100q", a.Ref))
		}
		if a.Type == "branch_deletion" {
			continue
		}
		rev, err := git.ParseRev(a.After)
		if err != nil {
			return nil, wrongAnswer(req, err)
		}
		moves = append(moves, Move{Rev: rev, Time: a.Timestamp.UTC()})
	}
	return moves[:min(len(moves), limit)], nil
}
