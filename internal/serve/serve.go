// Package serve offers an OCI layout folder as a read-only registry: the pull
// half of the OCI distribution specification
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pull),
// with its lists of tags and of referrers.
//
// A layout's entry "repository:tag" is found as tag of repository. The index is
// read on every request, so what is published meanwhile can be pulled at once.
// A layout does not say which repository a digest belongs to: what is asked for
// by digest is found under every name, also before it has a tag.
package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Handler serves the layout in dir. Any repository path that ends in a
// repository of the layout leads to it, so images are found under
// HOST/nixpkgs-x as well as under HOST/org/nixpkgs-x. The untagged repositories
// are there although nothing in them may have a tag so far.
func Handler(dir string, untagged ...string) http.Handler {
	return &layout{dir: dir, untagged: untagged}
}

// Check tells whether dir is a folder that can be served: an OCI layout, or an
// empty folder that is going to be one.
func Check(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return err
	}
	mark := filepath.Join(dir, "oci-layout")
	if info, err := os.Stat(mark); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not an OCI layout: it has no file oci-layout", dir)
	}
	return nil
}

type layout struct {
	dir      string
	untagged []string
}

var route = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs|tags|referrers)/([^/]+)$`)

func (l *layout) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		problem(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry is read-only")
		return
	}
	if r.URL.Path == "/v2/" || r.URL.Path == "/v2" {
		answer(w, http.StatusOK, "application/json", struct{}{})
		return
	}
	m := route.FindStringSubmatch(r.URL.Path)
	if m == nil {
		problem(w, http.StatusNotFound, "UNSUPPORTED", "no such page; images are pulled from /v2/")
		return
	}
	repository := m[1][strings.LastIndex(m[1], "/")+1:]
	switch m[2] {
	case "manifests":
		l.manifest(w, r, repository, m[3])
	case "blobs":
		l.blob(w, r, m[3])
	case "referrers":
		l.referrers(w, r, repository, m[3])
	default:
		l.tags(w, r, repository, m[1], m[3])
	}
}

// problem answers with an error in the form of the specification.
func problem(w http.ResponseWriter, status int, code, message string) {
	type entry struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	answer(w, status, "application/json", struct {
		Errors []entry `json:"errors"`
	}{[]entry{{code, message}}})
}

// broken answers that the layout cannot be read.
func broken(w http.ResponseWriter, err error) {
	problem(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
}

func answer(w http.ResponseWriter, status int, kind string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	w.Write(data) // nothing of it is sent in answer to HEAD
}
