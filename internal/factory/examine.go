package factory

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

// recheck is how long what is below the image of a head counts as there without
// being asked for. Registries' clean-ups take children and blobs of images and
// leave their tags, and asking costs a request for each blob.
const recheck = 24 * time.Hour

// examine finds out whether the image of a head, or one that somebody asks for
// by hand, can be pulled if the present recipe made it, and whether it could
// have more systems by now.
func (f *Factory) examine(ctx context.Context, p *place, d *due) {
	if p.state.Err != nil || !p.state.Found {
		return
	}
	kept, err := f.Store.Kept(p.image)
	if err != nil {
		p.state.Err = err
		return
	}
	p.state.Kept = kept != nil && kept.Recipe == d.recipe && kept.Digest != p.state.Digest
	if p.state.Kept || p.state.Recipe != d.recipe {
		return // it is made anew, or cannot be
	}
	if d.byHand || f.Now().Sub(p.checked) >= recheck {
		if err := f.checkBelow(ctx, p); err != nil {
			p.state.Err = fmt.Errorf("%s: %w", p.image, err)
			return
		}
	}
	p.state.Arrived = d.isHead && f.arrived(ctx, p, d)
}

// checkBelow asks for all that an image consists of.
func (f *Factory) checkBelow(ctx context.Context, p *place) error {
	digest, err := v1.NewHash(p.state.Digest)
	if err != nil {
		return err
	}
	if p.lost, err = p.repo.Missing(ctx, digest); err != nil {
		return err
	}
	if len(p.lost) == 0 {
		p.checked = f.Now()
		return nil
	}
	p.state.Incomplete = true
	f.Log.Warn("the image cannot be pulled: the registry has lost a part of it", "image", p.image, "lost", len(p.lost), "first", p.lost[0].String())
	return nil
}

// arrived tells whether a system that the image was made without may be had
// now. What its image waits for is on record and costs a question; where it is
// not, the image is made again to find out, a day after it was first seen.
func (f *Factory) arrived(ctx context.Context, p *place, d *due) bool {
	for _, system := range d.channel.Optional {
		if slices.Contains(p.systems, system.Nix) {
			continue
		}
		base, known := p.lacks[system.Nix]
		if !known {
			if p.recorded != nil && p.recorded.Digest == p.state.Digest && f.Now().Sub(p.recorded.Time) >= recheck {
				return true
			}
			continue
		}
		if path, err := nix.ParseStorePathBase(base); err == nil {
			if _, err := f.Cache.Info(ctx, path); err == nil {
				return true
			}
		}
	}
	return false
}
