package main

import (
	"io"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/nixpkgs-factory/factory/internal/factory"
)

// bars shows progress bars on a terminal. Elsewhere it shows nothing: there the
// log has a line for every step.
type bars struct {
	stderr io.Writer
	shown  *mpb.Progress // nil where there is no terminal
	once   sync.Once
}

// bars returns the command's progress, the same one each time.
func (a *app) bars() *bars {
	if a.progress == nil {
		a.progress = &bars{stderr: a.stderr}
		if terminal(a.stderr) && !a.quiet {
			a.progress.shown = mpb.New(mpb.WithOutput(a.stderr), mpb.WithWidth(40))
		}
	}
	return a.progress
}

// writer is where log lines go.
func (b *bars) writer() io.Writer {
	if b.shown != nil {
		return b.shown
	}
	return b.stderr
}

func (b *bars) stop() {
	if b.shown != nil {
		b.once.Do(b.shown.Shutdown)
	}
}

// Start implements factory.Progress.
func (b *bars) Start(label string, total int64) factory.Task {
	if b.shown == nil {
		return factory.Silent{}.Start(label, total)
	}
	bar := b.shown.AddBar(total,
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(label, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.Counters(decor.SizeB1024(0), "% .1f / % .1f"), decor.AverageSpeed(decor.SizeB1024(0), "  % .1f")),
	)
	return barTask{bar}
}

type barTask struct{ bar *mpb.Bar }

func (t barTask) Add(bytes int64) { t.bar.IncrInt64(bytes) }
func (t barTask) Done()           { t.bar.Abort(true) }
