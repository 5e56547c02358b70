// Package verify holds an image that was published against itself, against the
// signatures of those who built what is in it, and against the commit that it names.
// An image goes in, and out comes a report of all that was held against what, and
// what was wrong; without anything wrong the files that a container sees are those
// that the signed narinfos and the commit stand for.
//
// It believes nothing: every byte of the image is read, once, as a stream. A store
// object has to lie in one layer, in the order of a NAR, so that its hash is computed
// on the way; no layer may hide what another one has. Everything that is kept in
// memory has a bound.
package verify

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/check"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// Commits answers for commits of nixpkgs.
type Commits interface {
	Commit(ctx context.Context, rev string) (heads.Commit, error)
	Contains(ctx context.Context, channel string, rev git.Rev) (bool, error)
}

// Infos answers for store objects, with what a trusted key vouches for.
type Infos interface {
	Info(ctx context.Context, path nix.StorePath) (nix.PathInfo, error)
}

// Options are what an image is held against.
type Options struct {
	Keys    []nix.PublicKey // whose signatures count
	Scratch string          // folder for databases; the system's if empty
	Tag     string          // that led to the image; "" for a digest

	// Who is asked for what the image itself does not prove. Where that is nil, nobody
	// is, and the report says so.
	Commits Commits
	Infos   Infos // for store objects of an image that has no signatures

	// Wanted tells which platforms of an index are looked at; nil: all.
	Wanted func(v1.Platform) bool

	// Most bounds the bytes that a layer unpacks to; 0: 64 GiB.
	Most int64

	// Progress is told of bytes that were read of layers; nil: nobody is.
	Progress func(n int)
}

// most is the default of Options.Most.
const most = 64 << 30

// Target is an image to verify: an index, or the image of one platform.
type Target struct {
	Index v1.ImageIndex // nil for an image of one platform
	Image v1.Image
}

// ErrNotMade says that there is nothing to hold an image against.
var ErrNotMade = errors.New("this image cannot be verified")

// Image verifies an image. The error says why there is no report: the image was not
// made by the factory, or its manifests cannot be read.
func Image(ctx context.Context, of Target, o Options) (Report, error) {
	begun := time.Now()
	if o.Most == 0 {
		o.Most = most
	}
	v := &verification{Options: o, scans: make(map[scanned]*scan)}
	if err := v.open(of); err != nil {
		return Report{}, said.Error(err)
	}
	v.holdTag()
	for _, p := range v.parts {
		v.readRoot(ctx, p)
	}
	if err := v.readLayers(ctx); err != nil {
		return Report{}, said.Error(err)
	}
	for _, p := range v.parts {
		p.hold(ctx, v)
	}
	v.holdCommit(ctx)
	if err := ctx.Err(); err != nil {
		return Report{}, err
	}
	return v.report(time.Since(begun)), nil
}

// verification is what was found out so far.
type verification struct {
	Options
	digest v1.Hash
	facts  map[string]string // annotations of the index, or of the one image
	index  *Check
	tag    *Check
	commit *Check
	parts  []*part
	scans  map[scanned]*scan
	bytes  atomic.Int64
}

// part is the image for one platform.
type part struct {
	system  string
	digest  v1.Hash
	opened  image.Opened
	stack   []image.Layer // empty where the manifest cannot be believed
	root    *check.Root   // nil where it cannot be read
	unread  error         // why it does not say what is in the image
	schema  string        // what the file beside the database says
	special []string      // what runs as somebody else, or belongs to somebody else
	top     *scan
	below   []*scan
	found   map[nix.StorePath]object // store objects in the layers
	checks  []*Check
	sources []object
}

// check begins a check of a part.
func (p *part) check(name string) *Check {
	c := newCheck(p.system, name)
	p.checks = append(p.checks, c)
	return c
}

// scanned is what a layer was read as. The same blob may be named with other sizes,
// or as another type, by another image.
type scanned struct {
	digest v1.Hash
	size   int64
	media  string
}

func keyOf(l image.Layer) scanned { return scanned{l.Digest, l.Size, string(l.MediaType)} }

// parallel bounds how many layers are read at once.
const parallel = 3

// readLayers reads the layers below the topmost ones, those that several platforms
// have once.
func (v *verification) readLayers(ctx context.Context) error {
	known := v.known()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, p := range v.parts {
		if p.root == nil {
			continue
		}
		for _, l := range p.stack[:len(p.stack)-1] {
			s := v.scans[keyOf(l)]
			if s == nil {
				s = &scan{layer: l}
				v.scans[keyOf(l)] = s
				group.Go(func() error {
					w := &walker{known: known, scan: s}
					s.read(ctx, v, w.visit)
					w.end()
					return ctx.Err()
				})
			}
			p.below = append(p.below, s)
		}
	}
	return group.Wait()
}

// known are the store objects that any of the platforms has, with what leads into them.
func (v *verification) known() map[string]*expected {
	all := make(map[string]*expected)
	for _, p := range v.parts {
		if p.root == nil {
			continue
		}
		for base, info := range p.root.Objects {
			if all[base] == nil {
				all[base] = &expected{path: info.Path}
			}
			all[base].most = max(all[base].most, info.NarSize)
		}
		for _, path := range p.root.Inventory.Sources {
			if e := all[path.Base()]; e != nil {
				e.source = true
			}
		}
		for _, target := range p.root.Links {
			if base, below, ok := intoStore(target); ok && all[base] != nil && below != "" {
				all[base].wanted = append(all[base].wanted, below)
			}
		}
	}
	for _, e := range all {
		slices.Sort(e.wanted)
		e.wanted = slices.Compact(e.wanted)
	}
	return all
}

// readRoot reads the topmost layer, by which all others are known.
func (v *verification) readRoot(ctx context.Context, p *part) {
	if len(p.stack) == 0 {
		return
	}
	top := p.stack[len(p.stack)-1]
	p.top = &scan{layer: top}
	root := check.NewRoot(v.Scratch)
	w := &rootWalker{scan: p.top, root: root, kinds: make(map[string]byte)}
	p.top.read(ctx, v, w.visit)
	if p.unread = w.err; p.top.err == nil && w.err == nil {
		p.unread = root.Listed()
	}
	if p.top.err == nil && p.unread == nil {
		p.root, p.schema, p.special = root, w.schema, w.special
	}
}

// commitTag finds a whole commit in a tag.
var commitTag = regexp.MustCompile(`(?:^|[^0-9a-f])([0-9a-f]{40})(?:[^0-9a-f]|$)`)

// holdTag holds a tag that names a commit against the labels: who asks for a commit by
// its name wants that one, whatever the image says of itself.
func (v *verification) holdTag() {
	named := commitTag.FindStringSubmatch(v.Tag)
	if named == nil {
		return
	}
	v.tag = newCheck("", "tag")
	v.tag.say("the tag names the commit of the image")
	if rev := v.facts[image.RevisionLabel]; rev != named[1] {
		v.tag.add("the tag names the commit %s, the image %s", named[1], cmp.Or(rev, "none"))
	}
}

// holdCommit holds the trees of the sources against the one that the commit has.
func (v *verification) holdCommit(ctx context.Context) {
	rev := v.facts[image.RevisionLabel]
	c := newCheck("", "commit")
	v.commit = c
	if rev == "" {
		c.not("the image says that it has no nixpkgs")
		return
	}
	if v.Commits == nil {
		c.not("GitHub was not asked whether the source is the tree of commit %s", rev)
		return
	}
	commit, err := v.Commits.Commit(ctx, rev)
	if err != nil {
		c.add("%v", err)
		return
	}
	c.say("git tree %s of a commit of %s", commit.Tree, v.facts[image.ChannelLabel])
	channel := v.facts[image.ChannelLabel]
	if commit.Rev.String() != rev {
		c.add("the commit is %s, the image says %s", commit.Rev, rev)
	} else if ok, err := v.Commits.Contains(ctx, channel, commit.Rev); err != nil {
		c.add("whether it is a commit of %s: %v", channel, err)
	} else if !ok {
		c.add("it is no commit of %s: GitHub has it from another branch, or from a fork", channel)
	}
	if created := commit.Date.Format(time.RFC3339); v.facts[image.CreatedLabel] != created {
		c.add("label %s is %q, the commit is of %s", image.CreatedLabel, v.facts[image.CreatedLabel], created)
	}
	for _, p := range v.parts {
		if p.root == nil {
			c.add("%s: there is no source to hold against it", p.system)
		}
		for _, s := range p.sources {
			if s.tree != commit.Tree {
				c.add("%s: %s has the git tree %s, the commit has %s", p.system, s.path.Base(), s.tree, commit.Tree)
			}
		}
	}
}

func (v *verification) report(took time.Duration) Report {
	r := Report{
		Digest: v.digest, Channel: said.Line(v.facts[image.ChannelLabel]), Rev: said.Line(v.facts[image.RevisionLabel]),
		Images: []Made{}, Seconds: took.Seconds(), Bytes: v.bytes.Load(), Checks: []Check{},
	}
	for _, p := range v.parts {
		r.Images = append(r.Images, Made{p.system, p.digest})
	}
	for _, c := range slices.Concat([]*Check{v.index, v.tag}, v.partChecks(), []*Check{v.commit}) {
		if c != nil {
			r.Checks = append(r.Checks, *c)
		}
	}
	return r
}

func (v *verification) partChecks() (all []*Check) {
	for _, p := range v.parts {
		all = append(all, p.checks...)
	}
	return all
}
