package factory

import (
	"fmt"
	"time"

	"github.com/nixpkgs-factory/factory/internal/record"
)

// publications returns what to write down of what the targets of a job have.
func publications(j job, targets []target, at time.Time) []record.Publication {
	var list []record.Publication
	for _, t := range targets {
		known := t.recorded != nil && t.recorded.Digest == t.state.Digest
		if !t.state.Found || t.state.Kept && known {
			continue
		}
		list = append(list, record.Publication{
			Channel: j.channel.Name,
			Rev:     t.state.Rev,
			Recipe:  t.state.Recipe,
			Image:   t.ref,
			Digest:  t.state.Digest,
			Version: t.version,
			Time:    at,
			Systems: t.systems,
			Lacks:   t.lacks,
			Checked: t.checked,
			Action:  string(j.plan.Action),
			Reason:  string(j.plan.Reason),
		})
	}
	return list
}

// record writes down what was published, in one transaction.
func (f *Factory) record(j job, targets []target, src nixpkgs, s stacks) error {
	from := &record.Source{
		Rev:       j.commit.Rev,
		Tree:      src.tree.TreeID,
		NarHash:   src.tree.NarHash,
		NarSize:   src.tree.NarSize,
		StorePath: src.objects[0].Path,
	}
	if len(src.objects) > 1 {
		from.SourcePath = src.objects[1].Path
	}
	err := f.Store.Record(publications(j, targets, f.Now()), recordedLayers(s), from)
	if err == nil {
		err = f.Store.Succeed(j.channel.Name, j.commit.Rev) // where all targets keep what is on record
	}
	if err != nil {
		return fmt.Errorf("published, but not recorded: %w", err)
	}
	return nil
}

// recordedLayers returns the closure's and the source's layers for the record.
func recordedLayers(s stacks) []record.Layer {
	var list []record.Layer
	for _, l := range s.all() {
		if l.Key == "" {
			continue
		}
		digest, _ := l.Digest() // of a finished layer: no errors
		diffID, _ := l.DiffID()
		size, _ := l.Size()
		media, _ := l.MediaType()
		list = append(list, record.Layer{Key: l.Key, Digest: digest.String(), DiffID: diffID.String(), Size: size, MediaType: string(media)})
	}
	return list
}
