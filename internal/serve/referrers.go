package serve

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/registry"
)

// referrers lists what refers to a digest, all of it or what is of the type that is
// asked for. The specification has it never answer that something is not found
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#listing-referrers).
func (l *layout) referrers(w http.ResponseWriter, r *http.Request, repository, reference string) {
	subject, err := v1.NewHash(reference)
	if err != nil {
		problem(w, http.StatusBadRequest, "DIGEST_INVALID", err.Error())
		return
	}
	found, err := l.referrersOf(repository, subject)
	if err != nil {
		broken(w, err)
		return
	}
	list := []v1.Descriptor{}
	kind := r.URL.Query().Get("artifactType")
	for _, desc := range found {
		if kind == "" || desc.ArtifactType == kind {
			list = append(list, desc)
		}
	}
	if kind != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	answer(w, http.StatusOK, string(types.OCIImageIndex), v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Manifests:     list,
	})
}

// referrersOf reads the list that the layout has under a tag of the repository.
func (l *layout) referrersOf(repository string, subject v1.Hash) ([]v1.Descriptor, error) {
	tags, err := l.repository(repository)
	if err != nil {
		return nil, err
	}
	digest, ok := tags[registry.ReferrersTag(subject)]
	if !ok {
		return nil, nil
	}
	f, err := openRegular(filepath.Join(l.dir, "blobs", digest.Algorithm, digest.Hex))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, err
	}
	return registry.ParseReferrers(raw)
}
