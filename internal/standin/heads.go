package standin

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A push is a movement of a branch.
type push struct {
	id            int
	before, after string // revisions; before is all zeros for a new branch
	time          time.Time
	forced        bool
}

const zeroRev = "0000000000000000000000000000000000000000"

// advanceLag is how long after its commit a channel reaches it: Hydra builds first.
const advanceLag = 9*time.Hour + 17*time.Minute

// ErrLast is what NextHead answers when a channel cannot go on.
var ErrLast = errors.New("there is no later commit")

// Head returns the revision that a branch points at, "" if there is no such branch.
func (s *Server) Head(branch string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	pushes := s.heads[branch]
	if len(pushes) == 0 {
		return ""
	}
	return pushes[len(pushes)-1].after
}

// SetHead moves a channel to one of the fixture's revisions,
// as if somebody had pushed it. Setting it to where it is does nothing.
func (s *Server) SetHead(channel, rev string) error {
	commits, i, err := s.channel(channel, rev)
	if err != nil {
		return err
	}
	if i < 0 {
		return fmt.Errorf("%s never points at %q", channel, rev)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.push(channel, commits[i])
	return nil
}

// NextHead moves a channel on by one commit and returns where it is then.
func (s *Server) NextHead(channel string) (rev string, err error) {
	head := s.Head(channel)
	commits, i, err := s.channel(channel, head)
	if err != nil {
		return "", err
	}
	if i == len(commits)-1 {
		return head, fmt.Errorf("%s: %w", channel, ErrLast)
	}
	next := commits[i+1].Rev
	return next, s.SetHead(channel, next)
}

// channel returns a channel's commits, and which of them the revision is, or -1.
func (s *Server) channel(name, rev string) ([]Commit, int, error) {
	commits, ok := s.fixture.Channels()[name]
	if !ok {
		return nil, 0, fmt.Errorf("no channel %q (there are %s)", name, strings.Join(channelNames(), ", "))
	}
	return commits, slices.IndexFunc(commits, func(c Commit) bool { return c.Rev == rev }), nil
}

func channelNames() []string {
	var names []string
	for _, b := range channelBranches {
		names = append(names, b.name)
	}
	return names
}

// pushAll brings all branches to where they are when a server starts.
func (s *Server) pushAll() {
	for _, b := range slices.Concat(channelBranches, otherBranches) {
		for _, c := range s.fixture.commits(b)[:b.head+1] {
			s.push(b.name, c)
		}
	}
}

// push moves a branch to a commit. Times come from commits, not from a clock,
// except that a branch never moves before it moved last.
func (s *Server) push(name string, c Commit) {
	p := push{before: zeroRev, after: c.Rev, time: c.Date.Add(advanceLag)}
	pushes := s.heads[name]
	if len(pushes) > 0 {
		last := pushes[len(pushes)-1]
		if last.after == c.Rev {
			return
		}
		p.before = last.after
		if !p.time.After(last.time) {
			p.time, p.forced = last.time.Add(time.Hour), true
		}
	}
	for _, all := range s.heads {
		p.id += len(all)
	}
	s.heads[name] = append(pushes, p)
}
