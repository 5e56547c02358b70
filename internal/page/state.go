package page

import (
	"cmp"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/diff"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// Window is how far back charts and tables go.
const Window = 90 * 24 * time.Hour

// State is how an image or a channel stands.
type State string

// States, the worst one last.
const (
	Current State = "current" // the head's image is published
	Frozen  State = "frozen"  // nothing changes any more
	Never   State = "never"   // nothing was published so far
	Behind  State = "behind"  // the head's image is not published yet
	Failing State = "failing" // the last try has failed
)

var states = []State{Current, Frozen, Never, Behind, Failing}

// site is what all pages share.
type site struct {
	Now      time.Time
	URL      string
	Places   []string // that images can be pulled from
	Identity string   // the registry that they go to first; "" if there is none
	Upstream string   // address of nixpkgs, for people
	Channels []channel
}

// channel is a channel with its images.
type channel struct {
	Name   string
	State  State // the worst of its images
	Head   *heads.Head
	Gone   time.Time
	Images []published
	Events []event // of all images, the newest first
}

// Page is the name of the channel's page.
func (c channel) Page() string { return "channels/" + c.Name + ".html" }

// Feed is the name of its feed.
func (c channel) Feed() string { return "channels/" + c.Name + ".atom" }

// published is an image of a channel.
type published struct {
	Channel     string
	Name        string
	State       State
	Head        *heads.Head
	Publication *record.Publication // the newest; nil: none
	Places      []place             // where that is
	Contents    *image.Contents     // nil: not known
	Before      *record.Publication // the one before; nil: not known
	Changes     []change            // of tools, since then; nil: not known
	Lag         time.Duration       // valid where HasLag is true
	HasLag      bool
	Failures    []record.Failure // the newest first
	Events      []event          // within Window, the newest first
	Pins        []snippet

	now time.Time
}

// change is a tool that has other versions than before.
type change struct{ Name, From, To string }

func (d Data) site(o Options) site {
	s := site{Now: d.Now, URL: o.URL, Upstream: upstream(d.Config)}
	for _, dest := range d.Config.Publish {
		switch {
		case dest.Layout == "":
			s.Identity = cmp.Or(s.Identity, dest.Registry)
			s.Places = append(s.Places, dest.Registry)
		case o.Registry != "":
			s.Places = append(s.Places, o.Registry)
		}
	}
	for _, ch := range d.Config.Channels {
		s.Channels = append(s.Channels, d.channel(ch, o))
	}
	return s
}

// upstream is where commits can be looked at: beside the archives, as GitHub has it.
func upstream(c config.Config) string {
	base := c.Upstream.Archive
	if !strings.HasPrefix(base, "http") {
		base = "https://github.com"
	}
	return base + "/" + c.Upstream.Repository
}

func (d Data) channel(ch config.Channel, o Options) channel {
	c := channel{Name: ch.Name, State: Current, Head: d.Heads[ch.Name], Gone: d.Gone[ch.Name]}
	c.Events = d.events(record.Subject{Channel: ch.Name})
	for _, i := range d.Config.ImagesOf(ch) {
		img := d.image(ch, i, c.Head, o)
		if slices.Index(states, img.State) > slices.Index(states, c.State) {
			c.State = img.State
		}
		c.Images = append(c.Images, img)
	}
	if len(c.Images) == 0 {
		c.State = Never
	}
	return c
}

func (d Data) image(ch config.Channel, i config.Image, head *heads.Head, o Options) published {
	of := record.Subject{Channel: ch.Name, ImageName: i.Name()}
	p := published{Channel: ch.Name, Name: i.Name(), Head: head, Publication: clean(record.Newest(d.Publications, of, head)), now: d.Now}
	p.Lag, p.HasLag = record.Lag(head, p.Publication, d.Now)
	if p.Publication != nil && p.Publication.Time.IsZero() {
		p.HasLag = false // it was found in a registry, which does not say since when it is there
	}
	p.Failures = failuresOf(d.Failures, of)
	p.State = d.state(ch, p)
	p.Events = d.events(of)
	if p.Publication != nil {
		p.Places = d.places(*p.Publication, o)
		p.Contents = d.contents(p.Publication.Digest)
		p.Before = Before(d.Publications, *p.Publication)
	}
	if p.Before != nil {
		p.Changes = changes(d.contents(p.Before.Digest), p.Contents)
	}
	p.Pins = pins(p, d.Config)
	return p
}

func (d Data) state(ch config.Channel, p published) State {
	switch {
	case ch.Frozen || !d.Gone[ch.Name].IsZero():
		return Frozen
	case len(p.Failures) > 0:
		return Failing
	case p.Publication == nil:
		return Never
	case p.Head != nil && p.Publication.Rev != p.Head.Rev:
		return Behind
	}
	return Current
}

func failuresOf(all []record.Failure, of record.Subject) (list []record.Failure) {
	for _, f := range all {
		if f.Channel == of.Channel && (f.ImageName == "" || f.ImageName == of.ImageName) {
			f.Error = said.Begin(f.Error, maxError)
			list = append(list, f)
		}
	}
	slices.SortStableFunc(list, func(a, b record.Failure) int { return b.Time.Compare(a.Time) })
	return list
}

// maxError bounds the text of a failure on a page, in bytes.
const maxError = 2000

// clean is a publication whose texts may be shown.
func clean(p *record.Publication) *record.Publication {
	if p == nil {
		return nil
	}
	c := *p
	c.Version, c.Nix = said.Line(c.Version), said.Line(c.Nix)
	return &c
}

// contents are what is in the image of a digest, in texts that may be shown.
func (d Data) contents(digest v1.Hash) *image.Contents {
	c, ok := d.Contents[digest]
	if !ok {
		return nil
	}
	c.Systems = slices.Clone(c.Systems)
	for i, s := range c.Systems {
		c.Systems[i].Tools = []image.Tool{}
		for _, t := range s.Tools {
			c.Systems[i].Tools = append(c.Systems[i].Tools, image.Tool{Name: said.Line(t.Name), Version: said.Line(t.Version)})
		}
	}
	return &c
}

// Before finds the newest image that was published before another one.
func Before(publications []record.Publication, p record.Publication) *record.Publication {
	var best *record.Publication
	for i, b := range publications {
		if b.Subject == p.Subject && b.Digest != p.Digest && !b.Time.After(p.Time) && (best == nil || b.Time.After(best.Time)) {
			best = &publications[i]
		}
	}
	return best
}

// changes compares tools. It is nil where those of one side are not known.
func changes(a, b *image.Contents) []change {
	if a == nil || b == nil {
		return nil
	}
	list := []change{}
	for _, s := range diff.Compare(tooled(*a), tooled(*b)).Systems {
		for _, c := range s.Tools {
			next := change{c.Name, strings.Join(c.From, ", "), strings.Join(c.To, ", ")}
			if !slices.Contains(list, next) { // mostly it is the same for all systems
				list = append(list, next)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b change) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// tooled is an image as far as its tools are known.
func tooled(c image.Contents) (i diff.Image) {
	for _, s := range c.Systems {
		part := diff.Part{System: s.System.Nix, Digest: s.Digest, Tools: []diff.Package{}}
		for _, t := range s.Tools {
			part.Tools = append(part.Tools, diff.Package{Name: t.Name, Version: t.Version, Path: t.Version})
		}
		i.Parts = append(i.Parts, part)
	}
	return i
}

// event is something that happened to an image: it was published, in one or several
// places, or could not be, once or several times.
type event struct {
	record.Subject
	Time    time.Time
	Rev     git.Rev
	Digest  v1.Hash
	Images  []string // references
	Reason  string
	Lag     time.Duration // from the channel's move; valid where HasLag is true
	HasLag  bool
	Moved   record.Moved
	Error   string // why it failed, the last time
	Count   int    // of failures
	Changed bool   // there was no image of the commit before
}

// kind tells events apart that are put together.
type kind struct {
	record.Subject
	rev    git.Rev
	digest v1.Hash
	at     time.Time // zero for failures: all tries of a commit are one event
}

// events puts the history of a subject together, the newest first.
func (d Data) events(of record.Subject) (list []event) {
	at := make(map[kind]int)
	had := make(map[kind]bool)
	for _, e := range slices.Backward(d.History) {
		if e.Channel != of.Channel || of.ImageName != "" && e.ImageName != "" && e.ImageName != of.ImageName || again(e) {
			continue
		}
		k := kind{Subject: e.Subject, rev: e.Rev, digest: e.Digest, at: e.Time}
		if e.Error != "" {
			k.at = time.Time{}
		}
		i, ok := at[k]
		if !ok {
			i = len(list)
			at[k] = i
			list = append(list, event{Subject: e.Subject, Rev: e.Rev, Digest: e.Digest, Reason: said.Line(e.Reason)})
		}
		list[i].add(e)
		if of := (kind{Subject: e.Subject, rev: e.Rev}); e.Error == "" && !ok {
			list[i].Changed = !had[of]
			list[i].measure(e)
			had[of] = true
		}
	}
	list = slices.DeleteFunc(list, func(e event) bool { return d.Now.Sub(e.Time) > Window })
	slices.SortStableFunc(list, func(a, b event) int { return b.Time.Compare(a.Time) })
	return list[:min(len(list), maxEvents)]
}

// maxEvents bounds what is shown of the history of a channel whose images are made
// again and again: in 90 days, those of an hourly cycle.
const maxEvents = 2200

// again tells of an event that is none: a publication was found again after the
// record was lost.
func again(e record.Event) bool {
	return e.Error == "" && e.Action == "none" && e.Reason == "up to date"
}

func (e *event) add(from record.Event) {
	e.Time = from.Time
	if from.Error != "" {
		e.Error = said.Begin(from.Error, maxError)
		e.Count++
		return
	}
	e.Images = append(e.Images, shown(from.Image))
	e.Moved.Fetched += from.Moved.Fetched
	e.Moved.Pushed += from.Moved.Pushed
}

// measure takes the lag of the first image of a commit: what is made again later was
// not waited for.
func (e *event) measure(from record.Event) {
	if e.HasLag = e.Changed && !from.Since.IsZero(); e.HasLag {
		e.Lag = max(from.Time.Sub(from.Since), 0)
	}
}
