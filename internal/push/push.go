// Package push publishes images that somebody else built: from archives, layouts,
// streams and store paths into a repository, without a container engine and
// without a whole image on disk.
//
// What the images under the tags have now is neither compressed nor sent. Layers
// are held against their diffIDs, and no tag is set before everything below it is
// there.
package push

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/archive"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/progress"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/reuse"
)

// Pusher pushes into one repository.
type Pusher struct {
	To        registry.Repository
	Tags      []string        // or templates of tags, see Expand
	Like      []reuse.Place   // images that may have layers of this one
	Platforms []v1.Platform   // of the sources, where they do not say it: one for all, or for each
	Single    bool            // an index under a tag may be replaced by an image for one platform
	DryRun    bool            // nothing is sent, and no tag set
	Encoding  layers.Encoding // of layers that are not compressed yet
	Dir       string          // for unfinished work
	Rev       string          // for templates of tags
	Date      time.Time       // for templates of tags

	Progress progress.Progress
	Log      *slog.Logger
}

// Source is where images are read from.
type Source struct {
	Name string // for errors
	archive.Source
}

// Push pushes what the sources have: an image, or an index where there are images
// for several platforms.
func (p Pusher) Push(ctx context.Context, sources []Source) (Result, error) {
	s := p.newStock(ctx)
	sets, err := s.read(ctx, sources)
	if err != nil {
		return nil, err
	}
	what, err := gather(sources, sets, p.Platforms)
	if err != nil {
		return nil, err
	}
	tags, err := Expand(p.Tags, Values{Digest: what.id(), Rev: p.Rev, Date: p.Date})
	if err != nil {
		return nil, err
	}
	if err := p.mayReplace(ctx, tags, what); err != nil {
		return nil, err
	}
	made, err := p.published(ctx, tags, what)
	if err != nil {
		return nil, err
	}
	if made == nil {
		if made, err = s.publish(ctx, what); err != nil {
			return nil, err
		}
	}
	if err := p.setTags(ctx, tags, made.root); err != nil {
		return nil, err
	}
	return p.result(tags, made)
}

// repository is where everything is written to.
func (p Pusher) repository() registry.Repository {
	if p.DryRun {
		return dry{p.To}
	}
	return p.To
}

// setTags sets the tags that say what they lead to first, and those that move
// last: whoever sees a tag that moved finds the others.
func (p Pusher) setTags(ctx context.Context, tags []Tag, root registry.Manifest) error {
	for _, tag := range tags {
		if err := p.repository().Tag(ctx, root, tag.Name); err != nil {
			return fmt.Errorf("%s: %w", p.To.Ref(tag.Name), err)
		}
		if !p.DryRun {
			p.Log.Info("pushed", "image", p.To.Ref(tag.Name))
		}
	}
	if p.DryRun {
		p.Log.Info("nothing was sent and no tag set: this is what would be")
	}
	return nil
}
