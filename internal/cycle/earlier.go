package cycle

import (
	"context"
	"slices"

	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/reuse"
)

// earlier returns where there may be images that share layers with the one of a
// commit: in its own repositories, then in those of the channel's other images, then
// in those of other channels.
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
	// Images of a channel have tools in common, and channels often meet on a commit:
	// then layers are in another repository of the same registry, or under another
	// tag.
	for _, dest := range f.Config.Publish {
		for _, other := range f.others(r) {
			if repo, err := f.Repository(dest, other.repository); err == nil {
				places = append(places, reuse.Place{Repository: repo, Tags: other.tags})
			}
		}
	}
	return places
}

// elsewhere is where another image may share layers with the one of a revision.
type elsewhere struct {
	repository string
	tags       []string
}

// others are the other images of a revision's channel, then those that have nixpkgs
// of other channels at the same commit.
func (f *Factory) others(r revision) []elsewhere {
	var same, other []elsewhere
	for _, ch := range f.Config.Channels {
		for _, img := range f.Config.ImagesOf(ch) {
			tags := img.TagsOf(ch)
			at := elsewhere{img.RepositoryOf(ch.Name), []string{tags.Commit(r.commit.Rev.String())}}
			switch {
			case ch.Name != r.channel.Name:
				other = append(other, at)
			case img.Name() != r.image.Name():
				if tag := tags.Fixed(); tag != "" {
					at.tags = append(at.tags, tag)
				}
				same = append(same, at)
			}
		}
	}
	return append(same, other...)
}

// earlierTags returns the tags of a repository that may share layers with what
// is being built: the commit's own under an older recipe, the moving tags, and
// the newest publication on record, nil if there is none.
func (f *Factory) earlierTags(r revision, repo registry.Repository) ([]string, *record.Publication) {
	tags := append([]string{r.commitTag()}, r.tagsFor("", "")...)
	publications, err := f.Store.Publications()
	if err != nil {
		return tags, nil
	}
	var last *record.Publication
	for i, p := range publications {
		if p.Subject == r.id() && (p.Plain || p.Image == repo.Ref(r.tags.Commit(p.Rev.String()))) && (last == nil || p.Time.After(last.Time)) {
			last = &publications[i]
		}
	}
	if last != nil && !last.Plain && !slices.Contains(tags, r.tags.Commit(last.Rev.String())) {
		tags = append(tags, r.tags.Commit(last.Rev.String()))
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
			revs = append(revs, r.tags.Commit(move.Rev.String()))
		}
	}
	return revs
}

// maxEarlierHeads bounds how many heads are looked for. A channel moves a few
// times in a day, at the most.
const maxEarlierHeads = 20
