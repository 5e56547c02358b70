package cycle

import (
	"cmp"
	"fmt"
	"time"

	"github.com/nixpkgs-factory/factory/internal/record"
)

// publications returns what to write down of what the targets of a job have, for
// which bytes were moved.
func publications(j job, targets []target, moved record.Moved, at time.Time) []record.Publication {
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
			Since:   j.since,
			Moved:   moved,
		})
		moved = record.Moved{}
	}
	return list
}

// Total is how many bytes have been moved so far.
func (m *Moved) Total() record.Moved {
	return record.Moved{Fetched: m.Fetched.Load(), Pushed: m.Pushed.Load()}
}

// since is how many bytes have been moved since there were that many.
func (m *Moved) since(began record.Moved) record.Moved {
	total := m.Total()
	return record.Moved{Fetched: total.Fetched - began.Fetched, Pushed: total.Pushed - began.Pushed}
}

// moved is how many bytes a job has moved: here, and on machines that have made
// parts of it.
func (f *Factory) moved(j job) record.Moved {
	moved := f.Moved.since(j.began)
	moved.Fetched += j.elsewhere.Fetched
	moved.Pushed += j.elsewhere.Pushed
	return moved
}

// record writes down what was published, in one transaction.
func (f *Factory) record(j job, targets []target) error {
	err := f.Store.Record(publications(j, targets, f.moved(j), f.Now()))
	if err == nil {
		err = f.Store.Succeed(j.id(), j.commit.Rev) // where all targets keep what is on record
	}
	if err != nil {
		return fmt.Errorf("published, but not recorded: %w", err)
	}
	return nil
}
