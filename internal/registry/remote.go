package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"
)

// Options are how registries are spoken to.
type Options struct {
	Keychain  authn.Keychain    // nil: nobody's credentials
	Transport http.RoundTripper // nil: Transport()
	UserAgent string
	Jobs      int           // blobs sent at once to one registry, 0: 4
	Backoff   time.Duration // before the first retry, 0: one second
	Sent      *atomic.Int64 // grows by every byte of a request's body; may be nil
}

// Remote returns a repository in a registry. The returned value keeps what it
// learned about blobs that are there, so one of it should serve a whole cycle.
func Remote(repo name.Repository, o Options) (Repository, error) {
	if o.Keychain == nil {
		o.Keychain = authn.NewMultiKeychain()
	}
	if o.Transport == nil {
		o.Transport = Transport()
	}
	if o.Jobs == 0 {
		o.Jobs = 4
	}
	if o.Backoff == 0 {
		o.Backoff = time.Second
	}
	if o.Sent != nil {
		o.Transport = counting{o.Transport, o.Sent}
	}
	options := []remote.Option{
		remote.WithAuthFromKeychain(o.Keychain),
		remote.WithTransport(o.Transport),
		remote.WithUserAgent(o.UserAgent),
		remote.WithJobs(o.Jobs),
		remote.WithRetryBackoff(remote.Backoff{Duration: o.Backoff, Factor: 3, Jitter: 0.1, Steps: 4}),
	}
	r := &remoteRepository{repo: repo, options: options, plain: o}
	if _, err := r.client(); err != nil {
		return nil, err
	}
	return r, nil
}

// counting counts what requests send.
type counting struct {
	inner http.RoundTripper
	sent  *atomic.Int64
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r = r.Clone(r.Context())
		r.Body = countedBody{r.Body, c.sent}
	}
	return c.inner.RoundTrip(r)
}

type countedBody struct {
	io.ReadCloser
	sent *atomic.Int64
}

func (b countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.sent.Add(int64(n))
	return n, err
}

type remoteRepository struct {
	repo    name.Repository
	options []remote.Option
	plain   Options

	mu  sync.Mutex
	now *client
}

// client is a conversation with a registry. It remembers that the registry
// could not be reached, too, so it is not used again after an error.
type client struct {
	pusher *remote.Pusher
	puller *remote.Puller
}

func (r *remoteRepository) client() (*client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now != nil {
		return r.now, nil
	}
	pusher, err := remote.NewPusher(r.options...)
	if err != nil {
		return nil, err
	}
	puller, err := remote.NewPuller(r.options...)
	if err != nil {
		return nil, err
	}
	r.now = &client{pusher, puller}
	return r.now, nil
}

// with calls ask with a conversation that has had no error. Its error is made
// readable.
func (r *remoteRepository) with(ask func(*client) error) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	err = readable(ask(c))
	if err != nil && !errors.Is(err, ErrNotFound) {
		r.forget()
	}
	return err
}

// send is with for what writes: a conversation that remembers having sent what
// is not there is of no use, either.
func (r *remoteRepository) send(ask func(*client) error) error {
	err := r.with(ask)
	if err != nil {
		r.forget()
	}
	return err
}

func (r *remoteRepository) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = nil
}

func (r *remoteRepository) Ref(tag string) string { return r.reference(tag).String() }

// reference is a tag or a digest of the repository.
func (r *remoteRepository) reference(s string) name.Reference {
	if strings.Contains(s, ":") {
		return r.repo.Digest(s)
	}
	return r.repo.Tag(s)
}

func (r *remoteRepository) head(ctx context.Context, ref name.Reference) (desc *v1.Descriptor, err error) {
	err = r.with(func(c *client) error {
		desc, err = c.puller.Head(ctx, ref)
		return err
	})
	return desc, err
}

func (r *remoteRepository) get(ctx context.Context, ref name.Reference) (desc *remote.Descriptor, err error) {
	err = r.with(func(c *client) error {
		desc, err = c.puller.Get(ctx, ref)
		return err
	})
	return desc, err
}

func (r *remoteRepository) Digest(ctx context.Context, tag string) (v1.Hash, error) {
	desc, err := r.head(ctx, r.reference(tag))
	if err != nil {
		return v1.Hash{}, err
	}
	return desc.Digest, nil
}

func (r *remoteRepository) Image(ctx context.Context, digest v1.Hash) (v1.Image, error) {
	desc, err := r.get(ctx, r.repo.Digest(digest.String()))
	if err != nil {
		return nil, err
	}
	return desc.Image()
}

func (r *remoteRepository) Index(ctx context.Context, tag string) (v1.ImageIndex, error) {
	desc, err := r.get(ctx, r.reference(tag))
	if err != nil {
		return nil, err
	}
	if !desc.MediaType.IsIndex() {
		return nil, fmt.Errorf("%s: want an image index, it is %q", r.Ref(tag), desc.MediaType)
	}
	return desc.ImageIndex()
}

// PushImage asks for every blob and for the manifest: a registry's clean-up may
// have taken a blob and left the manifest.
func (r *remoteRepository) PushImage(ctx context.Context, img v1.Image) error {
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	blobs, err := img.Layers()
	if err != nil {
		return err
	}
	config, err := partial.ConfigLayer(img)
	if err != nil {
		return err
	}
	r.forget() // what it remembers of blobs
	err = r.send(func(c *client) error {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(r.plain.Jobs)
		for _, blob := range append(blobs, config) {
			g.Go(func() error { return c.pusher.Upload(ctx, r.repo, blob) })
		}
		return g.Wait()
	})
	if err != nil {
		return err
	}
	return r.putManifest(ctx, digest, img)
}

// putManifest sends a manifest unless it is there.
func (r *remoteRepository) putManifest(ctx context.Context, digest v1.Hash, m remote.Taggable) error {
	at := r.repo.Digest(digest.String())
	if _, err := r.head(ctx, at); err == nil || !errors.Is(err, ErrNotFound) {
		return err
	}
	return r.send(func(c *client) error { return c.pusher.Put(ctx, at, m) })
}

func (r *remoteRepository) Push(ctx context.Context, index v1.ImageIndex) error {
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, child := range manifest.Manifests {
		img, err := index.Image(child.Digest)
		if err != nil {
			return err
		}
		if err := r.PushImage(ctx, img); err != nil {
			return err
		}
	}
	if err := r.putManifest(ctx, digest, index); err != nil {
		return err
	}
	at := r.repo.Digest(digest.String())
	desc, err := r.head(ctx, at)
	if err != nil {
		r.forget()
		return fmt.Errorf("%s: pushed, but asking for it back: %w", at, err)
	}
	if desc.Digest != digest {
		return fmt.Errorf("%s: pushed, but the registry answers with %s", at, desc.Digest)
	}
	return nil
}

func (r *remoteRepository) Tag(ctx context.Context, index v1.ImageIndex, tag string) error {
	err := r.send(func(c *client) error { return c.pusher.Put(ctx, r.repo.Tag(tag), index) })
	if err == nil || !refusesToMove(err) {
		return err
	}
	want, digestErr := index.Digest()
	now, askErr := r.Digest(ctx, tag)
	switch {
	case digestErr != nil || askErr != nil:
		return err
	case now == want:
		return nil // the tag need not move
	}
	return &ImmutableTagError{Ref: r.Ref(tag), Now: now, Want: want, Err: err}
}

// immutable is how registries word it that a tag stays where it is.
var immutable = regexp.MustCompile(`(?i)immutab|already ?exist|overwrit|not allow updating|disallowed`)

// refusesToMove tells whether an answer to the PUT of a tag may mean that the
// tag is immutable. Whether the tag is there has to be asked.
func refusesToMove(err error) bool {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.StatusCode {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusConflict, http.StatusPreconditionFailed:
	default:
		return false
	}
	for _, d := range answer.Errors {
		if d.Code == transport.TagInvalidErrorCode {
			return true
		}
	}
	return immutable.MatchString(err.Error())
}

func (r *remoteRepository) Missing(ctx context.Context, digest v1.Hash) ([]v1.Hash, error) {
	return missing(ctx, r, digest, r.plain.Jobs)
}

func (r *remoteRepository) manifest(ctx context.Context, digest v1.Hash) ([]byte, error) {
	desc, err := r.get(ctx, r.repo.Digest(digest.String()))
	if err != nil {
		return nil, err
	}
	return desc.Manifest, nil
}

func (r *remoteRepository) hasBlob(ctx context.Context, digest v1.Hash, _ int64) (found bool, err error) {
	err = r.with(func(c *client) error {
		layer, err := c.puller.Layer(ctx, r.repo.Digest(digest.String()))
		if err != nil {
			return err
		}
		found, err = partial.Exists(layer)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return found, err
}

func (r *remoteRepository) CanPush(context.Context) error {
	err := readable(remote.CheckPushPermission(r.repo.Tag("latest"), r.plain.Keychain, r.plain.Transport))
	if errors.Is(err, ErrNotFound) {
		return &NoRepositoryError{Repository: r.repo.Name(), Err: err}
	}
	return err
}

// readable turns the answer 404 into ErrNotFound and says of every other one
// what was asked and what came back.
func readable(err error) error {
	if err == nil {
		return nil
	}
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return err
	}
	if answer.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w (status %d: log in with docker login, or set REGISTRY_USER and REGISTRY_PASSWORD)", err, answer.StatusCode)
	}
	return err
}
