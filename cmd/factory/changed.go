package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/diff"
	"github.com/nixpkgs-factory/factory/internal/notify"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// comparing bounds how long results wait for what changed in them.
const comparing = time.Minute

// changes compares what was published with the image that was published before it,
// for those who are told. A result has none where nothing was published before, or
// nothing new, or where the images cannot be read: that fails nothing.
func (a *app) changes(ctx context.Context, f *cycle.Factory, results []cycle.Result) []*diff.Diff {
	ctx, cancel := context.WithTimeout(ctx, comparing)
	defer cancel()
	found := make([]*diff.Diff, len(results))
	publications, err := f.Store.Publications()
	for i, r := range results {
		if err != nil || r.Err != nil || r.Action == plan.None || r.Index == nil || len(r.Published) == 0 {
			continue
		}
		before := publishedBefore(publications, r)
		if before == nil {
			continue
		}
		d, err := a.compare(ctx, atDigest(before.Image, before.Digest.String()), r)
		if err != nil {
			f.Log.Info("what changed is not known", "channel", r.Channel, "image", r.Published[0].Image, "error", err)
			continue
		}
		found[i] = &d
	}
	return found
}

// publishedBefore returns the newest publication of an image in its repository that
// has another digest.
func publishedBefore(publications []record.Publication, r cycle.Result) *record.Publication {
	of := record.Subject{Channel: r.Channel, ImageName: r.ImageName}
	i := slices.IndexFunc(publications, func(p record.Publication) bool {
		return p.Subject == of && p.Digest != r.Published[0].Digest && repositoryIn(p.Image) == repositoryIn(r.Published[0].Image)
	})
	if i < 0 {
		return nil
	}
	return &publications[i]
}

func repositoryIn(image string) string { return image[:strings.LastIndexByte(image, ':')+1] }

// atDigest names an image by its digest in the place of its tag.
func atDigest(image, digest string) string {
	return strings.TrimSuffix(repositoryIn(image), ":") + "@" + digest
}

// compare compares an image with the one that was published: that is at hand, so only
// the other one is asked for.
func (a *app) compare(ctx context.Context, before string, r cycle.Result) (diff.Diff, error) {
	had, err := a.diffSide(ctx, before)
	if err != nil {
		return diff.Diff{}, err
	}
	images, err := registry.ImagesOf(r.Index)
	if err != nil {
		return diff.Diff{}, err
	}
	made := r.Published[0]
	has, err := diff.ReadAll(atDigest(made.Image, made.Digest.String()), made.Digest, images)
	return diff.Compare(had, has), err
}

// changed is a difference as webhooks are told of it.
func changed(d *diff.Diff) *notify.Changed {
	if d == nil {
		return nil
	}
	c := &notify.Changed{From: notify.Image{Image: d.A.Image, Digest: d.A.Digest.String()}, Rev: d.A.Rev}
	for _, s := range d.Systems {
		one := notify.System{System: s.System, Tools: news(s.Tools), Packages: news(s.Packages)}
		if s.A != nil && s.B != nil {
			one.Size, one.SizeBefore = s.B.Size, s.A.Size
			one.Download = s.Download.ByDigest.Bytes
		}
		c.Systems = append(c.Systems, one)
	}
	return c
}

// news are changes but those of what was only built anew.
func news(list []diff.Change) []notify.Change {
	told := []notify.Change{}
	for _, c := range list {
		if c.Change != diff.Rebuilt {
			told = append(told, notify.Change{Name: c.Name, Change: c.Change, From: c.From, To: c.To})
		}
	}
	return told
}

// changesSummary is the part of a summary that says what changed.
func changesSummary(results []cycle.Result, changes []*diff.Diff) string {
	var b strings.Builder
	for i, d := range changes {
		if d != nil {
			fmt.Fprintf(&b, "\n## %s: what changed\n\n%s", strings.TrimSpace(results[i].Channel+" "+results[i].ImageName), d.Markdown())
		}
	}
	return b.String()
}
