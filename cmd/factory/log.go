package main

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
)

// logger returns the log on stderr: above the progress bars where there are some.
func (a *app) logger() *slog.Logger {
	level := slog.LevelInfo
	switch {
	case a.quiet:
		level = slog.LevelError
	case a.verbose:
		level = slog.LevelDebug
	}
	out := a.bars().writer()
	options := &slog.HandlerOptions{Level: level}
	if a.logFormat == logJSON {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	if s := a.screen(a.stderr); s != nil {
		return slog.New(&forPeople{out: out, level: level, colour: s.colour, mu: new(sync.Mutex)})
	}
	options.ReplaceAttr = func(_ []string, attr slog.Attr) slog.Attr {
		switch attr.Key {
		case slog.TimeKey:
			return slog.String(slog.TimeKey, attr.Value.Time().UTC().Format(time.TimeOnly))
		case "rev":
			if attr.Value.String() == "" { // the head could not be asked for
				return slog.Attr{}
			}
			return slog.String("rev", brief(attr.Value.String()))
		}
		return attr
	}
	return slog.New(slog.NewTextHandler(out, options))
}

// forPeople writes short lines: time, channel, what, and what belongs to it.
type forPeople struct {
	out    io.Writer
	level  slog.Level
	colour bool
	group  string
	attrs  []slog.Attr
	mu     *sync.Mutex // one for all that write to out
}

// Enabled implements slog.Handler.
func (h *forPeople) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

// WithGroup implements slog.Handler.
func (h *forPeople) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	inner := *h
	inner.group += name + "."
	return &inner
}

// WithAttrs implements slog.Handler.
func (h *forPeople) WithAttrs(attrs []slog.Attr) slog.Handler {
	inner := *h
	inner.attrs = slices.Clone(h.attrs)
	for _, attr := range attrs {
		inner.attrs = flatten(inner.attrs, h.group, attr)
	}
	return &inner
}

// Handle implements slog.Handler.
func (h *forPeople) Handle(_ context.Context, r slog.Record) error {
	attrs := slices.Clone(h.attrs)
	r.Attrs(func(attr slog.Attr) bool {
		attrs = flatten(attrs, h.group, attr)
		return true
	})
	var b strings.Builder
	if !r.Time.IsZero() {
		b.WriteString(paint(h.colour, dim, r.Time.Local().Format(time.TimeOnly)) + " ")
	}
	message := r.Message
	switch {
	case r.Level >= slog.LevelError:
		message = paint(h.colour, red, "error: "+message)
	case r.Level >= slog.LevelWarn:
		message = paint(h.colour, yellow, "warning: "+message)
	}
	var channel, image, rev, details, problem string
	for _, attr := range attrs {
		text := printable(attr)
		switch attr.Key {
		case "channel":
			channel = text
		case "imageName":
			image = text
		case "error":
			problem = ": " + text
		case "reason":
			details += " (" + text + ")"
		case "rev":
			rev = text
		case "storePath", "narHash":
			if h.level < slog.LevelInfo { // longer than a line, and factory inspect has them
				details += " " + attr.Key + "=" + text
			}
		case "digest", "image":
			details += " " + text
		default:
			details += " " + attr.Key + "=" + text
		}
	}
	if channel != "" {
		b.WriteString(paint(h.colour, bold, job(subject(channel, image), rev)) + " ")
	} else if rev != "" {
		details = " " + rev + details
	}
	b.WriteString(message + details + problem + "\n")
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.out, b.String())
	return err
}

// flatten adds an attribute, or those of a group with its name before theirs.
func flatten(attrs []slog.Attr, group string, attr slog.Attr) []slog.Attr {
	value := attr.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if attr.Key != "" {
			group += attr.Key + "."
		}
		for _, inner := range value.Group() {
			attrs = flatten(attrs, group, inner)
		}
		return attrs
	}
	if attr.Equal(slog.Attr{}) {
		return attrs
	}
	return append(attrs, slog.Attr{Key: group + attr.Key, Value: value})
}

// printable is a value in short, and without what would move the cursor.
func printable(attr slog.Attr) string {
	v := attr.Value
	text := v.String()
	switch v.Kind() {
	case slog.KindInt64:
		if attr.Key == "bytes" {
			text = strings.ReplaceAll(humanize.IBytes(uint64(max(v.Int64(), 0))), " ", "")
		}
	case slog.KindDuration:
		text = roughly(v.Duration())
	case slog.KindTime:
		text = v.Time().Local().Format(time.DateTime)
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return strconv.Quote(text)
	}
	return brief(text)
}
