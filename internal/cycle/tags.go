package cycle

import (
	"context"
	"slices"

	"github.com/nixpkgs-factory/factory/internal/plan"
)

// tagsToSet returns the tags that carrying out a job would set. For an image that
// is in place the registries are asked for them, as repairTags does.
func (f *Factory) tagsToSet(ctx context.Context, j job) ([]string, error) {
	if j.plan.Action != plan.None {
		return j.tagsToMake(), nil
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
		tags = append(tags, t.tag)
	}
	if !j.isHead {
		return tags, nil
	}
	for _, tag := range j.tagsFor(t.version, t.state.Digest.Hex) {
		if tag == t.tag {
			continue // it was asked for
		}
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

// tagsToMake are those that a new image would get. What they say of the image is
// known once it is made; until then a tag is its template.
func (j job) tagsToMake() []string {
	var tags []string
	if j.depends() {
		tags = append(tags, j.commitTag())
	}
	if !j.isHead {
		return tags
	}
	return slices.Concat(tags, j.tagsFor("", ""), j.tags.Unknown(j.values("", "")))
}
