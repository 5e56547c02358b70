package standin

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// paginate answers one page of a list that GitHub divides by ?page= and ?per_page=.
func paginate[T any](s *Server, r *http.Request, path string, all []T, show func(T) any) answer {
	size := pageSize(r)
	page := max(1, queryInt(r, "page", 1))
	last := max(1, (len(all)+size-1)/size)
	body := []any{}
	for i := (page - 1) * size; i < min(page*size, len(all)); i++ {
		body = append(body, show(all[i]))
	}
	var links []string
	link := func(to int, rel string) {
		q := r.URL.Query()
		q.Set("page", strconv.Itoa(to))
		links = append(links, s.link(path, q.Encode(), rel))
	}
	if page > 1 {
		link(page-1, "prev")
	}
	if page < last {
		link(page+1, "next")
		link(last, "last")
	}
	if page > 1 {
		link(1, "first")
	}
	return answer{body: body, link: strings.Join(links, ", ")}
}

func (s *Server) link(path, query, rel string) string {
	return fmt.Sprintf("<%s/repositories/%s/%s?%s>; rel=%q", s.API(), repositoryID, path, query, rel)
}

func pageSize(r *http.Request) int { return min(100, max(1, queryInt(r, "per_page", 30))) }

func queryInt(r *http.Request, name string, otherwise int) int {
	if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil {
		return n
	}
	return otherwise
}
