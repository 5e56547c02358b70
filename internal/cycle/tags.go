package cycle

import (
	"context"
	"slices"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/plan"
)

// tagsToSet returns the tags that carrying out a job would set. For an image that
// is in place the registries are asked for them, as repairTags does.
func (f *Factory) tagsToSet(ctx context.Context, j job) ([]string, error) {
	if j.plan.Action != plan.None {
		return append([]string{j.commit.Rev.String()}, j.movingTags()...), nil
	}
	if j.plan.Reason != plan.UpToDate {
		return nil, nil
	}
	var all []string
	for _, t := range j.targets {
		tags, err := f.tagsToRepair(ctx, j, t)
		for _, tag := range tags {
			if !slices.Contains(all, tag) {
				all = append(all, tag)
			}
		}
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

func (f *Factory) tagsToRepair(ctx context.Context, j job, t target) (tags []string, err error) {
	if t.astray {
		tags = append(tags, j.commit.Rev.String())
	}
	if !j.isHead {
		return tags, nil
	}
	for _, tag := range j.channel.TagsFor(j.commit.Rev, j.commit.Date, t.version) {
		strays, err := f.strays(ctx, t, tag)
		if err != nil {
			return tags, err
		}
		if strays {
			tags = append(tags, tag)
		}
	}
	return tags, nil
}

// movingTags are those that would follow a new image. The version of nixpkgs is
// known once its source is read; until then a tag that has it in it is its
// template.
func (r revision) movingTags() []string {
	if !r.isHead {
		return nil
	}
	tags := r.channel.TagsFor(r.commit.Rev, r.commit.Date, "")
	for _, template := range r.channel.Tags {
		if strings.Contains(template, "{version}") {
			tags = append(tags, template)
		}
	}
	return tags
}
