// Package heads turns the name of a channel into the commit that its branch
// points at now, by GitHub's REST API.
//
// An answer is whole or it is an error: a Head is always that of the branch
// asked for, with full ids of commit and tree and the date of the commit.
// A channel that has not moved costs one request that is answered by
// "not modified". With a token that does not count against the rate limit;
// without one it does.
package heads

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-github/v62/github"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/git"
)

// Commit is a revision of the repository.
type Commit struct {
	Rev  git.Rev
	Tree git.TreeID
	Date time.Time // of the committer, in UTC
}

// Head is what a channel points at.
type Head struct {
	Channel string
	Commit
	Since time.Time // when the channel came there; zero: not known, a branch does not say
}

// Client asks one repository. It is safe for concurrent use if its ETags are.
type Client struct {
	github        *github.Client
	owner, name   string
	authenticated bool
	transport     *transport
	sleep         func(context.Context, time.Duration) error
}

// timeout bounds one question with all its repetitions, but for waits that were asked for.
const timeout = 2 * time.Minute

var abbreviation = regexp.MustCompile(`^[0-9a-f]{7,40}$`)

// Head returns the head of a channel, by one request that is conditional if an earlier answer is known.
// If there is no such branch the error is an *UnknownChannelError.
func (c *Client) Head(ctx context.Context, channel string) (Head, error) {
	escaped := url.PathEscape(channel)
	if escaped == "" || strings.Trim(escaped, ".") == "" {
		return Head{}, fmt.Errorf("%q is not the name of a channel", channel)
	}
	var branch github.Branch
	req, err := c.get(ctx, "branches/"+escaped, &branch)
	if err != nil {
		if errors.Is(err, fetch.ErrNotFound) {
			return Head{}, c.unknownChannel(ctx, channel, err)
		}
		return Head{}, err
	}
	if branch.GetName() != channel {
		return Head{}, wrongAnswer(req, fmt.Errorf("the answer is for branch %q", branch.GetName()))
	}
	commit, err := newCommit(branch.GetCommit().GetSHA(), branch.GetCommit().GetCommit())
	if err != nil {
		return Head{}, wrongAnswer(req, err)
	}
	return Head{Channel: channel, Commit: commit}, nil
}

// Commit returns a revision, given by 40 or by its first 7 or more hex digits.
// If there is no such revision the error is an *UnknownCommitError.
func (c *Client) Commit(ctx context.Context, rev string) (Commit, error) {
	digits := strings.ToLower(rev)
	if !abbreviation.MatchString(digits) {
		return Commit{}, fmt.Errorf("%q is not a revision (want 7 to 40 hex digits)", rev)
	}
	full, err := git.ParseRev(digits)
	if err != nil {
		if full, err = c.resolve(ctx, digits); err != nil {
			return Commit{}, err
		}
	}
	var answer github.Commit
	req, err := c.get(ctx, "git/commits/"+full.String(), &answer)
	if err != nil {
		return Commit{}, c.unknownCommit(rev, err)
	}
	if answer.GetSHA() != full.String() {
		return Commit{}, wrongAnswer(req, fmt.Errorf("the answer is for commit %q", answer.GetSHA()))
	}
	commit, err := newCommit(answer.GetSHA(), &answer)
	if err != nil {
		return Commit{}, wrongAnswer(req, err)
	}
	return commit, nil
}

// resolve completes a short revision.
func (c *Client) resolve(ctx context.Context, short string) (git.Rev, error) {
	var text strings.Builder
	req, err := c.request(ctx, "commits/"+short, "application/vnd.github.sha", &text)
	if err != nil {
		return git.Rev{}, c.unknownCommit(short, err)
	}
	answer := strings.TrimSpace(text.String())
	if strings.HasPrefix(answer, "{") {
		// Servers that are only like GitHub ignore the media type and send the whole commit.
		var commit struct{ SHA string }
		if err := json.Unmarshal([]byte(answer), &commit); err != nil {
			return git.Rev{}, wrongAnswer(req, err)
		}
		answer = commit.SHA
	}
	full, err := git.ParseRev(answer)
	if err != nil || !strings.HasPrefix(answer, short) {
		// Hex digits can be the name of a branch or tag, too.
		return git.Rev{}, wrongAnswer(req, fmt.Errorf("the answer is for commit %.60q", answer))
	}
	return full, nil
}

func newCommit(sha string, answer *github.Commit) (Commit, error) {
	rev, err := git.ParseRev(sha)
	if err != nil {
		return Commit{}, err
	}
	tree, err := git.ParseTreeID(answer.GetTree().GetSHA())
	if err != nil {
		return Commit{}, err
	}
	date := answer.GetCommitter().GetDate().UTC()
	if date.IsZero() {
		return Commit{}, errors.New("the commit has no date")
	}
	return Commit{rev, tree, date}, nil
}

// get asks for a JSON document below the repository's URL.
func (c *Client) get(ctx context.Context, resource string, answer any) (*http.Request, error) {
	return c.request(ctx, resource, "", answer)
}

func (c *Client) request(ctx context.Context, resource, accept string, answer any) (*http.Request, error) {
	req, err := c.github.NewRequest(http.MethodGet, "repos/"+c.owner+"/"+c.name+"/"+resource, nil)
	if err != nil {
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	return req, c.patiently(ctx, func() error { return c.ask(ctx, req, answer) })
}

func (c *Client) ask(ctx context.Context, req *http.Request, answer any) error {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := c.github.Do(limited, req, answer)
	if err == nil {
		return nil
	}
	if ctx.Err() == nil && limited.Err() != nil {
		err = fmt.Errorf("no answer within %v", timeout)
	}
	return c.explain(req, err)
}
