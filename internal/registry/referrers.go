package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	spec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Artifact is something that is said of an image, such as what it is made of. It
// is one blob, and a manifest that names the image as its subject
// (https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md#guidelines-for-artifact-usage).
type Artifact struct {
	Type        string // media type of what is said
	Content     []byte
	Annotations map[string]string // of the manifest
}

// emptyConfig is the configuration of a manifest that has none.
var emptyConfig = static.NewLayer([]byte("{}"), types.MediaType(spec.MediaTypeEmptyJSON))

func (a Artifact) layer() v1.Layer { return static.NewLayer(a.Content, types.MediaType(a.Type)) }

// manifest is the artifact's manifest, and what a list of referrers says of it.
func (a Artifact) manifest(subject v1.Descriptor) (Manifest, v1.Descriptor, error) {
	content, err := partial.Descriptor(a.layer())
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	config, err := partial.Descriptor(emptyConfig)
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	raw, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		ArtifactType:  a.Type,
		Config:        *config,
		Layers:        []v1.Descriptor{*content},
		Subject:       &v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations:   a.Annotations,
	})
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	m := RawManifest(raw, types.OCIManifestSchema1)
	desc, err := partial.Descriptor(m)
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	desc.ArtifactType, desc.Annotations = a.Type, a.Annotations
	return m, *desc, nil
}

// Describe is how the artifact is listed among what refers to its subject.
func (a Artifact) Describe(subject v1.Descriptor) (v1.Descriptor, error) {
	_, desc, err := a.manifest(subject)
	return desc, err
}

// ReferrersTag is the tag of the list of what refers to a digest, where a registry
// does not keep that list itself
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#referrers-tag-schema).
func ReferrersTag(subject v1.Hash) string { return subject.Algorithm + "-" + subject.Hex }

// aside are tags by what they are made of: lists of referrers, and signatures as cosign
// keeps them.
var aside = regexp.MustCompile(`^sha256-[0-9a-f]{64}(\.sig)?$`)

// Aside tells of a tag whether it leads to what is said of an image, not to one.
func Aside(tag string) bool { return aside.MatchString(tag) }

// maxReferrers bounds a list of referrers: manifests may have 4 MiB.
const maxReferrers = 4 << 20

// ParseReferrers reads a list of referrers. There is no digest twice in it.
func ParseReferrers(raw []byte) ([]v1.Descriptor, error) {
	if len(raw) > maxReferrers {
		return nil, fmt.Errorf("the list of referrers is longer than %d bytes", maxReferrers)
	}
	var list struct {
		MediaType types.MediaType `json:"mediaType"`
		Manifests []v1.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("the list of referrers: %w", err)
	}
	if list.MediaType != types.OCIImageIndex {
		return nil, fmt.Errorf("the list of referrers is no image index, but %q", clean(string(list.MediaType)))
	}
	var found []v1.Descriptor
	for _, desc := range list.Manifests {
		if desc.Digest.Hex != "" {
			found = append(found, desc)
		}
	}
	return once(found), nil
}

// once leaves out digests that were there before.
func once(list []v1.Descriptor) []v1.Descriptor {
	seen := make(map[v1.Hash]bool, len(list))
	return slices.DeleteFunc(list, func(d v1.Descriptor) bool {
		was := seen[d.Digest]
		seen[d.Digest] = true
		return was
	})
}

// lists tells whether a digest is among the referrers.
func lists(found []v1.Descriptor, digest v1.Hash) bool {
	return slices.ContainsFunc(found, func(d v1.Descriptor) bool { return d.Digest == digest })
}

// referrersIndex is a list of referrers as it is kept under a tag.
func referrersIndex(list []v1.Descriptor) (Manifest, error) {
	raw, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: list})
	return RawManifest(raw, types.OCIImageIndex), err
}

// attachment is an artifact with its manifest.
type attachment struct {
	layer    v1.Layer
	manifest Manifest
	desc     v1.Descriptor
}

// unlisted are those of the artifacts that are not among the referrers.
func unlisted(subject v1.Descriptor, artifacts []Artifact, found []v1.Descriptor) ([]attachment, error) {
	var list []attachment
	for _, a := range artifacts {
		m, desc, err := a.manifest(subject)
		if err != nil {
			return nil, err
		}
		if !lists(found, desc.Digest) {
			list = append(list, attachment{a.layer(), m, desc})
		}
	}
	return list, nil
}

func (r *remoteRepository) Referrers(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error) {
	found, _, err := r.referrers(ctx, subject)
	return found, err
}

// referrers also tells whether the registry keeps the list itself.
func (r *remoteRepository) referrers(ctx context.Context, subject v1.Hash) (found []v1.Descriptor, kept bool, err error) {
	found, err = r.askReferrers(ctx, subject)
	if !keepsNoList(err) {
		return found, true, err
	}
	digest, err := r.Digest(ctx, ReferrersTag(subject))
	if errors.Is(err, ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	raw, err := r.manifest(ctx, digest)
	if err == nil {
		found, err = ParseReferrers(raw)
	}
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", r.Ref(ReferrersTag(subject)), err)
	}
	return found, false, nil
}

// errNoList is an answer that is no list, where one was asked for.
var errNoList = errors.New("the answer is no list of referrers")

// keepsNoList tells whether a registry does not know the question: it must not
// say of a list that it is not there, for an absent one is empty.
func keepsNoList(err error) bool {
	var answer *AnswerError
	if errors.As(err, &answer) {
		switch answer.Status {
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented:
			return true
		}
		if hides[answer.Status] {
			return true // if nothing may be read here, asking for the tag says so
		}
	}
	return errors.Is(err, ErrNotFound) || errors.Is(err, errNoList)
}

// Bounds of a list of referrers that comes in several parts: of the parts, and of
// what is listed in all of them.
const (
	maxPages  = 100
	maxListed = 100_000
)

// askReferrers asks the registry for its list, which may come in several parts.
func (r *remoteRepository) askReferrers(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error) {
	var found []v1.Descriptor
	at := "referrers/" + subject.String()
	for range maxPages {
		page, next, err := r.pageOfReferrers(ctx, at)
		if err != nil {
			return nil, err
		}
		if found = append(found, page...); len(found) > maxListed {
			return nil, fmt.Errorf("%s: its list of referrers has more than %d entries", r.Ref(subject.String()), maxListed)
		}
		if next == "" {
			return once(found), nil
		}
		at = next
	}
	return nil, fmt.Errorf("%s: its list of referrers has more than %d parts", r.Ref(subject.String()), maxPages)
}

func (r *remoteRepository) pageOfReferrers(ctx context.Context, at string) (page []v1.Descriptor, next string, err error) {
	req, err := r.request(ctx, http.MethodGet, at)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Accept", string(types.OCIImageIndex))
	resp, err := r.do(req, "", http.StatusOK)
	if err != nil {
		return nil, "", err
	}
	defer drain(resp)
	if kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); kind != string(types.OCIImageIndex) {
		return nil, "", errNoList
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxReferrers+1))
	if err != nil {
		return nil, "", requestError(req, err)
	}
	if page, err = ParseReferrers(raw); err != nil {
		return nil, "", fmt.Errorf("%s: %w", r.repo, err)
	}
	next, err = nextPage(req.URL, resp.Header.Get("Link"))
	return page, next, err
}

// nextPage is where a list goes on, "" where it ends. It is of the same registry.
func nextPage(of *url.URL, link string) (string, error) {
	target, rel, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !ok || !strings.Contains(rel, `rel="next"`) {
		return "", nil
	}
	next, err := of.Parse(target)
	if err != nil || next.Host != of.Host || next.Scheme != of.Scheme {
		return "", fmt.Errorf("the list of referrers goes on at %s, which is not of %s", clean(target), of.Host)
	}
	return next.String(), nil
}

func (r *remoteRepository) Attach(ctx context.Context, subject v1.Descriptor, artifacts ...Artifact) (sent int, err error) {
	if len(artifacts) == 0 {
		return 0, nil
	}
	found, kept, err := r.referrers(ctx, subject.Digest)
	if err != nil {
		return 0, err
	}
	added, err := unlisted(subject, artifacts, found)
	if err != nil || len(added) == 0 {
		return 0, err
	}
	for _, a := range added {
		if err := r.sendAttachment(ctx, a); err != nil {
			return sent, err
		}
		sent++
		found = append(found, a.desc)
	}
	if kept {
		return sent, nil
	}
	list, err := referrersIndex(found)
	if err != nil {
		return sent, err
	}
	return sent, r.Tag(ctx, list, ReferrersTag(subject.Digest))
}

func (r *remoteRepository) sendAttachment(ctx context.Context, a attachment) error {
	for _, l := range []v1.Layer{a.layer, emptyConfig} {
		if _, err := r.PushBlob(ctx, l); err != nil {
			return err
		}
	}
	_, err := r.PushManifest(ctx, a.manifest)
	return err
}

// Referrers of a layout are listed under the tag that registries have for them,
// so that whatever copies the layout's tags to one takes them along.
func (l *layoutRepository) Referrers(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error) {
	desc, err := l.find(ReferrersTag(subject))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	raw, err := l.manifest(ctx, desc.Digest)
	if err != nil {
		return nil, err
	}
	return ParseReferrers(raw)
}

func (l *layoutRepository) Attach(ctx context.Context, subject v1.Descriptor, artifacts ...Artifact) (sent int, err error) {
	if len(artifacts) == 0 {
		return 0, nil
	}
	if err := l.begin(); err != nil {
		return 0, err
	}
	found, err := l.Referrers(ctx, subject.Digest)
	if err != nil {
		return 0, err
	}
	added, err := unlisted(subject, artifacts, found)
	if err != nil || len(added) == 0 {
		return 0, err
	}
	for _, a := range added {
		if err := l.putAttachment(ctx, a); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, l.list(ctx, subject.Digest, added)
}

func (l *layoutRepository) putAttachment(ctx context.Context, a attachment) error {
	for _, layer := range []v1.Layer{a.layer, emptyConfig} {
		if _, err := l.putLayer(ctx, layer); err != nil {
			return err
		}
	}
	_, err := l.PushManifest(ctx, a.manifest)
	return err
}

// list adds to the list of referrers. Writing it locks the layout by itself, so it
// is written before it is known whether nobody has added to the list meanwhile,
// and again if somebody has.
func (l *layoutRepository) list(ctx context.Context, subject v1.Hash, added []attachment) error {
	for {
		was, err := l.find(ReferrersTag(subject))
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		found, err := l.Referrers(ctx, subject)
		if err != nil {
			return err
		}
		for _, a := range added {
			if !lists(found, a.desc.Digest) {
				found = append(found, a.desc)
			}
		}
		m, err := referrersIndex(found)
		if err != nil {
			return err
		}
		if _, err := l.PushManifest(ctx, m); err != nil {
			return err
		}
		if done, err := l.retag(m, ReferrersTag(subject), was.Digest); done || err != nil {
			return err
		}
	}
}

// retag moves a tag from a digest, zero if there is no such tag; if it leads
// elsewhere, it stays there.
func (l *layoutRepository) retag(m Manifest, tag string, from v1.Hash) (bool, error) {
	unlock, err := lock(l.lockFile())
	if err != nil {
		return false, err
	}
	defer unlock()
	now, err := l.find(tag)
	if err != nil && !errors.Is(err, ErrNotFound) || now.Digest != from {
		return false, err
	}
	return true, l.tag(m, tag)
}
