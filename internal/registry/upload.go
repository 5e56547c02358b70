package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// blob is what is uploaded.
type blob struct {
	digest v1.Hash
	size   int64
	open   func() (io.ReadCloser, error)
	from   name.Reference // the image in a registry that it was read from; may be nil
}

func (b blob) String() string { return fmt.Sprintf("%s, %d bytes", b.digest, b.size) }

func blobOf(l v1.Layer) (blob, error) {
	digest, err := l.Digest()
	if err != nil {
		return blob{}, err
	}
	size, err := l.Size()
	b := blob{digest: digest, size: size, open: l.Compressed}
	if read, ok := l.(*remote.MountableLayer); ok {
		b.from = read.Reference
	}
	return b, err
}

// ensureBlob makes sure that a blob is there; ask: it may be. What breaks off, is lost
// or is refused for the moment begins again from the start, unless it has arrived all
// the same: registries take their time to end an upload, and proxies before them do not
// wait for it.
func (r *remoteRepository) ensureBlob(ctx context.Context, b blob, ask bool) (Outcome, error) {
	release, err := r.host.blobs.hold(ctx, b.digest)
	if err != nil {
		return "", err
	}
	defer release()
	if ask {
		found, err := r.HasBlob(ctx, b.digest, b.size)
		var answer *AnswerError
		if found || err != nil && !(errors.As(err, &answer) && hides[answer.Status]) {
			return Present, err
		}
	}
	outcome, again := Sent, false
	err = r.repeat(ctx, lost, func() error {
		if again {
			if found, err := r.HasBlob(ctx, b.digest, b.size); found && err == nil {
				return nil
			}
		}
		again = true
		mounted, err := r.upload(ctx, b)
		if mounted {
			outcome = Mounted
		}
		return err
	})
	if err == nil {
		r.host.blobs.add(b.digest, r.repo.RepositoryStr())
	}
	return outcome, err
}

// repeat tries something that writes, as often as it may succeed a moment later.
func (r *remoteRepository) repeat(ctx context.Context, also func(*AnswerError) bool, try func() error) error {
	for n := 0; ; n++ {
		err := try()
		if err == nil || n == tries-1 || ctx.Err() != nil {
			return err
		}
		var after time.Duration
		var answer *AnswerError
		switch {
		case errors.As(err, &answer) && (busy[answer.Status] || also(answer)):
			after = answer.RetryAfter
		case answer == nil && r.host.passing(err):
		default:
			return err
		}
		if r.host.wait(ctx, n, after) != nil {
			return err
		}
	}
}

// lost tells whether an answer says that the upload is not known any more, or
// that the registry has not got all of it.
func lost(e *AnswerError) bool {
	switch {
	case e.Method == http.MethodPost:
		return false
	case e.Status == http.StatusNotFound || e.Status == http.StatusRequestedRangeNotSatisfiable:
		return true
	}
	return e.Code == "BLOB_UPLOAD_UNKNOWN" || e.Code == "BLOB_UPLOAD_INVALID" || e.Code == "DIGEST_INVALID" || e.Code == "SIZE_INVALID"
}

// upload sends a blob, or has the registry take it from another repository.
func (r *remoteRepository) upload(ctx context.Context, b blob) (mounted bool, err error) {
	at, mounted, err := r.mount(ctx, b)
	if err != nil || mounted {
		return mounted, err
	}
	if at == "" {
		if at, err = r.beginUpload(ctx, ""); err != nil {
			return false, err
		}
	}
	return false, r.sendTo(ctx, at, b)
}

// way is how a blob is sent to where an upload has begun. The specification has two.
type way int

const (
	whole   way = iota // by one request
	inParts            // by one that brings all of it, and one that ends the upload
)

// sendTo sends a blob to where an upload has begun, by the way that suits its size or,
// where a registry does not know that, by the other one.
func (r *remoteRepository) sendTo(ctx context.Context, at string, b blob) error {
	first, second := whole, inParts
	if b.size > r.host.o.Whole {
		first, second = second, first
	}
	if r.host.refuses[first].Load() {
		first, second = second, first
	}
	err := r.sendBy(ctx, first, at, b)
	if !refuses(first, err) {
		return err
	}
	// The upload may be over by that: then the next one begins by the other way.
	r.host.refuses[first].Store(true)
	err = r.sendBy(ctx, second, at, b)
	if refuses(second, err) {
		r.host.refuses[first].Store(false)
	}
	return err
}

func (r *remoteRepository) sendBy(ctx context.Context, w way, at string, b blob) error {
	if w == whole {
		return r.sendWhole(ctx, at, b)
	}
	return r.sendInParts(ctx, at, b)
}

// refuses tells whether an error is the answer to a way that a registry does not know.
// One that takes the body of PATCH only finds that a blob sent by one request has
// another digest.
func refuses(w way, err error) bool {
	var answer *AnswerError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.Status {
	case http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusLengthRequired, http.StatusUnsupportedMediaType:
		return true
	case http.StatusBadRequest:
		return w == whole
	}
	return false
}

func (r *remoteRepository) sendWhole(ctx context.Context, at string, b blob) error {
	resp, err := r.send(ctx, http.MethodPut, withDigest(at, b.digest), b, http.StatusCreated, http.StatusOK, http.StatusNoContent)
	if err != nil {
		return err
	}
	drain(resp) // its Location is that of the blob, where nobody goes
	return nil
}

func (r *remoteRepository) sendInParts(ctx context.Context, at string, b blob) error {
	resp, err := r.send(ctx, http.MethodPatch, at, b, http.StatusAccepted, http.StatusNoContent, http.StatusCreated, http.StatusOK)
	if err != nil {
		return err
	}
	next, err := r.host.location(resp, at)
	drain(resp)
	if err != nil {
		return err
	}
	// Asked again here, for otherwise all of the blob would be sent again.
	return r.repeat(ctx, never, func() error { return r.endUpload(ctx, withDigest(next, b.digest), b) })
}

func (r *remoteRepository) endUpload(ctx context.Context, at string, b blob) error {
	req, err := r.request(ctx, http.MethodPut, at)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := r.do(req, b.String(), http.StatusCreated, http.StatusOK, http.StatusNoContent)
	if err != nil {
		return err
	}
	drain(resp)
	return nil
}

func never(*AnswerError) bool { return false }

// mount asks for a blob of another repository of this registry. A registry
// that will not do it may have begun an upload, at the URL that is returned.
func (r *remoteRepository) mount(ctx context.Context, b blob) (at string, mounted bool, err error) {
	to := r.repo.RepositoryStr()
	from := r.host.blobs.source(b.digest, to)
	if from == "" && b.from != nil && b.from.Context().RegistryStr() == r.repo.RegistryStr() {
		from = r.host.blobs.other(b.from.Context().RepositoryStr(), to)
	}
	if from == "" {
		return "", false, nil
	}
	query := url.Values{"mount": {b.digest.String()}, "from": {from}}
	at, err = r.beginUpload(ctx, "?"+query.Encode())
	var answer *AnswerError
	switch {
	case errors.As(err, &answer) && busy[answer.Status], err != nil && answer == nil:
		return "", false, err
	case err != nil:
		r.host.blobs.refuse(from, to)
		return "", false, nil
	}
	return at, at == "", nil
}

// beginUpload returns where a blob is to be sent, "" when the registry has it.
func (r *remoteRepository) beginUpload(ctx context.Context, query string) (string, error) {
	req, err := r.request(ctx, http.MethodPost, "blobs/uploads/"+query)
	if err != nil {
		return "", err
	}
	resp, err := r.do(req, "", http.StatusAccepted, http.StatusCreated)
	if err != nil {
		var answer *AnswerError
		if errors.As(err, &answer) && answer.Status == http.StatusNotFound {
			return "", &NoRepositoryError{Repository: r.repo.Name(), Err: answer}
		}
		return "", err
	}
	defer drain(resp)
	if resp.StatusCode == http.StatusCreated {
		return "", nil
	}
	return r.host.location(resp, "")
}

// send sends a request with a blob.
func (r *remoteRepository) send(ctx context.Context, method, at string, b blob, ok ...int) (*http.Response, error) {
	req, err := r.request(ctx, method, at)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	req.ContentLength = b.size
	if b.size > 0 {
		req.GetBody = b.open
		req.Body = io.NopCloser(http.NoBody) // the wire opens the blob for every try
	}
	return r.do(req, b.String(), ok...)
}

// location is where an answer says that an upload goes on; otherwise where it
// says nothing. Registries behind a proxy that hides scheme or port from them
// name themselves wrongly.
func (h *host) location(resp *http.Response, otherwise string) (string, error) {
	given := resp.Header.Get("Location")
	if given == "" {
		if otherwise == "" {
			return "", fmt.Errorf("%s: the answer has no Location", place(resp.Request))
		}
		return otherwise, nil
	}
	u, err := resp.Request.URL.Parse(given)
	if err != nil {
		return "", fmt.Errorf("%s: the answer has a Location that is not a URL: %q", place(resp.Request), clean(given))
	}
	asked := resp.Request.URL
	if hostname(u.Host) == hostname(asked.Host) && (u.Port() == asked.Port() || u.Port() == "" || asked.Port() == "" && usual[u.Port()]) {
		u.Scheme, u.Host = asked.Scheme, asked.Host
	}
	if err := h.mayRedirect(&http.Request{Method: http.MethodPut, URL: u}, []*http.Request{resp.Request}); err != nil {
		return "", fmt.Errorf("%s: %w", place(resp.Request), err)
	}
	return u.String(), nil
}

// usual are the ports that need not be named.
var usual = map[string]bool{"80": true, "443": true}

func withDigest(at string, digest v1.Hash) string {
	u, err := url.Parse(at)
	if err != nil {
		return at
	}
	q := u.Query()
	q.Set("digest", digest.String())
	u.RawQuery = q.Encode()
	return u.String()
}
