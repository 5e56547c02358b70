// Package page turns what is on record of channels and their images into a small
// web site: an overview, a page and an Atom feed for each channel, and a file for
// programs. It reads no file, clock or network: the same Data gives the same bytes.
//
//	index.html
//	channels/nixos-26.05.html
//	channels/nixos-26.05.atom
//	channels.json, channels.schema.json
//	style.css, page.js, icon.svg
//
// All links between the files are relative, so they can be put anywhere. The pages
// are whole without JavaScript, ask nobody but the server that they come from, and
// hold what others said only as text: html/template and encoding/xml escape it.
package page

import (
	"bytes"
	"cmp"
	_ "embed"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/record"
)

// Data is what the pages are made of.
type Data struct {
	Now          time.Time
	Config       config.Config
	Heads        map[string]*heads.Head // by channel; none where it was never seen
	Gone         map[string]time.Time   // since when upstream has no branch of a channel
	Publications []record.Publication
	Failures     []record.Failure
	History      []record.Event // the newest first
	Contents     map[v1.Hash]image.Contents
}

// Options say where the pages and the images are found.
type Options struct {
	URL      string // of index.html's folder, with a slash at the end; "" where that is not known
	Registry string // under which images of a layout can be pulled; "" if nothing serves them
}

// File is one of the files, by its path with slashes.
type File struct {
	Name    string
	Content []byte
}

// Policy is the Content-Security-Policy of the pages but for what only a header can
// say. Nothing is loaded but the site's own style, script and icon.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

var (
	//go:embed assets/style.css
	style []byte
	//go:embed assets/page.js
	script []byte
	//go:embed assets/icon.svg
	icon []byte
	//go:embed assets/channels.schema.json
	schema []byte
)

// Make makes all files, sorted by name.
func Make(d Data, o Options) ([]File, error) {
	d.Now = d.Now.UTC().Truncate(time.Second)
	s := d.site(o)
	files := []File{{"style.css", style}, {"page.js", script}, {"icon.svg", icon}, {"channels.schema.json", schema}}
	index, err := render("index", view{Site: s})
	if err != nil {
		return nil, err
	}
	list, err := s.json()
	if err != nil {
		return nil, err
	}
	files = append(files, File{"index.html", index}, File{"channels.json", list})
	for _, ch := range s.Channels {
		content, err := render("channel", view{Site: s, Channel: ch, Root: "../"})
		if err != nil {
			return nil, err
		}
		feed, err := s.feed(ch)
		if err != nil {
			return nil, err
		}
		files = append(files, File{ch.Page(), content}, File{ch.Feed(), feed})
	}
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	return files, nil
}

// view is what a template gets.
type view struct {
	Site    site
	Channel channel // of its page
	Root    string  // from the page to the folder of index.html
}

// Feeds are those that the page is about.
func (v view) Feeds() []channel {
	if v.Channel.Name == "" {
		return v.Site.Channels
	}
	return []channel{v.Channel}
}

func render(name string, v view) ([]byte, error) {
	var b bytes.Buffer
	err := templates.ExecuteTemplate(&b, name, v)
	return b.Bytes(), err
}
