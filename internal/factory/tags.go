package factory

import (
	"context"
	"slices"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/plan"
)

// foresee writes into a job the tags that carrying it out would set. For an
// image that is in place the registries are asked for them, as settle does.
func (f *Factory) foresee(ctx context.Context, d *due) {
	if d.job.Err != nil {
		return
	}
	switch {
	case d.job.Action != plan.None:
		d.job.Tags = append([]string{d.commit.Rev}, d.movingTags()...)
	case d.job.Reason == plan.UpToDate:
		for i := range d.places {
			if err := f.foreseePlace(ctx, d, &d.places[i]); err != nil {
				d.job.Err = err
				return
			}
		}
	}
}

func (f *Factory) foreseePlace(ctx context.Context, d *due, p *place) error {
	if p.strayed != nil {
		d.addTag(d.commit.Rev)
	}
	if !d.isHead {
		return nil
	}
	for _, tag := range d.channel.TagsFor(d.commit.Rev, d.commit.Date, p.version) {
		strays, err := f.strays(ctx, p, tag)
		if err != nil {
			return err
		}
		if strays {
			d.addTag(tag)
		}
	}
	return nil
}

func (d *due) addTag(tag string) {
	if !slices.Contains(d.job.Tags, tag) {
		d.job.Tags = append(d.job.Tags, tag)
	}
}

// movingTags are those that would follow a new image. The version of nixpkgs is
// known once its source is read; until then a tag that has it in it is its
// template.
func (d *due) movingTags() []string {
	if !d.isHead {
		return nil
	}
	tags := d.channel.TagsFor(d.commit.Rev, d.commit.Date, "")
	for _, template := range d.channel.Tags {
		if strings.Contains(template, "{version}") {
			tags = append(tags, template)
		}
	}
	return tags
}
