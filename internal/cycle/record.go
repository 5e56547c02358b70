package cycle

import (
	"cmp"
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
			Subject: j.id(),
			Rev:     cmp.Or(t.state.Rev, j.commit.Rev), // an image without nixpkgs does not say it
			Recipe:  t.state.Recipe,
			Image:   t.ref,
			Digest:  t.state.Digest,
			Version: t.version,
			Time:    at,
			Systems: t.systems,
			Lacks:   t.lacks,
			Nix:     t.nix,
			Plain:   t.plain,
			Checked: t.checked,
			Action:  string(j.plan.Action),
			Reason:  string(j.plan.Reason),
		})
	}
	return list
}

// record writes down what was published, in one transaction.
func (f *Factory) record(j job, targets []target) error {
	err := f.Store.Record(publications(j, targets, f.Now()))
	if err == nil {
		err = f.Store.Succeed(j.id(), j.commit.Rev) // where all targets keep what is on record
	}
	if err != nil {
		return fmt.Errorf("published, but not recorded: %w", err)
	}
	return nil
}
