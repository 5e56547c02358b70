package page

import (
	"bytes"
	"crypto/sha1"
	"encoding/xml"
	"fmt"
	"strings"
	"time"
)

// Atom is described by RFC 4287.
type atomFeed struct {
	XMLName   xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
	Lang      string      `xml:"xml:lang,attr"`
	Title     string      `xml:"title"`
	Subtitle  string      `xml:"subtitle"`
	ID        string      `xml:"id"`
	Updated   string      `xml:"updated"`
	Author    atomPerson  `xml:"author"`
	Links     []atomLink  `xml:"link"`
	Generator string      `xml:"generator"`
	Entries   []atomEntry `xml:"entry"`
}

type atomPerson struct {
	Name string `xml:"name"`
}

type atomLink struct {
	Rel  string `xml:"rel,attr"`
	Type string `xml:"type,attr,omitempty"`
	Href string `xml:"href,attr"`
}

type atomEntry struct {
	Title    string       `xml:"title"`
	ID       string       `xml:"id"`
	Updated  string       `xml:"updated"`
	Category atomCategory `xml:"category"`
	Links    []atomLink   `xml:"link"`
	Content  atomText     `xml:"content"`
}

type atomCategory struct {
	Term string `xml:"term,attr"`
}

type atomText struct {
	Type string `xml:"type,attr"`
	Text string `xml:",chardata"`
}

// maxEntries bounds a feed.
const maxEntries = 50

// feed is the Atom feed of a channel. Its ids depend on what happened and not on
// where the feed is, so they stay the same when it moves.
func (s site) feed(c channel) ([]byte, error) {
	name := strings.TrimSpace(c.Name + " " + s.Identity)
	f := atomFeed{
		Lang: "en", Title: c.Name, Subtitle: "Base images of the NixOS channel " + c.Name,
		ID: identify("channel", name), Author: atomPerson{"factory"}, Generator: "factory",
		Links: []atomLink{
			{"self", "application/atom+xml", s.address(c, ".atom")},
			{"alternate", "text/html", s.address(c, ".html")},
		},
	}
	updated := s.Now
	if c.Head != nil && !c.Head.Since.IsZero() {
		updated = c.Head.Since // until there is an entry, nothing else has changed
	}
	if len(c.Events) > 0 {
		updated = c.Events[0].Time
	}
	f.Updated = updated.UTC().Format(time.RFC3339)
	for _, e := range c.Events[:min(len(c.Events), maxEntries)] {
		f.Entries = append(f.Entries, s.entry(c, name, e))
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	enc := xml.NewEncoder(&b)
	enc.Indent("", "  ")
	if err := enc.Encode(f); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// address is that of a channel's file: relative to its feed, where nobody said where
// the pages are.
func (s site) address(c channel, ext string) string {
	if s.URL == "" {
		return c.Name + ext
	}
	return s.URL + "channels/" + c.Name + ext
}

func (s site) entry(c channel, feed string, e event) atomEntry {
	what := strings.TrimSpace(c.Name + " " + e.ImageName)
	entry := atomEntry{Updated: e.Time.UTC().Format(time.RFC3339), Category: atomCategory{"published"}}
	if e.Error != "" {
		entry.ID = identify(feed, "failed", e.ImageName, e.Rev.String())
		entry.Category.Term = "failed"
		entry.Title = fmt.Sprintf("%s: %s could not be published", what, s.commit(e))
		entry.Content = atomText{"text", fmt.Sprintf("Failed %s: %s", times(e.Count), e.Error)}
	} else {
		entry.ID = identify(feed, "published", e.ImageName, e.Rev.String(), e.Digest.String(), e.Time.UTC().Format(time.RFC3339Nano))
		entry.Title = fmt.Sprintf("%s: %s published", what, s.commit(e))
		entry.Content = atomText{"text", e.text()}
	}
	entry.Links = []atomLink{{"alternate", "text/html", s.address(c, ".html")}}
	if !e.Rev.IsZero() {
		entry.Links = append(entry.Links, atomLink{"related", "text/html", s.commitURL(e.Rev.String())})
	}
	return entry
}

func (s site) commit(e event) string {
	if e.Rev.IsZero() {
		return "the channel"
	}
	return e.Rev.Short(12)
}

// text says what was published, where and how late.
func (e event) text() string {
	var b strings.Builder
	for _, image := range e.Images {
		fmt.Fprintf(&b, "%s@%s\n", image, e.Digest)
	}
	if e.Reason != "" {
		fmt.Fprintf(&b, "Reason: %s\n", e.Reason)
	}
	if e.HasLag {
		fmt.Fprintf(&b, "Lag: %s after the channel's move\n", span(e.Lag))
	}
	return b.String()
}

// identify makes a URN of what something is: a UUID of version 5 (RFC 9562,
// section 5.5), in the namespace of URLs.
func identify(parts ...string) string {
	namespace := []byte{0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}
	sum := sha1.Sum(append(namespace, "https://github.com/nixpkgs-factory/factory#"+strings.Join(parts, "\x00")...))
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
