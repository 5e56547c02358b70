package registry

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// What an image is does not depend on how a registry writes its type: an index that is
// taken for an image would be written over by one.
func TestTypeOfAManifest(t *testing.T) {
	const index = `{"schemaVersion":2,"manifests":[]}`
	const image = `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:` +
		`44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}`
	for _, tt := range []struct {
		manifest string
		pushed   types.MediaType
		said     string // "": what was pushed
		want     types.MediaType
	}{
		{index, types.OCIImageIndex, "", types.OCIImageIndex},
		{index, types.OCIImageIndex, "application/vnd.oci.image.index.v1+json; charset=utf-8", types.OCIImageIndex},
		{index, types.OCIImageIndex, "text/plain; charset=utf-8", types.OCIImageIndex},
		{image, types.OCIManifestSchema1, "application/vnd.oci.image.manifest.v1+json;charset=utf-8", types.OCIManifestSchema1},
		{image, types.OCIManifestSchema1, "application/json", types.OCIManifestSchema1},
		{strings.Replace(index, "{", `{"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json",`, 1),
			types.DockerManifestList, "application/octet-stream", types.DockerManifestList},
		{strings.Replace(image, "{", `{"manifests":[],`, 1), types.OCIManifestSchema1, "text/plain", "text/plain"}, // either
		{`{"schemaVersion":1}`, types.DockerManifestSchema1, "", types.DockerManifestSchema1},
	} {
		odd := &registrytest.Odd{After: func(r *http.Request, h http.Header, status int) int {
			if tt.said != "" && is(r, "GET", "/manifests/") {
				h.Set("Content-Type", tt.said)
			}
			return status
		}}
		r := openAt(t, odd.Serve(t)+"/org/a", Options{})
		if err := r.Tag(t.Context(), RawManifest([]byte(tt.manifest), tt.pushed), "one"); err != nil {
			t.Fatal(err)
		}
		desc, err := r.Describe(t.Context(), "one")
		if err != nil || desc.MediaType != tt.want {
			t.Errorf("%s as %q: %q, %v, want %q", tt.pushed, tt.said, desc.MediaType, err, tt.want)
		}
	}
}
