package standin

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// routeArchives answers as github.com and codeload.github.com do for archives:
// the first redirects to the second, which streams without telling a length.
func (s *Server) routeArchives(mux *http.ServeMux) {
	mux.HandleFunc("GET /"+Repository+"/archive/{file}", func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutSuffix(r.PathValue("file"), ".tar.gz")
		if !ok || s.commit(name) == nil {
			notFoundText(w)
			return
		}
		w.Header().Set("Cache-Control", "max-age=0, private")
		w.Header().Set("Location", s.url+"/codeload/"+Repository+"/tar.gz/"+name)
		w.WriteHeader(http.StatusFound)
	})
	mux.HandleFunc("GET /codeload/"+Repository+"/tar.gz/{rev}", func(w http.ResponseWriter, r *http.Request) {
		c := s.commit(r.PathValue("rev"))
		if c == nil {
			notFoundText(w)
			return
		}
		f, err := os.Open(s.fixture.ArchiveFile(c.Rev))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer f.Close()
		h := w.Header()
		h.Set("Content-Type", "application/x-gzip")
		h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%s-%s.tar.gz", RepositoryName, c.Rev))
		h.Set("ETag", fmt.Sprintf("W/%q", digest(c.Rev)))
		h.Set("X-GitHub-Request-Id", "STAND-IN")
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodHead {
			return
		}
		http.NewResponseController(w).Flush() // so that the length stays unknown
		io.Copy(w, f)
	})
}

func notFoundText(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	io.WriteString(w, "404: Not Found")
}
