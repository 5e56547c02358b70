// Package serve offers an OCI layout folder as a read-only registry: the pull
// half of the OCI distribution specification
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pull).
//
// A layout's entry "repository:tag" is found as tag of repository. The index is
// read on every request, so what is published meanwhile can be pulled at once.
package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Handler serves the layout in dir. Any repository path that ends in a
// repository of the layout leads to it, so images are found under
// HOST/nixpkgs-x as well as under HOST/org/nixpkgs-x.
func Handler(dir string) http.Handler { return &layout{dir: dir} }

type layout struct{ dir string }

var route = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs|tags)/([^/]+)$`)

func (l *layout) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		problem(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry is read-only")
		return
	}
	if r.URL.Path == "/v2/" || r.URL.Path == "/v2" {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, "{}")
		return
	}
	m := route.FindStringSubmatch(r.URL.Path)
	if m == nil {
		problem(w, http.StatusNotFound, "NAME_UNKNOWN", "no such page; images are pulled from /v2/")
		return
	}
	repository := m[1][strings.LastIndex(m[1], "/")+1:]
	switch m[2] {
	case "manifests":
		l.manifest(w, r, repository, m[3])
	case "blobs":
		l.blob(w, r, m[3])
	default:
		l.tags(w, repository, m[1], m[3])
	}
}

func (l *layout) manifest(w http.ResponseWriter, r *http.Request, repository, reference string) {
	digest, err := v1.NewHash(reference)
	if err != nil {
		digest, err = l.find(repository, reference)
	}
	if errors.Is(err, errNoTag) {
		problem(w, http.StatusNotFound, "MANIFEST_UNKNOWN", err.Error())
		return
	}
	if err != nil {
		problem(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	data, err := os.ReadFile(l.file(digest))
	if err != nil {
		l.blobProblem(w, err, "MANIFEST_UNKNOWN", digest)
		return
	}
	var kind struct {
		MediaType types.MediaType `json:"mediaType"`
	}
	if json.Unmarshal(data, &kind) != nil || kind.MediaType == "" {
		problem(w, http.StatusNotFound, "MANIFEST_UNKNOWN", digest.String()+" is not a manifest")
		return
	}
	w.Header().Set("Content-Type", string(kind.MediaType))
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.Header().Set("Docker-Content-Digest", digest.String())
	if r.Method == http.MethodGet {
		w.Write(data)
	}
}

func (l *layout) blob(w http.ResponseWriter, r *http.Request, reference string) {
	digest, err := v1.NewHash(reference)
	if err != nil {
		problem(w, http.StatusBadRequest, "DIGEST_INVALID", err.Error())
		return
	}
	f, err := os.Open(l.file(digest))
	if err != nil {
		l.blobProblem(w, err, "BLOB_UNKNOWN", digest)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		l.blobProblem(w, err, "BLOB_UNKNOWN", digest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", digest.String())
	w.Header().Set("ETag", `"`+digest.String()+`"`)
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// tags lists a repository's tags. One without tags may still have images that are
// pulled by digest, so it is not said to be unknown.
func (l *layout) tags(w http.ResponseWriter, repository, name, what string) {
	if what != "list" {
		problem(w, http.StatusNotFound, "NAME_UNKNOWN", "no such page")
		return
	}
	refs, err := l.refs()
	if err != nil {
		problem(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	tags := []string{}
	for ref := range refs {
		if tag, ok := strings.CutPrefix(ref, repository+":"); ok {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{name, tags})
}

func (l *layout) find(repository, tag string) (v1.Hash, error) {
	refs, err := l.refs()
	if err != nil {
		return v1.Hash{}, err
	}
	digest, ok := refs[repository+":"+tag]
	if !ok {
		return v1.Hash{}, fmt.Errorf("%s:%s: %w", repository, tag, errNoTag)
	}
	return digest, nil
}

var errNoTag = errors.New("no such tag")

// refs returns the entries of the layout's index: "repository:tag" to digest.
func (l *layout) refs() (map[string]v1.Hash, error) {
	f, err := os.Open(filepath.Join(l.dir, "index.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // nothing published so far
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	manifest, err := v1.ParseIndexManifest(f)
	if err != nil {
		return nil, err
	}
	refs := make(map[string]v1.Hash)
	for _, desc := range manifest.Manifests {
		refs[desc.Annotations["org.opencontainers.image.ref.name"]] = desc.Digest
	}
	return refs, nil
}

func (l *layout) file(digest v1.Hash) string {
	return filepath.Join(l.dir, "blobs", digest.Algorithm, digest.Hex)
}

func (l *layout) blobProblem(w http.ResponseWriter, err error, code string, digest v1.Hash) {
	if errors.Is(err, fs.ErrNotExist) {
		problem(w, http.StatusNotFound, code, digest.String()+" is not here")
		return
	}
	problem(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
}

// problem answers with an error in the form of the specification.
func problem(w http.ResponseWriter, status int, code, message string) {
	type entry struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(struct {
		Errors []entry `json:"errors"`
	}{[]entry{{code, message}}})
}
