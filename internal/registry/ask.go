package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// manifestTypes are what is asked for. Without them a registry may answer with
// something older, or with nothing.
var manifestTypes = strings.Join([]string{
	string(types.OCIImageIndex), string(types.OCIManifestSchema1),
	string(types.DockerManifestList), string(types.DockerManifestSchema2),
}, ",")

// request makes a request of this repository. u is a path below the repository
// or, of an upload that goes on, a whole URL.
func (r *remoteRepository) request(ctx context.Context, method, u string) (*http.Request, error) {
	if !strings.Contains(u, "://") {
		u = (&url.URL{Scheme: r.repo.Scheme(), Host: r.repo.RegistryStr()}).String() + "/v2/" + r.repo.RepositoryStr() + "/" + u
	}
	return http.NewRequestWithContext(ctx, method, u, nil)
}

// do sends a request. Answers other than those of ok are errors that say what
// was sent.
func (r *remoteRepository) do(req *http.Request, sent string, ok ...int) (*http.Response, error) {
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, requestError(req, err)
	}
	for _, status := range ok {
		if resp.StatusCode == status {
			return resp, nil
		}
	}
	defer drain(resp)
	return nil, answerOf(resp, sent)
}

func (r *remoteRepository) Digest(ctx context.Context, tag string) (v1.Hash, error) {
	digest, err := r.head(ctx, tag)
	var answer *AnswerError
	if errors.As(err, &answer) && (answer.Status == http.StatusMethodNotAllowed || answer.Status == http.StatusNotImplemented) || errors.Is(err, errNoDigest) {
		digest, err = r.count(ctx, tag)
	}
	if err != nil {
		if hidden := r.hidden(ctx, tag, err); hidden != nil {
			return v1.Hash{}, hidden
		}
	}
	return digest, err
}

var errNoDigest = errors.New("the answer has no digest")

// head asks for the digest of a manifest. The header that has it is optional.
func (r *remoteRepository) head(ctx context.Context, tag string) (v1.Hash, error) {
	req, err := r.request(ctx, http.MethodHead, "manifests/"+tag)
	if err != nil {
		return v1.Hash{}, err
	}
	req.Header.Set("Accept", manifestTypes)
	resp, err := r.do(req, "", http.StatusOK)
	if err != nil {
		return v1.Hash{}, err
	}
	defer drain(resp)
	digest, err := v1.NewHash(resp.Header.Get("Docker-Content-Digest"))
	if err != nil {
		return v1.Hash{}, errNoDigest
	}
	if strings.Contains(tag, ":") && digest.String() != tag {
		return v1.Hash{}, fmt.Errorf("%s: the registry answers with %s", r.Ref(tag), digest)
	}
	return digest, nil
}

// count fetches a manifest and computes its digest.
func (r *remoteRepository) count(ctx context.Context, tag string) (v1.Hash, error) {
	desc, err := r.get(ctx, tag)
	if err != nil {
		return v1.Hash{}, err
	}
	return desc.Digest, nil
}

// HasBlob asks for a blob, and takes none of it.
func (r *remoteRepository) HasBlob(ctx context.Context, digest v1.Hash, _ int64) (bool, error) {
	err := r.askBlob(ctx, http.MethodHead, digest)
	var answer *AnswerError
	if errors.As(err, &answer) && (answer.Status == http.StatusMethodNotAllowed || answer.Status == http.StatusNotImplemented) {
		err = r.askBlob(ctx, http.MethodGet, digest)
	}
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err == nil {
		r.host.blobs.add(digest, r.repo.RepositoryStr())
	}
	return err == nil, err
}

func (r *remoteRepository) askBlob(ctx context.Context, method string, digest v1.Hash) error {
	req, err := r.request(ctx, method, "blobs/"+digest.String())
	if err != nil {
		return err
	}
	if method == http.MethodGet {
		req.Header.Set("Range", "bytes=0-0")
	}
	resp, err := r.do(req, "", http.StatusOK, http.StatusPartialContent)
	if err != nil {
		return err
	}
	return resp.Body.Close() // not drained: it may be all of the blob
}
