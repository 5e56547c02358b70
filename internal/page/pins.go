package page

import (
	"fmt"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// place is where an image is.
type place struct {
	Ref        string // as it is shown
	Repository string
	Tag        string
	Layout     bool   // it is in an OCI layout
	Pull       string // reference with the digest, for container engines; "": they cannot get it
}

// places are where an image can be had, of the destinations that are there now.
func (d Data) places(p record.Publication, o Options) (list []place) {
	for _, other := range d.Publications {
		if other.Subject != p.Subject || other.Digest != p.Digest || other.Rev != p.Rev {
			continue
		}
		pl := split(other.Image)
		switch {
		case !pl.Layout:
			pl.Pull = fmt.Sprintf("%s@%s", pl.Ref, other.Digest)
		case o.Registry != "":
			pl.Ref = o.Registry + "/" + pl.Ref
			pl.Pull = fmt.Sprintf("%s@%s", pl.Ref, other.Digest)
		}
		list = append(list, pl)
	}
	return list
}

// split takes a reference apart. Of a layout the folder, which means nothing
// elsewhere, is left out.
func split(image string) place {
	rest, layout := strings.CutPrefix(said.Line(image), "oci:")
	at := strings.LastIndexByte(rest, ':')
	if at < 0 {
		return place{Ref: rest, Repository: rest, Layout: layout}
	}
	repository, tag := rest[:at], rest[at+1:]
	if layout {
		repository = repository[strings.LastIndexByte(repository, ':')+1:]
	}
	return place{Ref: repository + ":" + tag, Repository: repository, Tag: tag, Layout: layout}
}

func shown(image string) string { return split(image).Ref }

// snippet is a text to copy, which names one image or its nixpkgs.
type snippet struct {
	Title string
	Text  string
}

// pins are the ways to name a published image. Those that need a hash are left out
// where that is not known.
func pins(p published, c config.Config) (list []snippet) {
	if p.Publication == nil {
		return nil
	}
	for _, pl := range p.Places {
		if pl.Pull != "" {
			list = append(list, snippet{"Dockerfile", "FROM " + pl.Pull}, snippet{"Pull", "docker pull " + pl.Pull})
			break
		}
	}
	if len(list) == 0 && len(p.Places) > 0 {
		at := p.Places[0].Ref
		list = append(list, snippet{"Load from the layout", fmt.Sprintf("skopeo copy oci:DIR:%s docker-daemon:%s", at, at)})
	}
	if p.Publication.Plain || p.Contents == nil || p.Contents.NarHash.IsZero() {
		return list
	}
	return append(list, nixPins(p, c)...)
}

// nixPins name the nixpkgs that is in an image: what they evaluate to is in its
// store already.
func nixPins(p published, c config.Config) []snippet {
	owner, repo, _ := strings.Cut(c.Upstream.Repository, "/")
	rev, hash := p.Publication.Rev.String(), p.Contents.NarHash
	archive := fmt.Sprintf("%s/%s/archive/%s.tar.gz", c.Upstream.Archive, c.Upstream.Repository, rev)
	template := fmt.Sprintf("%s/<owner>/<repo>/archive/<rev>.tar.gz", c.Upstream.Archive)
	return []snippet{
		{"All of a project at once", fmt.Sprintf("factory pin --rev %s", rev)},
		{"flake.nix", fmt.Sprintf(`inputs.nixpkgs.url = "github:%s/%s";`, c.Upstream.Repository, rev)},
		{"fetchTarball", fmt.Sprintf(`fetchTarball {
  name = "nixpkgs-src";
  url = "%s";
  sha256 = "%s";
}`, archive, hash.Base32())},
		{"niv: nix/sources.json", fmt.Sprintf(`"nixpkgs": {
  "branch": "%s",
  "owner": "%s",
  "repo": "%s",
  "rev": "%s",
  "sha256": "%s",
  "type": "tarball",
  "url": "%s",
  "url_template": "%s"
}`, p.Channel, owner, repo, rev, hash.Base32(), archive, template)},
		{"npins: npins/sources.json, version 6 and newer", fmt.Sprintf(`"nixpkgs": {
  "type": "Git",
  "repository": { "type": "GitHub", "owner": "%s", "repo": "%s" },
  "branch": "%s",
  "submodules": false,
  "revision": "%s",
  "url": "%s",
  "hash": "%s"
}`, owner, repo, p.Channel, rev, archive, hash.SRI())},
	}
}
