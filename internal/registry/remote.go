package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// remoteRepository is a repository in a registry. The library reads images; what is
// written, and what is asked before and after, is this package's own.
type remoteRepository struct {
	repo   name.Repository
	host   *host
	client *http.Client
	puller *remote.Puller
}

func newRemote(repo name.Repository, h *host) (*remoteRepository, error) {
	w := wire{host: h, repository: repo.RepositoryStr()}
	// The wire logs in by itself. A wrapper tells the library so.
	wrapped, err := transport.FromToken(repo.Registry, authn.Anonymous, w, &transport.Challenge{}, nil)
	if err != nil {
		return nil, err
	}
	puller, err := remote.NewPuller(remote.WithTransport(wrapped), remote.WithJobs(h.o.Jobs))
	if err != nil {
		return nil, err
	}
	return &remoteRepository{repo: repo, host: h, client: &http.Client{Transport: w, CheckRedirect: h.follow}, puller: puller}, nil
}

const maxRedirects = 10

var errRedirects = fmt.Errorf("stopped after %d redirects", maxRedirects)

// follow refuses redirects that would not bring what is sent, and those of mayRedirect.
func (h *host) follow(r *http.Request, via []*http.Request) error {
	if err := stillSends(r, via); err != nil {
		return err
	}
	return h.mayRedirect(r, via)
}

// stillSends refuses redirects that make a question of what is to be sent, as all but
// 307 and 308 do: its answer, 200, would look like that of a registry that has it.
func stillSends(r *http.Request, via []*http.Request) error {
	if r.Method == via[0].Method {
		return nil
	}
	status := r.Response.StatusCode
	return fmt.Errorf("%d %s: redirected to %s, by which nothing would be sent: name the registry by the address that it answers at, or have the proxy before it answer 308",
		status, http.StatusText(status), address(r.URL))
}

// mayRedirect refuses redirects that a registry on the Internet has no reason
// for: into the private network, and for what is sent also to plain HTTP.
func (h *host) mayRedirect(r *http.Request, via []*http.Request) error {
	from, to := hostname(via[0].URL.Host), hostname(r.URL.Host)
	switch {
	case len(via) >= maxRedirects:
		return errRedirects
	case from == to || h.trusts(r.URL.Host):
		return nil
	case net.ParseIP(from) == nil && inside(to):
		return fmt.Errorf("redirected to %s, a private address: if that is meant, set REGISTRY_TRUSTED_HOSTS=%s", clean(r.URL.Host), clean(r.URL.Host))
	case via[0].URL.Scheme == "https" && r.URL.Scheme == "http" && !question(r):
		return fmt.Errorf("redirected to %s without encryption", clean(r.URL.Host))
	}
	return nil
}

func (r *remoteRepository) Ref(tag string) string { return r.reference(tag).String() }

// reference is a tag or a digest of the repository.
func (r *remoteRepository) reference(s string) name.Reference {
	if strings.Contains(s, ":") {
		return r.repo.Digest(s)
	}
	return r.repo.Tag(s)
}

func (r *remoteRepository) get(ctx context.Context, tag string) (*remote.Descriptor, error) {
	desc, err := r.puller.Get(ctx, r.reference(tag))
	if err != nil {
		return nil, readable(err)
	}
	desc.MediaType = typeOf(desc.MediaType, desc.Manifest)
	return desc, nil
}

// typeOf is the type of a manifest. Some registries say text/plain, some add a charset;
// then it is what the manifest says of itself or, for it need not, what it has.
func typeOf(said types.MediaType, manifest []byte) types.MediaType {
	plain, _, _ := strings.Cut(string(said), ";")
	if media := types.MediaType(strings.TrimSpace(plain)); media.IsIndex() || media.IsImage() {
		return media
	}
	var m named
	switch err := json.Unmarshal(manifest, &m); {
	case err != nil:
		return said
	case m.MediaType != "":
		return m.MediaType
	case m.Manifests != nil && m.Config == nil && m.Layers == nil:
		return types.OCIImageIndex
	case m.Config != nil && m.Manifests == nil:
		return types.OCIManifestSchema1
	}
	return said
}

func (r *remoteRepository) Describe(ctx context.Context, tag string) (v1.Descriptor, error) {
	desc, err := r.get(ctx, tag)
	if err != nil {
		if hidden := r.hidden(ctx, tag, err); hidden != nil {
			return v1.Descriptor{}, hidden
		}
		return v1.Descriptor{}, err
	}
	return desc.Descriptor, nil
}

func (r *remoteRepository) Image(ctx context.Context, digest v1.Hash) (v1.Image, error) {
	desc, err := r.get(ctx, digest.String())
	if err != nil {
		return nil, err
	}
	return desc.Image()
}

func (r *remoteRepository) Index(ctx context.Context, tag string) (v1.ImageIndex, error) {
	desc, err := r.get(ctx, tag)
	if err != nil {
		if hidden := r.hidden(ctx, tag, err); hidden != nil {
			return nil, hidden
		}
		return nil, err
	}
	if !desc.MediaType.IsIndex() {
		return nil, &NoIndexError{r.Ref(tag), desc.Descriptor}
	}
	return desc.ImageIndex()
}

func (r *remoteRepository) Missing(ctx context.Context, digest v1.Hash) ([]v1.Hash, error) {
	return missing(ctx, r, digest, r.host.o.Jobs)
}

func (r *remoteRepository) manifest(ctx context.Context, digest v1.Hash) ([]byte, error) {
	desc, err := r.get(ctx, digest.String())
	if err != nil {
		return nil, err
	}
	return desc.Manifest, nil
}

// errNotListed is ErrNotFound by another way to ask.
var errNotListed = errors.New("its manifest may not be read, but the list of tags may, and does not have it")

// hidden asks the list of tags whether a tag is there that must not be read:
// there are registries that answer so for what is absent. A list that may be
// read, and does not have the tag, is an answer; anything else is none.
func (r *remoteRepository) hidden(ctx context.Context, tag string, cause error) error {
	var answer *AnswerError
	if strings.Contains(tag, ":") || !errors.As(cause, &answer) || !hides[answer.Status] {
		return nil
	}
	tags, err := r.puller.List(ctx, r.repo)
	err = readable(err)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil
	}
	for _, t := range tags {
		if t == tag {
			return nil
		}
	}
	return fmt.Errorf("%w: %w (%w)", ErrNotFound, errNotListed, cause)
}

// hides are the answers that registries give for what is absent, beside the
// right one.
var hides = map[int]bool{http.StatusBadRequest: true, http.StatusUnauthorized: true, http.StatusForbidden: true}
