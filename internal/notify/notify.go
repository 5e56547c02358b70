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
	Event   string    `json:"event"` // Published or Failed
	Channel string    `json:"channel"`
	Rev     string    `json:"rev"`    // full; "" when the head is not known
	Reason  string    `json:"reason"` // why it was to be built
	Images  []Image   `json:"images"` // what was published, one for each destination
	Error   string    `json:"error,omitempty"`
	Count   int       `json:"count,omitempty"` // tries of this commit that failed in a row
	Time    time.Time `json:"time"`
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

// Options of Webhooks. The zero value is sensible.
type Options struct {
	HTTP      *http.Client  // nil: one of our own, with the proxy of the environment
	UserAgent string        // "": "nixpkgs-factory"
	Attempts  int           // tries of an event; 0: 4
	Delay     time.Duration // before the second try, then doubled each time; 0: 1 s
	Timeout   time.Duration // for an answer; 0: 10 s
	Patience  time.Duration // for a webhook in one call of Send: no try begins after it; 0: 2 min
}

// Webhooks are addresses that want to know. They may be used by many goroutines.
type Webhooks struct {
	hooks    []hook
	client   *fetch.Client
	patience time.Duration
}

// hook is a checked one.
type hook struct {
	Hook
	place string // scheme and host, which may be shown
}

// New checks addresses. Its errors name the hook and say nothing of its address.
func New(hooks []Hook, o Options) (*Webhooks, error) {
	limit := cmp.Or(o.Timeout, 10*time.Second)
	w := &Webhooks{patience: cmp.Or(o.Patience, 2*time.Minute), client: fetch.New(fetch.Options{
		HTTP:      o.HTTP,
		UserAgent: o.UserAgent,
		Attempts:  cmp.Or(o.Attempts, 4),
		Delay:     cmp.Or(o.Delay, time.Second),
		Limits:    fetch.Limits{Stall: limit, Answer: limit},
	})}
	var errs []error
	for _, h := range hooks {
		checked, err := check(h)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		w.hooks = append(w.hooks, checked)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return w, nil
}

func check(h Hook) (hook, error) {
	bad := func(reason string) (hook, error) {
		name := h.Name
		if name == "" {
			name = "webhook"
		}
		return hook{}, fmt.Errorf("%s: %s (want an address such as https://HOST/PATH)", name, reason)
	}
	h.URL = strings.TrimSpace(h.URL) // files that hold secrets end in a line feed
	if h.URL == "" {
		return bad("empty")
	}
	u, err := url.Parse(h.URL)
	if err != nil { // its text repeats the address
		return bad("not a URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return bad("neither http nor https")
	}
	if u.Hostname() == "" {
		return bad("no host")
	}
	for _, kind := range h.On {
		if kind != Published && kind != Failed {
			return bad(fmt.Sprintf("unknown event %q", kind))
		}
	}
	return hook{Hook: h, place: u.Scheme + "://" + u.Host}, nil
}

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
	deadline := time.Now().Add(w.patience)
	var wanted []Event
	for _, e := range events {
		if h.On == nil || slices.Contains(h.On, e.Event) {
			wanted = append(wanted, e)
		}
	}
	var errs []error
	for i, e := range wanted {
		if i > 0 && time.Now().After(deadline) {
			err := h.fail(fmt.Errorf("took more than %v", w.patience))
			err.Unsent = len(wanted) - i
			return errors.Join(append(errs, err)...)
		}
		err := w.deliver(ctx, h, e, deadline)
		if err == nil {
			continue
		}
		errs = append(errs, err)
		if !err.ofEvent() {
			err.Unsent = len(wanted) - i - 1
			break
		}
	}
	return errors.Join(errs...)
}

// deliver sends one event, as often as it takes and makes sense. Of an answer the
// status is enough: the text may be endless, and repeat the address.
func (w *Webhooks) deliver(ctx context.Context, h hook, event Event, deadline time.Time) *Error {
	body, err := encode(event)
	if err != nil {
		return h.fail(err)
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if h.Secret != "" {
		header.Set(SignatureHeader, Sign(h.Secret, body))
	}
	_, err = w.client.Send(ctx, fetch.Request{
		Method:  http.MethodPost,
		URL:     h.URL,
		Secret:  true,
		Header:  header,
		Size:    int64(len(body)),
		Body:    fetch.Bytes(body),
		Until:   deadline,
		Refused: refused,
	})
	var failed *fetch.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &failed):
		return &Error{Name: h.Name, Err: failed}
	}
	return h.fail(err)
}

func refused(answer *http.Response) error {
	if answer.StatusCode/100 == 3 {
		return errors.New("redirects are not followed: set the address that it leads to")
	}
	return nil
}

// fail makes an error that no answer led to.
func (h hook) fail(err error) *Error {
	return &Error{Name: h.Name, Err: &fetch.Error{Method: http.MethodPost, URL: h.place, Err: err}}
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
	return json.Marshal(e)
}
