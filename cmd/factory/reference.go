package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// located is an image that was named.
type located struct {
	ref  string
	repo registry.Repository
	tag  string // or digest
}

// locate finds what a user names: an image by its reference, or the newest one of a
// channel that has a name; the first image of the channel, if that is "".
func (a *app) locate(ctx context.Context, what, name string) (located, error) {
	if strings.ContainsAny(what, "/:@") {
		repo, tag, err := a.reference(what)
		return located{what, repo, tag}, err
	}
	// Images of Docker Hub's own library are nobody's channel, so a bare word is one.
	c, err := a.config(false)
	ch, unknown := findChannel(c, what)
	if _, missing := os.Stat(what); missing == nil && unknown != nil {
		return located{}, usageError{noReference(what)}
	}
	if err != nil {
		return located{}, err
	}
	if err := unknown; err != nil {
		return located{}, usageError{fmt.Errorf("%q is no reference to an image (want HOST/PATH:TAG or oci:DIR:NAME:TAG), and there is %w", what, err)}
	}
	i, err := findImage(c, ch, name)
	if err != nil {
		return located{}, err
	}
	return a.newest(ctx, c, ch, i)
}

// newest finds the newest image of a channel: that of a tag that moves, else the
// one that was published last on record, else that of upstream's head.
func (a *app) newest(ctx context.Context, c config.Config, ch config.Channel, i config.Image) (located, error) {
	if err := a.somewhere(c); err != nil {
		return located{}, err
	}
	repository, err := a.repositories(c)
	if err != nil {
		return located{}, err
	}
	var tags []string
	if tag := i.TagsOf(ch).Fixed(); tag != "" {
		tags = append(tags, tag)
	}
	rev, err := a.lastPublished(c, record.Subject{Channel: ch.Name, ImageName: i.Name()})
	if err != nil {
		return located{}, err
	}
	if !rev.IsZero() {
		tags = append(tags, i.TagsOf(ch).Commit(rev.String()))
	}
	if len(tags) == 0 {
		client, err := a.heads(c, a.fetch(), nil)
		if err != nil {
			return located{}, err
		}
		head, err := client.Head(ctx, ch.Name)
		if err != nil {
			return located{}, fmt.Errorf("head: %w", err)
		}
		tags = append(tags, i.TagsOf(ch).Commit(head.Rev.String()))
	}
	var failures []error
	for _, dest := range c.Publish {
		repo, err := repository(dest, i.RepositoryOf(ch.Name))
		if err != nil {
			return located{}, err
		}
		for _, tag := range tags {
			_, err := repo.Digest(ctx, tag)
			if err == nil {
				return located{repo.Ref(tag), repo, tag}, nil
			}
			failures = append(failures, fmt.Errorf("%s: %w", repo.Ref(tag), err))
		}
	}
	return located{}, errors.Join(failures...)
}

// lastPublished returns the newest commit on record; zero if there is none, or no
// state.
func (a *app) lastPublished(c config.Config, of record.Subject) (git.Rev, error) {
	if _, err := os.Stat(c.State); errors.Is(err, fs.ErrNotExist) {
		return git.Rev{}, nil
	}
	store, err := snapshot(c)
	if err != nil {
		return git.Rev{}, err
	}
	defer store.Close()
	publications, err := store.Publications()
	if err != nil {
		return git.Rev{}, err
	}
	head, err := store.Head(of.Channel)
	if err != nil {
		return git.Rev{}, err
	}
	if p := record.Newest(publications, of, head); p != nil {
		return p.Rev, nil
	}
	return git.Rev{}, nil
}

// reference takes apart a reference to an image: repository and tag or digest.
func (a *app) reference(ref string) (registry.Repository, string, error) {
	if !strings.HasPrefix(ref, "oci:") {
		if err := noReference(ref); err != nil {
			return nil, "", usageError{err}
		}
	}
	parsed, err := registry.ParseReference(ref)
	switch {
	case errors.Is(err, registry.ErrNoLayoutReference):
		folder, _, _ := strings.Cut(strings.TrimPrefix(ref, "oci:"), ":")
		return nil, "", usageError{fmt.Errorf("%q: %w%s", ref, err, offered(folder))}
	case err != nil && strings.HasPrefix(ref, "oci:"):
		return nil, "", usageError{fmt.Errorf("%q: %w", ref, err)}
	case err != nil:
		return nil, "", usageError{fmt.Errorf("%w (want HOST/PATH:TAG, HOST/PATH@DIGEST or oci:DIR:NAME:TAG)", err)}
	case parsed.Dir != "":
		if _, err := os.Stat(parsed.Dir); err != nil {
			return nil, "", err
		}
		return registry.Layout(parsed.Dir, parsed.Name), parsed.Tag, nil
	}
	// REGISTRY_PASSWORD is for the registry of the configuration, not for any
	// that somebody wants to look into.
	var dests []config.Destination
	if c, err := a.config(false); err == nil {
		dests = c.Publish
	}
	keychain, err := a.keychain(dests)
	if err != nil {
		return nil, "", err
	}
	repo, err := registry.Remote(parsed.Remote, a.registryOptions(keychain))
	return repo, parsed.Tag, err
}

// noReference says what to write in place of what people try.
func noReference(ref string) error {
	for _, scheme := range []string{"docker://", "https://"} {
		if rest, ok := strings.CutPrefix(ref, scheme); ok {
			return fmt.Errorf("%q: leave out %s: %s", ref, scheme, rest)
		}
	}
	folder := strings.TrimSuffix(ref, "/")
	info, err := os.Stat(ref)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%q is a file: want HOST/PATH:TAG, or oci:DIR:NAME:TAG for an image in an OCI layout", ref)
	case err == nil, strings.HasPrefix(ref, "."), strings.HasPrefix(ref, "/"), strings.HasPrefix(ref, "~"):
		return fmt.Errorf("%q is a folder: an image in an OCI layout is oci:%s:NAME:TAG%s", ref, folder, offered(folder))
	}
	return nil
}

// mostOffered is how many images of a layout are named.
const mostOffered = 5

// offered names the images of a layout.
func offered(dir string) string {
	f, err := os.Open(filepath.Join(dir, "index.json"))
	if err != nil {
		return ""
	}
	defer f.Close()
	index, err := v1.ParseIndexManifest(f)
	if err != nil {
		return ""
	}
	var names []string
	for _, desc := range index.Manifests {
		ref := desc.Annotations["org.opencontainers.image.ref.name"]
		if ref != "" && !registry.Aside(ref[strings.LastIndex(ref, ":")+1:]) {
			names = append(names, ref)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.SortFunc(names, func(a, b string) int { return len(a) - len(b) }) // tags such as latest first
	more := ""
	if len(names) > mostOffered {
		more = fmt.Sprintf(" and %d more", len(names)-mostOffered)
		names = names[:mostOffered]
	}
	return "; there are " + strings.Join(names, ", ") + more
}
