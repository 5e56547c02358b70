package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"golang.org/x/sync/errgroup"
)

func (r *remoteRepository) PushImage(ctx context.Context, img v1.Image, pushed ...v1.Hash) error {
	return r.pushImages(ctx, []v1.Image{img}, pushed)
}

// pushImages asks for every manifest, and every blob but those that were pushed
// just now, and sends what is not there: a registry's clean-up may have taken a
// blob and left the manifest. Where the registry says that it lacks what a manifest
// names, nothing counts as pushed any more. If it says so again, it was wrong about
// what it has or has mounted, and gets all of it.
func (r *remoteRepository) pushImages(ctx context.Context, images []v1.Image, pushed []v1.Hash) error {
	err := r.pushStack(ctx, images, pushed, true)
	if len(pushed) > 0 && lacks(err) {
		err = r.pushStack(ctx, images, nil, true)
	}
	if lacks(err) {
		r.host.blobs.refuse("", r.repo.RepositoryStr())
		err = r.pushStack(ctx, images, nil, false)
	}
	return err
}

// lacks tells whether a manifest was refused for want of what it names.
func lacks(err error) bool {
	var answer *AnswerError
	return errors.As(err, &answer) && answer.Method == http.MethodPut && late(answer)
}

// pushStack pushes images from the blobs up; ask: a blob may be there.
func (r *remoteRepository) pushStack(ctx context.Context, images []v1.Image, pushed []v1.Hash, ask bool) error {
	if err := r.pushBlobs(ctx, images, pushed, ask); err != nil {
		return err
	}
	for _, img := range images {
		if _, err := r.ensureManifest(ctx, img); err != nil {
			return err
		}
	}
	return nil
}

func (r *remoteRepository) pushBlobs(ctx context.Context, images []v1.Image, but []v1.Hash, ask bool) error {
	blobs, err := blobsOf(images, but)
	if err != nil {
		return err
	}
	g, sending := errgroup.WithContext(ctx)
	g.SetLimit(r.host.o.Jobs)
	for _, b := range blobs {
		g.Go(func() error {
			_, err := r.ensureBlob(sending, b, ask)
			return err
		})
	}
	return g.Wait()
}

func (r *remoteRepository) PushBlob(ctx context.Context, layer v1.Layer) (Outcome, error) {
	b, err := blobOf(layer)
	if err != nil {
		return "", err
	}
	return r.ensureBlob(ctx, b, true)
}

func (r *remoteRepository) SendBlob(ctx context.Context, layer v1.Layer) (Outcome, error) {
	b, err := blobOf(layer)
	if err != nil {
		return "", err
	}
	return r.ensureBlob(ctx, b, false)
}

// blobsOf lists the blobs of images, each once, but for some.
func blobsOf(images []v1.Image, but []v1.Hash) ([]blob, error) {
	var list []blob
	seen := map[v1.Hash]bool{}
	for _, digest := range but {
		seen[digest] = true
	}
	for _, img := range images {
		stack, err := img.Layers()
		if err != nil {
			return nil, err
		}
		config, err := partial.ConfigLayer(img)
		if err != nil {
			return nil, err
		}
		for _, l := range append(stack, config) {
			b, err := blobOf(l)
			if err != nil {
				return nil, err
			}
			if !seen[b.digest] {
				seen[b.digest] = true
				list = append(list, b)
			}
		}
	}
	return list, nil
}

// ensureManifest sends a manifest under its digest unless it is there.
func (r *remoteRepository) ensureManifest(ctx context.Context, m Manifest) (Outcome, error) {
	digest, err := m.Digest()
	if err != nil {
		return "", err
	}
	_, err = r.Digest(ctx, digest.String())
	var answer *AnswerError
	if err == nil || !errors.Is(err, ErrNotFound) && !(errors.As(err, &answer) && hides[answer.Status]) {
		return Present, err
	}
	return Sent, r.put(ctx, digest.String(), m)
}

// PushManifest asks for what it has sent: it may not be seen at once.
func (r *remoteRepository) PushManifest(ctx context.Context, m Manifest) (Outcome, error) {
	outcome, err := r.ensureManifest(ctx, m)
	if err != nil || outcome == Present {
		return outcome, err
	}
	digest, err := m.Digest()
	if err != nil {
		return "", err
	}
	if err := r.arrived(ctx, digest.String(), digest); err != nil {
		return "", fmt.Errorf("%s: pushed, but %w", r.repo.Digest(digest.String()), err)
	}
	return outcome, nil
}

// put sends a manifest, under a tag or its digest.
func (r *remoteRepository) put(ctx context.Context, tag string, m Manifest) error {
	raw, err := m.RawManifest()
	if err != nil {
		return err
	}
	media, err := m.MediaType()
	if err != nil {
		return err
	}
	return r.repeat(ctx, late, func() error {
		req, err := r.request(ctx, http.MethodPut, "manifests/"+tag)
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", string(media))
		req.ContentLength = int64(len(raw))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
		req.Body = io.NopCloser(http.NoBody)
		resp, err := r.do(req, fmt.Sprintf("manifest, %d bytes", len(raw)), http.StatusCreated, http.StatusOK, http.StatusAccepted)
		if err != nil {
			return err
		}
		drain(resp)
		return nil
	})
}

// late tells whether a manifest is refused for want of what was sent just
// before: registries replicate.
func late(e *AnswerError) bool {
	return e.Code == "MANIFEST_BLOB_UNKNOWN" || e.Code == "BLOB_UNKNOWN" || e.Code == "MANIFEST_UNKNOWN"
}

func (r *remoteRepository) Push(ctx context.Context, index v1.ImageIndex, pushed ...v1.Hash) error {
	list, err := index.IndexManifest()
	if err != nil {
		return err
	}
	images := make([]v1.Image, len(list.Manifests))
	for i, desc := range list.Manifests {
		if images[i], err = index.Image(desc.Digest); err != nil {
			return err
		}
	}
	if err := r.pushImages(ctx, images, pushed); err != nil {
		return err
	}
	_, err = r.PushManifest(ctx, index)
	return err
}

// asks are how often what was written is asked for: within 14 seconds, by the
// usual back-off.
const asks = 8

// arrived asks for what was written a moment ago. It may not be seen yet.
func (r *remoteRepository) arrived(ctx context.Context, tag string, want v1.Hash) error {
	for n := 0; ; n++ {
		got, err := r.Digest(ctx, tag)
		switch {
		case err == nil && got == want:
			return nil
		case err == nil:
			err = fmt.Errorf("the registry answers with %s", got)
		case !errors.Is(err, ErrNotFound):
			return fmt.Errorf("asking for it back: %w", err)
		default:
			err = fmt.Errorf("asking for it back: %w", err)
		}
		if n == asks-1 || r.host.o.Sleep(ctx, r.host.o.Backoff/2*time.Duration(n+1)) != nil {
			return err
		}
	}
}

func (r *remoteRepository) Tag(ctx context.Context, m Manifest, tag string) error {
	want, err := m.Digest()
	if err != nil {
		return err
	}
	if err := r.put(ctx, tag, m); err != nil {
		return r.unmoved(ctx, tag, want, err)
	}
	if err := r.arrived(ctx, tag, want); err != nil {
		return fmt.Errorf("set, but %w", err)
	}
	return nil
}

// unmoved asks where a tag leads that could not be set, and returns what that
// makes of the error.
func (r *remoteRepository) unmoved(ctx context.Context, tag string, want v1.Hash, err error) error {
	if !refusesToMove(err) {
		return err
	}
	got, asked := r.Digest(ctx, tag)
	switch {
	case asked != nil:
		return err
	case got == want:
		return nil // it need not move
	}
	return &ImmutableTagError{Ref: r.Ref(tag), Now: got, Want: want, Err: err}
}

// immutable is how registries word it that a tag stays where it is.
var immutable = regexp.MustCompile(`(?i)immutab|already ?exist|overwrit|not allow updating|disallowed|locked|protected`)

// refusesToMove tells whether an answer to the PUT of a tag may mean that the
// tag is immutable. Whether the tag is there has to be asked.
func refusesToMove(err error) bool {
	var answer *AnswerError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.Status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusConflict, http.StatusPreconditionFailed, http.StatusUnprocessableEntity:
		return answer.Code == "TAG_INVALID" || immutable.MatchString(answer.Code+" "+answer.Message)
	}
	return false
}

// CanPush begins an upload and cancels it.
func (r *remoteRepository) CanPush(ctx context.Context) error {
	var at string
	err := r.repeat(ctx, never, func() (err error) {
		at, err = r.beginUpload(ctx, "")
		return err
	})
	if err != nil || at == "" {
		return err
	}
	req, err := r.request(ctx, http.MethodDelete, at)
	if err != nil {
		return err
	}
	if resp, err := r.client.Do(req); err == nil { // not all registries can cancel
		drain(resp)
	}
	return nil
}
