package standin

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

func isRepository(owner, repo string) bool {
	return strings.EqualFold(owner+"/"+repo, Repository)
}

func (s *Server) repoURL() string { return s.API() + "/repos/" + Repository }

func (s *Server) getRepository(*http.Request) answer {
	return answer{body: object{
		"id": json.Number(repositoryID), "node_id": nodeID("Repository" + repositoryID), "name": RepositoryName, "full_name": Repository,
		"private": false, "owner": s.user(RepositoryOwner, "Organization"), "html_url": s.url + "/" + Repository,
		"description": "Nix Packages collection & NixOS", "fork": false, "url": s.repoURL(),
		"default_branch": "master", "archived": false, "disabled": false, "visibility": "public",
	}}
}

func (s *Server) user(login, kind string) object {
	return object{
		"login": login, "id": 1, "node_id": nodeID("User:" + login), "avatar_url": "", "gravatar_id": "",
		"url": s.API() + "/users/" + login, "html_url": s.url + "/" + login, "type": kind, "site_admin": false,
	}
}

func nodeID(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// branchNames returns all branches, sorted as GitHub does.
func (s *Server) branchNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.heads))
}

func (s *Server) listBranches(r *http.Request) answer {
	return paginate(s, r, "branches", s.branchNames(), func(name string) any {
		head := s.Head(name)
		return object{
			"name": name, "protected": true,
			"commit": object{"sha": head, "url": s.repoURL() + "/commits/" + head},
		}
	})
}

func (s *Server) getBranch(r *http.Request) answer {
	name := r.PathValue("branch")
	c := s.commit(s.Head(name))
	if c == nil {
		return problem(http.StatusNotFound, "Branch not found", "/branches/branches#get-a-branch")
	}
	self := s.repoURL() + "/branches/" + name
	return answer{body: object{
		"name": name, "commit": s.fullCommit(c),
		"_links":    object{"self": self, "html": s.url + "/" + Repository + "/tree/" + name},
		"protected": true,
		"protection": object{
			"enabled":                true,
			"required_status_checks": object{"enforcement_level": "off", "contexts": []string{}, "checks": []string{}},
		},
		"protection_url": self + "/protection",
	}}
}

func (s *Server) getCommit(r *http.Request) answer {
	ref := r.PathValue("ref")
	c := s.resolve(ref)
	if c == nil {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+ref, "/commits/commits#get-a-commit")
	}
	if strings.Contains(r.Header.Get("Accept"), "application/vnd.github.sha") ||
		strings.Contains(r.Header.Get("Accept"), "application/vnd.github.v3.sha") {
		return answer{text: c.Rev}
	}
	return answer{body: s.fullCommit(c)}
}

// listCommits follows the first parents from ?sha=, or from the default branch.
func (s *Server) listCommits(r *http.Request) answer {
	from := r.URL.Query().Get("sha")
	if from == "" {
		from = "master"
	}
	c := s.resolve(from)
	if c == nil {
		return problem(http.StatusNotFound, "Not Found", "/commits/commits#list-commits")
	}
	var list []*Commit
	for ; c != nil; c = s.parent(c) {
		list = append(list, c)
	}
	return paginate(s, r, "commits", list, func(c *Commit) any { return s.fullCommit(c) })
}

func (s *Server) parent(c *Commit) *Commit {
	if len(c.Parents) == 0 {
		return nil
	}
	return s.commit(c.Parents[0])
}

func (s *Server) getGitCommit(r *http.Request) answer {
	sha := r.PathValue("sha")
	const page = "/git/commits#get-a-commit-object"
	if !fullRev.MatchString(sha) {
		return problem(http.StatusUnprocessableEntity, "The sha parameter must be exactly 40 characters and contain only [0-9a-f].", page)
	}
	c := s.commit(sha)
	if c == nil {
		return problem(http.StatusNotFound, "Not Found", page)
	}
	body := s.gitCommit(c)
	maps.Copy(body, object{
		"sha": c.Rev, "node_id": nodeID("Commit" + c.Rev), "url": s.repoURL() + "/git/commits/" + c.Rev,
		"html_url": s.commitPage(c.Rev), "parents": s.parents(c, "/git/commits/"),
	})
	delete(body, "comment_count")
	return answer{body: body}
}

// gitCommit is what git itself knows of a commit, and is part of longer answers.
func (s *Server) gitCommit(c *Commit) object {
	when := c.Date.Format(time.RFC3339)
	return object{
		"author":        object{"name": c.Author, "email": c.Email, "date": when},
		"committer":     object{"name": "GitHub", "email": "noreply@github.com", "date": when},
		"message":       c.Subject,
		"tree":          object{"sha": c.Tree, "url": s.repoURL() + "/git/trees/" + c.Tree},
		"url":           s.repoURL() + "/git/commits/" + c.Rev,
		"comment_count": 0,
		"verification":  object{"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil},
	}
}

func (s *Server) fullCommit(c *Commit) object {
	return object{
		"sha": c.Rev, "node_id": nodeID("Commit" + c.Rev), "commit": s.gitCommit(c),
		"url": s.repoURL() + "/commits/" + c.Rev, "html_url": s.commitPage(c.Rev),
		"comments_url": s.repoURL() + "/commits/" + c.Rev + "/comments",
		"author":       s.user(c.Login, "User"), "committer": s.user("web-flow", "User"),
		"parents": s.parents(c, "/commits/"),
	}
}

func (s *Server) parents(c *Commit, path string) []object {
	parents := []object{}
	for _, p := range c.Parents {
		parents = append(parents, object{"sha": p, "url": s.repoURL() + path + p, "html_url": s.commitPage(p)})
	}
	return parents
}

func (s *Server) commitPage(rev string) string { return s.url + "/" + Repository + "/commit/" + rev }

func (s *Server) getRef(r *http.Request) answer {
	name, ok := strings.CutPrefix(r.PathValue("ref"), "heads/")
	if head := s.Head(name); ok && head != "" {
		return answer{body: s.ref(name, head)}
	}
	return problem(http.StatusNotFound, "Not Found", "/git/refs#get-a-reference")
}

// matchingRefs answers an empty list, not an error, when nothing matches.
func (s *Server) matchingRefs(r *http.Request) answer {
	refs := []object{}
	for _, name := range s.branchNames() {
		if strings.HasPrefix("heads/"+name, strings.TrimPrefix(r.PathValue("ref"), "refs/")) {
			refs = append(refs, s.ref(name, s.Head(name)))
		}
	}
	return answer{body: refs}
}

func (s *Server) ref(name, head string) object {
	return object{
		"ref": "refs/heads/" + name, "node_id": nodeID("Ref:" + name), "url": s.repoURL() + "/git/refs/heads/" + name,
		"object": object{"sha": head, "type": "commit", "url": s.repoURL() + "/git/commits/" + head},
	}
}

var (
	fullRev  = regexp.MustCompile(`^[0-9a-f]{40}$`)
	shortRev = regexp.MustCompile(`^[0-9a-f]{7,40}$`)
)

// commit returns the commit of a full revision, nil if there is none.
func (s *Server) commit(rev string) *Commit {
	for _, c := range s.fixture.doc.Commits {
		if c.Rev == rev {
			return &c
		}
	}
	return nil
}

// resolve returns the commit that a branch, a revision or the beginning of one names.
func (s *Server) resolve(ref string) *Commit {
	name := strings.TrimPrefix(strings.TrimPrefix(ref, "refs/"), "heads/")
	if c := s.commit(s.Head(name)); c != nil {
		return c
	}
	if !shortRev.MatchString(ref) {
		return nil
	}
	var found []*Commit
	for _, c := range s.fixture.doc.Commits {
		if strings.HasPrefix(c.Rev, ref) {
			found = append(found, &c)
		}
	}
	if len(found) != 1 {
		return nil
	}
	return found[0]
}
