package standin

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An activity is a push as the activity endpoint lists it.
type activity struct {
	push
	branch string
}

func (a activity) kind() string {
	switch {
	case a.before == zeroRev:
		return "branch_creation"
	case a.forced:
		return "force_push"
	}
	return "push"
}

// listActivity lists pushes, newest first, divided into pages by cursors:
// https://docs.github.com/rest/repos/repos#list-repository-activities
func (s *Server) listActivity(r *http.Request) answer {
	q := r.URL.Query()
	list := s.activities(strings.TrimPrefix(q.Get("ref"), "refs/heads/"), q.Get("activity_type"))
	if q.Get("direction") == "asc" {
		slices.Reverse(list)
	}
	size := pageSize(r)
	first := 0
	if c := q.Get("after"); c != "" {
		first = slices.IndexFunc(list, func(a activity) bool { return a.cursor() == c }) + 1
	} else if c := q.Get("before"); c != "" {
		first = max(0, slices.IndexFunc(list, func(a activity) bool { return a.cursor() == c })-size)
	}
	page := list[first:min(first+size, len(list))]

	body := []object{}
	for _, a := range page {
		body = append(body, object{
			"id": 1000 + a.id, "node_id": nodeID("Push" + strconv.Itoa(a.id)), "before": a.before, "after": a.after,
			"ref": "refs/heads/" + a.branch, "timestamp": a.time.Format(time.RFC3339),
			"activity_type": a.kind(), "actor": s.user("nixos-channel-bot", "User"),
		})
	}
	var links []string
	link := func(key, cursor, rel string) {
		q := r.URL.Query()
		q.Del("before")
		q.Del("after")
		q.Set(key, cursor)
		links = append(links, s.link("activity", q.Encode(), rel))
	}
	if first > 0 && len(page) > 0 {
		link("before", page[0].cursor(), "prev")
	}
	if first+size < len(list) {
		link("after", page[len(page)-1].cursor(), "next")
	}
	return answer{body: body, link: strings.Join(links, ", ")}
}

// activities returns the pushes of a branch, or of all, newest first.
func (s *Server) activities(branch, kind string) []activity {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []activity
	for name, pushes := range s.heads {
		for _, p := range pushes {
			a := activity{p, name}
			if (branch == "" || branch == name) && (kind == "" || kind == a.kind()) {
				list = append(list, a)
			}
		}
	}
	slices.SortFunc(list, func(a, b activity) int {
		if c := b.time.Compare(a.time); c != 0 {
			return c
		}
		return b.id - a.id
	})
	return list
}

func (a activity) cursor() string {
	return base64.RawURLEncoding.EncodeToString([]byte("v1:" + strconv.Itoa(a.id)))
}
