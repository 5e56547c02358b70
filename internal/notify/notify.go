// Package notify tells webhooks what became of a channel's images: an event is
// sent as JSON by POST, to each webhook that wants it.
//
// The address of a webhook is a secret, for who has it can post to it. No error
// shows more of one than scheme and host, and nothing is sent anywhere else, as
// a redirect might want.
//
// Delivery is at least once: when an answer is lost, the event comes again.
//
// Where there is a secret, SignatureHeader of each request is Sign of its body.
package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// Kinds of events.
const (
	Published = "published" // images of a commit are in place
	Failed    = "failed"    // a try to publish a channel's head failed
)

// Event is what a webhook receives.
type Event struct {
	Event     string    `json:"event"` // Published or Failed
	Channel   string    `json:"channel"`
	ImageName string    `json:"imageName"` // "" for what concerns every image of the channel
	Rev       string    `json:"rev"`       // full; "" when the head is not known
	Reason    string    `json:"reason"`    // why it was to be built
	Images    []Image   `json:"images"`    // what was published, one for each destination
	Error     string    `json:"error,omitempty"`
	Count     int       `json:"count,omitempty"` // tries of this commit that failed in a row
	Changed   *Changed  `json:"changed,omitempty"`
	Time      time.Time `json:"time"`
}

// Changed is what an image that was published has beside the one before it.
type Changed struct {
	From    Image    `json:"from"` // by its digest
	Rev     string   `json:"rev,omitempty"`
	Systems []System `json:"systems"`
}

// System is what changed for one system. Sizes are compressed bytes; Download are
// those that somebody downloads who has the image before.
type System struct {
	System     string   `json:"system"`
	SizeBefore int64    `json:"sizeBefore"`
	Size       int64    `json:"size"`
	Download   int64    `json:"download"`
	Tools      []Change `json:"tools"`
	Packages   []Change `json:"packages"`
	More       int      `json:"more,omitempty"` // packages that are not named
}

// Change is a package that was added, removed or updated, with its versions.
type Change struct {
	Name   string   `json:"name"`
	Change string   `json:"change"`
	From   []string `json:"from"`
	To     []string `json:"to"`
}

// maxPackages is how many packages of a system an event names.
const maxPackages = 200

// brief is what changed, in a number of packages that every receiver bears.
func (c *Changed) brief() *Changed {
	if c == nil {
		return nil
	}
	short := *c
	short.Systems = slices.Clone(c.Systems)
	for i, s := range short.Systems {
		if more := len(s.Packages) - maxPackages; more > 0 {
			short.Systems[i].Packages, short.Systems[i].More = s.Packages[:maxPackages], more
		}
	}
	return &short
}

// Image is one in a registry.
type Image struct {
	Image  string `json:"image"` // repository:tag
	Digest string `json:"digest"`
}

// Hook is a webhook.
type Hook struct {
	Name   string   // for errors, such as the variable that the address came from; may be ""
	URL    string   // http or https
	Secret string   // events are signed with it; "": they are not
	On     []string // the kinds of events that it wants; nil: all
}

// Webhooks are addresses that want to know. They may be used by many goroutines.
type Webhooks struct {
	hooks  []hook
	client *fetch.Client
}

// hook is a checked one.
type hook struct {
	Hook
	place string // scheme and host, which may be shown
}

// patience is what one call of Send has for a webhook: no try begins after it.
const patience = 2 * time.Minute

// New checks addresses. Its errors name the hook and say nothing of its address.
// What o leaves out is 4 tries, the second one after 1 s, and 10 s for an answer.
func New(hooks []Hook, o fetch.Options) (*Webhooks, error) {
	o.Attempts, o.Delay = cmp.Or(o.Attempts, 4), cmp.Or(o.Delay, time.Second)
	o.Stall, o.Answer = cmp.Or(o.Stall, 10*time.Second), cmp.Or(o.Answer, 10*time.Second)
	w := &Webhooks{client: fetch.New(o)}
	var errs []error
	for _, h := range hooks {
		checked, err := check(h)
		w.hooks, errs = append(w.hooks, checked), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return w, nil
}

func check(h Hook) (hook, error) {
	h.URL = strings.TrimSpace(h.URL) // files that hold secrets end in a line feed
	u, err := url.Parse(h.URL)
	unknown := slices.IndexFunc(h.On, func(kind string) bool { return kind != Published && kind != Failed })
	var reason string
	switch {
	case h.URL == "":
		reason = "empty"
	case err != nil: // its text repeats the address
		reason = "not a URL"
	case u.Scheme != "http" && u.Scheme != "https":
		reason = "neither http nor https"
	case u.Hostname() == "":
		reason = "no host"
	case unknown >= 0:
		reason = fmt.Sprintf("unknown event %q", h.On[unknown])
	default:
		return hook{h, u.Scheme + "://" + u.Host}, nil
	}
	return hook{}, fmt.Errorf("%s: %s (want an address such as https://HOST/PATH)", cmp.Or(h.Name, "webhook"), reason)
}

// None tells whether nobody wants to know.
func (w *Webhooks) None() bool { return len(w.hooks) == 0 }

// Send brings events to the webhooks that want them, in order, to all webhooks
// at once. A webhook that fails for another reason than the event itself, or that
// is slow, does not get the events behind it, so that the time this takes is
// bounded whatever their number. Errors are of type *Error, joined.
func (w *Webhooks) Send(ctx context.Context, events ...Event) error {
	errs := make([]error, len(w.hooks))
	var group sync.WaitGroup
	for i, h := range w.hooks {
		group.Go(func() { errs[i] = w.sendTo(ctx, h, events) })
	}
	group.Wait()
	return errors.Join(errs...)
}

func (w *Webhooks) sendTo(ctx context.Context, h hook, events []Event) error {
	events = slices.DeleteFunc(slices.Clone(events), func(e Event) bool { return h.On != nil && !slices.Contains(h.On, e.Event) })
	until := time.Now().Add(patience)
	var errs []error
	for i, e := range events {
		if i > 0 && time.Now().After(until) {
			late := h.fail(fmt.Errorf("took more than %v", patience))
			late.Unsent = len(events) - i
			errs = append(errs, late)
			break
		}
		err := w.deliver(ctx, h, e, until)
		if err == nil {
			continue
		}
		errs = append(errs, err)
		if !err.ofEvent() {
			err.Unsent = len(events) - i - 1
			break
		}
	}
	return errors.Join(errs...)
}

// deliver sends one event, as often as it takes and makes sense. Of an answer the
// status is enough: the text may be endless, and repeat the address.
func (w *Webhooks) deliver(ctx context.Context, h hook, event Event, until time.Time) *Error {
	body, err := encode(event)
	if err != nil {
		return h.fail(err)
	}
	r := fetch.Request{
		Method:  http.MethodPost,
		URL:     h.URL,
		Secret:  true,
		Header:  http.Header{"Content-Type": {"application/json"}},
		Size:    int64(len(body)),
		Body:    fetch.Bytes(body),
		Until:   until,
		Refused: refused,
	}
	if h.Secret != "" {
		r.Header.Set(SignatureHeader, Sign(h.Secret, body))
	}
	var failed *fetch.Error
	if _, err := w.client.Send(ctx, r); errors.As(err, &failed) {
		return &Error{Name: h.Name, Err: failed}
	}
	return nil
}

func refused(answer *http.Response) error {
	if answer.StatusCode/100 == 3 {
		return errors.New("redirects are not followed: set the address that it leads to")
	}
	return nil
}

// maxError bounds the text of an error in an event, in bytes.
const maxError = 2000

// encode makes the body of a request.
func encode(e Event) ([]byte, error) {
	if e.Images == nil {
		e.Images = []Image{}
	}
	e.Error = said.Begin(e.Error, maxError)
	e.Time = e.Time.UTC()
	e.Changed = e.Changed.brief()
	return json.Marshal(e)
}

// Error is an event that a webhook did not take.
type Error struct {
	Name   string       // of the hook; may be ""
	Unsent int          // events behind this one that were not tried
	Err    *fetch.Error // shows scheme and host of the address only
}

// Error says "NAME: POST https://HOST: 503 Service Unavailable (4 attempts)".
func (e *Error) Error() string {
	text := e.Err.Error()
	if e.Name != "" {
		text = e.Name + ": " + text
	}
	if e.Unsent > 0 {
		text += fmt.Sprintf("; %d more not sent", e.Unsent)
	}
	return text
}

// Unwrap returns what became of the request.
func (e *Error) Unwrap() error { return e.Err }

// fail makes an error that no answer led to.
func (h hook) fail(err error) *Error {
	return &Error{Name: h.Name, Err: &fetch.Error{Method: http.MethodPost, URL: h.place, Err: err}}
}

// ofEvent tells whether the event was refused for what it is, so that another one
// may be taken.
func (e *Error) ofEvent() bool {
	return slices.Contains([]int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}, e.Err.Status)
}
