package standin

import (
	"net/http"
	"slices"
	"strings"
)

// compare says how one commit stands to another: BASE...HEAD. The commits and files
// that are on one side only are left out.
func (s *Server) compare(r *http.Request) answer {
	from, to, ok := strings.Cut(r.PathValue("basehead"), "...")
	base, head := s.resolve(from), s.resolve(to)
	if !ok || base == nil || head == nil {
		return problem(http.StatusNotFound, "Not Found", "/commits/commits#compare-two-commits")
	}
	had, has := s.history(base), s.history(head)
	i := slices.IndexFunc(has, func(c *Commit) bool {
		return slices.ContainsFunc(had, func(b *Commit) bool { return b.Rev == c.Rev })
	})
	if i < 0 {
		return problem(http.StatusNotFound, "No common ancestor between "+from+" and "+to+".", "/commits/commits#compare-two-commits")
	}
	status := "diverged"
	switch has[i].Rev {
	case head.Rev:
		status = "behind"
		if base.Rev == head.Rev {
			status = "identical"
		}
	case base.Rev:
		status = "ahead"
	}
	return answer{body: object{
		"url": s.repoURL() + "/compare/" + from + "..." + to, "status": status,
		"base_commit": s.fullCommit(base), "merge_base_commit": s.fullCommit(has[i]),
		"commits": []object{}, "files": []object{},
	}}
}

// history is a commit and all that led to it, newest first along each line.
func (s *Server) history(c *Commit) []*Commit {
	list := []*Commit{c}
	seen := map[string]bool{c.Rev: true}
	for i := 0; i < len(list); i++ {
		for _, rev := range list[i].Parents {
			if p := s.commit(rev); p != nil && !seen[rev] {
				seen[rev] = true
				list = append(list, p)
			}
		}
	}
	return list
}
