package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxManifest is the size up to which the specification wants manifests to be
// taken. A layer is not read into memory because somebody asks for it as one.
const maxManifest = 4 << 20

func (l *layout) manifest(w http.ResponseWriter, r *http.Request, repository, reference string) {
	digest, ok := l.resolve(w, repository, reference)
	if !ok {
		return
	}
	f, ok := l.open(w, digest, "MANIFEST_UNKNOWN")
	if !ok {
		return
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		broken(w, err)
		return
	}
	kind := mediaType(data)
	if kind == "" {
		problem(w, http.StatusNotFound, "MANIFEST_UNKNOWN", digest.String()+" is not a manifest")
		return
	}
	head(w, string(kind), digest)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// mediaType is what a manifest says it is; "" where there is no manifest.
func mediaType(data []byte) types.MediaType {
	var manifest struct {
		MediaType types.MediaType `json:"mediaType"`
	}
	if len(data) > maxManifest || json.Unmarshal(data, &manifest) != nil {
		return ""
	}
	return manifest.MediaType
}

// resolve finds the digest of a tag. A digest stands for itself.
func (l *layout) resolve(w http.ResponseWriter, repository, reference string) (v1.Hash, bool) {
	if strings.Contains(reference, ":") { // no tag has one
		digest, err := v1.NewHash(reference)
		if err != nil {
			problem(w, http.StatusBadRequest, "DIGEST_INVALID", err.Error())
		}
		return digest, err == nil
	}
	tags, err := l.repository(repository)
	if err != nil {
		broken(w, err)
		return v1.Hash{}, false
	}
	if tags == nil {
		unknownName(w, repository)
		return v1.Hash{}, false
	}
	digest, ok := tags[reference]
	if !ok {
		problem(w, http.StatusNotFound, "MANIFEST_UNKNOWN", fmt.Sprintf("%s has no tag %s", repository, reference))
	}
	return digest, ok
}

func (l *layout) blob(w http.ResponseWriter, r *http.Request, reference string) {
	digest, err := v1.NewHash(reference)
	if err != nil {
		problem(w, http.StatusBadRequest, "DIGEST_INVALID", err.Error())
		return
	}
	f, ok := l.open(w, digest, "BLOB_UNKNOWN")
	if !ok {
		return
	}
	defer f.Close()
	head(w, "application/octet-stream", digest)
	http.ServeContent(w, r, "", time.Time{}, f)
}

// head sets what an answer says of its content. By the ETag http.ServeContent
// answers conditional requests.
func head(w http.ResponseWriter, kind string, digest v1.Hash) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Docker-Content-Digest", digest.String())
	w.Header().Set("ETag", `"`+digest.String()+`"`)
}

// open opens a blob of the layout, or answers why it cannot.
func (l *layout) open(w http.ResponseWriter, digest v1.Hash, code string) (*os.File, bool) {
	file := filepath.Join(l.dir, "blobs", digest.Algorithm, digest.Hex)
	f, err := openRegular(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		problem(w, http.StatusNotFound, code, digest.String()+" is not here")
	case err != nil:
		broken(w, err)
	}
	return f, err == nil
}

// openRegular opens a file and nothing else: to open a pipe would hang.
func openRegular(file string) (*os.File, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", file)
	}
	return os.Open(file)
}
