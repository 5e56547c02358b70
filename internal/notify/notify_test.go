package notify

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/fetch"
)

var at = time.Date(2026, 11, 20, 17, 50, 0, 0, time.FixedZone("", 3600))

var (
	published = Event{
		Event: Published, Channel: "nixos-26.05", ImageName: "base", Rev: "0123456789abcdef0123456789abcdef01234567", Reason: "new commit",
		Images: []Image{{"ghcr.io/org/nixpkgs-nixos-26.05:0123", "sha256:aa"}, {"docker.io/org/nixpkgs-nixos-26.05:0123", "sha256:aa"}},
		Time:   at,
	}
	failed = Event{Event: Failed, Channel: "nixos-unstable", Reason: "new commit", Error: "toolset: \xff<attic>", Count: 3, Time: at}
)

// receiver is a webhook's server.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	heads  []http.Header
	paths  []string
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.bodies = append(r.bodies, string(body))
		r.heads = append(r.heads, req.Header)
		r.paths = append(r.paths, req.Method+" "+req.URL.RequestURI())
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(r.Close)
	return r
}

func newHooks(t *testing.T, o fetch.Options, hooks ...Hook) *Webhooks {
	t.Helper()
	w, err := New(hooks, o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestSend(t *testing.T) {
	r := newReceiver(t)
	w := newHooks(t, fetch.Options{UserAgent: "factory/1"}, Hook{URL: " " + strings.Replace(r.URL, "//", "//user:pass@", 1) + "/T0/B0?key=x\n"})
	if err := w.Send(t.Context(), published, failed); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"event":"published","channel":"nixos-26.05","imageName":"base","rev":"0123456789abcdef0123456789abcdef01234567","reason":"new commit",` +
			`"images":[{"image":"ghcr.io/org/nixpkgs-nixos-26.05:0123","digest":"sha256:aa"},{"image":"docker.io/org/nixpkgs-nixos-26.05:0123","digest":"sha256:aa"}],` +
			`"time":"2026-11-20T16:50:00Z"}`,
		`{"event":"failed","channel":"nixos-unstable","imageName":"","rev":"","reason":"new commit","images":[],"error":"toolset: �\u003cattic\u003e","count":3,"time":"2026-11-20T16:50:00Z"}`,
	}
	if diff := cmp.Diff(want, r.bodies); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"POST /T0/B0?key=x", "POST /T0/B0?key=x"}, r.paths); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{"Content-Type": "application/json", "User-Agent": "factory/1", "Authorization": "Basic dXNlcjpwYXNz"} {
		if got := r.heads[0].Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestWhoWantsWhat(t *testing.T) {
	tests := []struct {
		name string
		on   []string
		want int
	}{
		{"all by default", nil, 2},
		{"both", []string{Published, Failed}, 2},
		{"published", []string{Published}, 1},
		{"failed", []string{Failed}, 1},
		{"nothing", []string{}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newReceiver(t)
			if err := newHooks(t, fetch.Options{}, Hook{URL: r.URL, On: tt.on}).Send(t.Context(), published, failed); err != nil {
				t.Fatal(err)
			}
			if len(r.bodies) != tt.want || tt.want == 1 && !strings.Contains(r.bodies[0], `"event":"`+tt.on[0]) {
				t.Errorf("got %q, want %d of %v", r.bodies, tt.want, tt.on)
			}
		})
	}
}

func TestNothingToDo(t *testing.T) {
	r := newReceiver(t)
	if err := newHooks(t, fetch.Options{}).Send(t.Context(), published); err != nil {
		t.Errorf("no hooks: %v", err)
	}
	if err := newHooks(t, fetch.Options{}, Hook{URL: r.URL}).Send(t.Context()); err != nil || len(r.bodies) != 0 {
		t.Errorf("no events: %v, %d requests", err, len(r.bodies))
	}
}

func TestLongError(t *testing.T) {
	r := newReceiver(t)
	long := failed
	long.Error = "x" + strings.Repeat("é", 1<<20)
	if err := newHooks(t, fetch.Options{}, Hook{URL: r.URL}).Send(t.Context(), long); err != nil {
		t.Fatal(err)
	}
	body := r.bodies[0]
	if len(body) > 5000 || !strings.Contains(body, `é…"`) || strings.Contains(body, "\ufffd") || !utf8.ValidString(body) {
		t.Errorf("%d bytes: %.100q…", len(body), body)
	}
}

// What cannot be said in JSON is not sent.
func TestNoJSON(t *testing.T) {
	r := newReceiver(t)
	late := published
	late.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	err := newHooks(t, fetch.Options{}, Hook{URL: r.URL + "/S3CRET"}).Send(t.Context(), late)
	if err == nil || !strings.HasPrefix(err.Error(), "POST "+r.URL+": json: ") || len(r.bodies) != 0 {
		t.Errorf("Send = %v after %d requests", err, len(r.bodies))
	}
}

func TestNew(t *testing.T) {
	const secret = "S3CRET"
	tests := []struct {
		name string
		hook Hook
		want string // without what is wanted; "": no error
	}{
		{"https", Hook{URL: "https://hooks.example.com/" + secret}, ""},
		{"http with port", Hook{URL: "http://10.0.0.1:8080"}, ""},
		{"line feed", Hook{URL: "https://hooks.example.com/x\n"}, ""},
		{"empty", Hook{Name: "FACTORY_WEBHOOK_URL", URL: " \n"}, "FACTORY_WEBHOOK_URL: empty"},
		{"without a name", Hook{}, "webhook: empty"},
		{"escape", Hook{Name: "A", URL: "https://h/%zz" + secret}, "A: not a URL"},
		{"control character", Hook{Name: "A", URL: "https://h/\x01" + secret}, "A: not a URL"},
		{"line feed within", Hook{Name: "A", URL: "https://h/\r\n" + secret}, "A: not a URL"},
		{"port", Hook{Name: "A", URL: "https://h:" + secret + "/"}, "A: not a URL"},
		{"scheme", Hook{Name: "A", URL: "ftp://h/" + secret}, "A: neither http nor https"},
		{"token alone", Hook{Name: "A", URL: secret}, "A: neither http nor https"},
		{"no host", Hook{Name: "A", URL: "https:///" + secret}, "A: no host"},
		{"port without host", Hook{Name: "A", URL: "https://:443/" + secret}, "A: no host"},
		{"event", Hook{Name: "A", URL: "https://h/" + secret, On: []string{"build"}}, `A: unknown event "build"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, err := New([]Hook{tt.hook}, fetch.Options{})
			if tt.want == "" {
				if err != nil || w == nil {
					t.Errorf("New = %v, %v", w, err)
				}
				return
			}
			want := tt.want + " (want an address such as https://HOST/PATH)"
			if err == nil || err.Error() != want || strings.Contains(err.Error(), secret) {
				t.Errorf("New = %v, want %s", err, want)
			}
		})
	}
}

// All that is wrong is said at once.
func TestNewReportsEach(t *testing.T) {
	_, err := New([]Hook{{Name: "A"}, {Name: "B", URL: "https://h"}, {Name: "C", URL: "x"}}, fetch.Options{})
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) || len(joined.Unwrap()) != 2 {
		t.Errorf("New = %v, want two errors", err)
	}
}

// An event names so many packages that every receiver bears it, and says that there
// are more. What it was made of stays as it is.
func TestManyPackages(t *testing.T) {
	c := &Changed{Systems: []System{{System: "x86_64-linux", Packages: make([]Change, maxPackages+7)}, {System: "aarch64-linux"}}}
	body, err := encode(Event{Event: Published, Changed: c})
	if err != nil {
		t.Fatal(err)
	}
	var got Event
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if s := got.Changed.Systems[0]; len(s.Packages) != maxPackages || s.More != 7 || got.Changed.Systems[1].More != 0 || len(c.Systems[0].Packages) != maxPackages+7 {
		t.Errorf("%d packages and %d more, of %d", len(s.Packages), s.More, len(c.Systems[0].Packages))
	}
}
