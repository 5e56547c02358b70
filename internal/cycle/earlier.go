package cycle

import (
	"context"
	"slices"

	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/reuse"
)

// earlier returns where there may be images that share layers with the one of a
// commit: in the channel's own repositories, then in those of other channels.
func (f *Factory) earlier(r revision) []reuse.Place {
	var places []reuse.Place
	for _, repo := range r.repositories {
		tags, last := f.earlierTags(r, repo)
		place := reuse.Place{Repository: repo, Tags: tags}
		if last == nil {
			place.Earlier = func(ctx context.Context) []string { return f.earlierHeads(ctx, r) }
		}
		places = append(places, place)
	}
	// Channels often meet on a commit: then the closure's and the source's
	// layers are in another repository of the same registry.
	for _, dest := range f.Config.Publish {
		for _, ch := range f.Config.Channels {
			if ch.Name == r.channel.Name {
				continue
			}
			if repo, err := f.Repository(dest, ch.Name); err == nil {
				places = append(places, reuse.Place{Repository: repo, Tags: []string{r.commit.Rev.String()}})
			}
		}
	}
	return places
}

// earlierTags returns the tags of a repository that may share layers with what
// is being built: the commit's own under an older recipe, the moving tags, and
// the newest publication on record, nil if there is none.
func (f *Factory) earlierTags(r revision, repo registry.Repository) ([]string, *record.Publication) {
	tags := append([]string{r.commit.Rev.String()}, r.channel.TagsFor(r.commit.Rev, r.commit.Date, "")...)
	publications, err := f.Store.Publications()
	if err != nil {
		return tags, nil
	}
	var last *record.Publication
	for i, p := range publications {
		if p.Channel == r.channel.Name && p.Image == repo.Ref(p.Rev.String()) && (last == nil || p.Time.After(last.Time)) {
			last = &publications[i]
		}
	}
	if last != nil && !slices.Contains(tags, last.Rev.String()) {
		tags = append(tags, last.Rev.String())
	}
	return tags, last
}

// earlierHeads names the commits that the channel has passed: one of them is the
// channel's newest image where nothing on record says which one that is.
func (f *Factory) earlierHeads(ctx context.Context, r revision) []string {
	moves, err := f.Heads.Moves(ctx, r.channel.Name, maxEarlierHeads)
	if err != nil {
		return nil // it would have saved work
	}
	var revs []string
	for _, move := range moves {
		if move.Rev != r.commit.Rev {
			revs = append(revs, move.Rev.String())
		}
	}
	return revs
}

// maxEarlierHeads bounds how many heads are looked for. A channel moves a few
// times in a day, at the most.
const maxEarlierHeads = 20
