package main

import (
	"io"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/nixpkgs-factory/factory/internal/progress"
)

// bars shows on a terminal what takes its time: a bar with the time left where
// the end is known, else something that moves. Elsewhere it shows nothing: there
// the log has a line for every step.
type bars struct {
	stderr io.Writer
	shown  *mpb.Progress // nil where there is no terminal
	once   sync.Once
}

const barWidth = 24

// bars returns the command's progress, the same one each time.
func (a *app) bars() *bars {
	if a.progress == nil {
		a.progress = &bars{stderr: a.stderr}
		if s := a.screen(a.stderr); s != nil && s.bars && !a.quiet && a.logFormat != logJSON {
			a.progress.shown = mpb.New(mpb.WithOutput(a.stderr), mpb.WithWidth(barWidth), mpb.WithAutoRefresh())
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

// Start implements progress.Progress.
func (b *bars) Start(label string, total int64) progress.Task {
	if b.shown == nil {
		return progress.Silent{}.Start(label, total)
	}
	name := mpb.PrependDecorators(decor.Name(label, decor.WCSyncSpaceR))
	if total <= 0 {
		spinner := b.shown.New(0, mpb.SpinnerStyle(), mpb.BarWidth(1), mpb.BarRemoveOnComplete(), name,
			mpb.AppendDecorators(decor.Elapsed(decor.ET_STYLE_GO)))
		return barTask{spinner}
	}
	return barTask{b.shown.AddBar(total, mpb.BarRemoveOnComplete(), name,
		mpb.AppendDecorators(
			decor.CountersKibiByte("% .0f / % .0f"),
			decor.OnComplete(decor.AverageETA(decor.ET_STYLE_GO, decor.WC{W: 7}), ""),
			decor.OnComplete(decor.Name(" left"), ""),
		))}
}

type barTask struct{ bar *mpb.Bar }

func (t barTask) Add(bytes int64) { t.bar.IncrInt64(bytes) }
func (t barTask) Done()           { t.bar.Abort(true) }
