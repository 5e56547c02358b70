package page

import (
	"encoding/json"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/image"
)

// Schema is the version of channels.json. Within one, keys are added and none is
// removed or means something else; assets/channels.schema.json describes them.
const Schema = 1

type listJSON struct {
	Schema    int           `json:"schema"`
	Generated time.Time     `json:"generated"`
	Channels  []channelJSON `json:"channels"`
}

type channelJSON struct {
	Name      string      `json:"name"`
	State     State       `json:"state"`
	Page      string      `json:"page"` // relative to this file, as is feed
	Feed      string      `json:"feed"`
	Head      *headJSON   `json:"head"`
	GoneSince *time.Time  `json:"goneSince"`
	Images    []imageJSON `json:"images"`
}

type headJSON struct {
	Rev   git.Rev    `json:"rev"`
	Date  time.Time  `json:"date"`
	Since *time.Time `json:"since"`
}

type imageJSON struct {
	Name      string         `json:"name"`
	State     State          `json:"state"`
	Lag       *int64         `json:"lag"` // seconds
	Published *publishedJSON `json:"published"`
	Changes   []changeJSON   `json:"changes"`
	Failures  []failureJSON  `json:"failures"`
	History   []eventJSON    `json:"history"`
}

type publishedJSON struct {
	Rev        git.Rev               `json:"rev"`
	Digest     v1.Hash               `json:"digest"`
	References []string              `json:"references"`
	Version    string                `json:"version,omitempty"`
	Time       *time.Time            `json:"time"`
	Nix        string                `json:"nix,omitempty"`
	Sha256     string                `json:"sha256,omitempty"`
	NarHash    string                `json:"narHash,omitempty"`
	Date       *time.Time            `json:"date,omitempty"`
	Systems    []image.SystemContent `json:"systems"`
}

type changeJSON struct {
	Tool string `json:"tool"`
	From string `json:"from"`
	To   string `json:"to"`
}

type failureJSON struct {
	Rev   string     `json:"rev"`
	Error string     `json:"error"`
	Count int        `json:"count"`
	Time  time.Time  `json:"time"`
	Next  *time.Time `json:"next"`
}

type eventJSON struct {
	Time       time.Time `json:"time"`
	Rev        string    `json:"rev"`
	Digest     string    `json:"digest,omitempty"`
	References []string  `json:"references,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Lag        *int64    `json:"lag"`
	Fetched    int64     `json:"fetched"`
	Pushed     int64     `json:"pushed"`
	Error      string    `json:"error,omitempty"`
	Count      int       `json:"count,omitempty"`
}

// json is channels.json.
func (s site) json() ([]byte, error) {
	list := listJSON{Schema: Schema, Generated: s.Now, Channels: []channelJSON{}}
	for _, c := range s.Channels {
		list.Channels = append(list.Channels, c.json())
	}
	data, err := json.MarshalIndent(list, "", "  ")
	return append(data, '\n'), err
}

func (c channel) json() channelJSON {
	j := channelJSON{Name: c.Name, State: c.State, Page: c.Page(), Feed: c.Feed(), GoneSince: moment(c.Gone), Images: []imageJSON{}}
	if c.Head != nil {
		j.Head = &headJSON{Rev: c.Head.Rev, Date: c.Head.Date.UTC(), Since: moment(c.Head.Since)}
	}
	for _, p := range c.Images {
		j.Images = append(j.Images, p.json())
	}
	return j
}

func (p published) json() imageJSON {
	j := imageJSON{
		Name: p.Name, State: p.State, Lag: seconds(p.Lag, p.HasLag), Published: p.place(),
		Changes: []changeJSON{}, Failures: []failureJSON{}, History: []eventJSON{},
	}
	for _, c := range p.Changes {
		j.Changes = append(j.Changes, changeJSON{c.Name, c.From, c.To})
	}
	for _, f := range p.Failures {
		j.Failures = append(j.Failures, failureJSON{f.Rev.String(), f.Error, f.Count, f.Time.UTC(), moment(f.Next)})
	}
	for _, e := range p.Events {
		next := eventJSON{
			Time: e.Time.UTC(), Rev: e.Rev.String(), References: e.Images, Reason: e.Reason,
			Lag: seconds(e.Lag, e.HasLag), Fetched: e.Moved.Fetched, Pushed: e.Moved.Pushed, Error: e.Error, Count: e.Count,
		}
		if e.Error == "" {
			next.Digest = e.Digest.String()
		}
		j.History = append(j.History, next)
	}
	return j
}

// place is what is published of an image, and where.
func (p published) place() *publishedJSON {
	if p.Publication == nil {
		return nil
	}
	j := &publishedJSON{
		Rev: p.Publication.Rev, Digest: p.Publication.Digest, References: []string{}, Version: p.Publication.Version,
		Time: moment(p.Publication.Time), Nix: p.Publication.Nix, Systems: []image.SystemContent{},
	}
	for _, pl := range p.Places {
		j.References = append(j.References, pl.Ref)
	}
	if c := p.Contents; c != nil {
		j.Systems = append(j.Systems, c.Systems...)
		if !c.NarHash.IsZero() {
			j.Sha256, j.NarHash, j.Date = c.NarHash.Base32(), c.NarHash.SRI(), moment(c.Date)
		}
	}
	return j
}

// moment is a time in UTC, nil where it is not known.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func seconds(d time.Duration, known bool) *int64 {
	if !known {
		return nil
	}
	n := int64(d / time.Second)
	return &n
}
