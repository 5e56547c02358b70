package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/page"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// errUnasked is that of a destination which is not to be asked.
var errUnasked = errors.New("not to be asked")

// opener opens a repository by its name below a destination.
type opener func(config.Destination, string) (registry.Repository, error)

// askLimit is how long registries are asked, altogether, for what is not on record.
const askLimit = time.Minute

// pageData reads what pages show: from the state, and from registries what is not in
// there.
func (a *app) pageData(ctx context.Context, c config.Config, repository opener, now time.Time) (page.Data, error) {
	data := page.Data{
		Now: now, Config: c, Heads: make(map[string]*heads.Head), Gone: make(map[string]time.Time),
		Contents: make(map[v1.Hash]image.Contents),
	}
	log := a.logger()
	store, err := record.Snapshot(c.State)
	var unusable *record.UnusableError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		log.Info("there is no state so far: no cycle has run yet, or it is lost", "state", c.State)
	case errors.As(err, &unusable):
		log.Warn("the state is left out", "error", err)
	case err != nil:
		return data, fmt.Errorf("state: %w", err)
	default:
		defer store.Close()
		if err := readRecord(store, &data); err != nil {
			return data, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	asker := asker{repository: repository, store: store, data: &data, log: log}
	for _, ch := range c.Channels {
		for _, i := range c.ImagesOf(ch) {
			if err := asker.complete(ctx, ch, i); err != nil {
				return data, err
			}
		}
	}
	return data, nil
}

func readRecord(store *record.Store, data *page.Data) (err error) {
	for _, ch := range data.Config.Channels {
		head, err := store.Head(ch.Name)
		if err != nil {
			return err
		}
		if head != nil {
			data.Heads[ch.Name] = head
		}
		since, err := store.Gone(ch.Name)
		if err != nil {
			return err
		}
		if !since.IsZero() {
			data.Gone[ch.Name] = since
		}
	}
	if data.Publications, err = store.Publications(); err != nil {
		return err
	}
	if data.Failures, err = store.Failures(); err != nil {
		return err
	}
	data.History, err = store.History(record.Subject{}, 0)
	return err
}

// asker asks registries for what the record lacks.
type asker struct {
	repository opener
	store      *record.Store // nil: there is none
	data       *page.Data
	log        *slog.Logger
}

// complete adds what is published of an image, and what is in that and in the one
// before. What no registry can say is left out.
func (a asker) complete(ctx context.Context, ch config.Channel, i config.Image) error {
	of := record.Subject{Channel: ch.Name, ImageName: i.Name()}
	p := record.Newest(a.data.Publications, of, a.data.Heads[ch.Name])
	if p == nil {
		if p = a.find(ctx, ch, i); p == nil {
			return nil
		}
		a.data.Publications = append(a.data.Publications, *p)
	}
	wanted := []v1.Hash{p.Digest}
	if before := page.Before(a.data.Publications, *p); before != nil {
		wanted = append(wanted, before.Digest)
	}
	for _, digest := range wanted {
		if err := a.contents(ctx, ch, i, digest); err != nil {
			return err
		}
	}
	return nil
}

// find looks for an image that is not on record, by a tag that moves with the head.
func (a asker) find(ctx context.Context, ch config.Channel, i config.Image) *record.Publication {
	tag := i.TagsOf(ch).Fixed()
	if tag == "" {
		return nil
	}
	var found *record.Publication
	a.each(ctx, ch, i, tag, func(repo registry.Repository, index v1.ImageIndex) error {
		manifest, err := index.IndexManifest()
		if err != nil {
			return err
		}
		digest, err := index.Digest()
		if err != nil {
			return err
		}
		if err := image.Made(manifest.Annotations); err != nil {
			return err
		}
		found = &record.Publication{
			Subject: record.Subject{Channel: ch.Name, ImageName: i.Name()}, Image: repo.Ref(tag), Digest: digest,
			Version: said.Line(image.VersionOf(manifest.Annotations)), Systems: image.Systems(manifest), Plain: image.WithoutNixpkgs(manifest),
		}
		if found.Plain {
			return nil
		}
		found.Rev, err = git.ParseRev(manifest.Annotations[image.RevisionLabel])
		return err
	})
	return found
}

// contents adds what is in the image of a digest.
func (a asker) contents(ctx context.Context, ch config.Channel, i config.Image, digest v1.Hash) error {
	if _, there := a.data.Contents[digest]; there {
		return nil
	}
	if a.store != nil {
		c, err := a.store.Contents(digest)
		if err != nil {
			return err
		}
		if c != nil {
			a.data.Contents[digest] = *c
			return nil
		}
	}
	a.each(ctx, ch, i, digest.String(), func(_ registry.Repository, index v1.ImageIndex) error {
		c, err := image.ReadContents(index)
		if err == nil {
			a.data.Contents[digest] = c
		}
		return err
	})
	return nil
}

// each reads an index in the first destination that has it.
func (a asker) each(ctx context.Context, ch config.Channel, i config.Image, tag string, read func(registry.Repository, v1.ImageIndex) error) {
	for _, dest := range a.data.Config.Publish {
		repo, err := a.repository(dest, i.RepositoryOf(ch.Name))
		if errors.Is(err, errUnasked) {
			continue
		}
		if err != nil {
			a.log.Warn("a destination cannot be asked", "to", dest.To, "error", said.Error(err))
			continue
		}
		index, err := repo.Index(ctx, tag)
		if err == nil {
			err = read(repo, index)
		}
		switch {
		case err == nil:
			return
		case errors.Is(err, registry.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		default:
			a.log.Warn("an image is shown without what the registry did not say", "channel", ch.Name, "image", repo.Ref(tag), "error", said.Error(err))
		}
	}
}
