package registry

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	fake "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// asked notes the requests that a registry in this process gets.
type asked struct {
	mu   sync.Mutex
	list []string
}

func (a *asked) serve(t *testing.T, inner http.Handler) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.list = append(a.list, r.Method+" "+r.URL.Path)
		a.mu.Unlock()
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// take returns the requests since it was called the last time.
func (a *asked) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.list
	a.list = nil
	return list
}

// Whatever kind of place it is, what refers to an image is found, and is sent once.
func TestReferrers(t *testing.T) {
	lists := fake.New(fake.Logger(log.New(io.Discard, "", 0)), fake.WithReferrersSupport(true))
	places := map[string]func(t *testing.T) (Repository, bool){
		"layout": func(t *testing.T) (Repository, bool) {
			return Layout(filepath.Join(t.TempDir(), "registry"), "app"), true
		},
		"docker-registry, which has no list": func(t *testing.T) (Repository, bool) {
			return remoteAt(t, registrytest.Start(t, registrytest.Options{})+"/org/app", nil), true
		},
		"registry with a list": func(t *testing.T) (Repository, bool) {
			return remoteAt(t, new(asked).serve(t, lists)+"/org/app", nil), false
		},
	}
	for place, open := range places {
		t.Run(place, func(t *testing.T) {
			repo, byTag := open(t)
			refer(t, repo, byTag)
		})
	}
}

func refer(t *testing.T, repo Repository, byTag bool) {
	index := randomIndex(t)
	subject, err := partial.Descriptor(index)
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.Push(t.Context(), index); err != nil {
		t.Fatal(err)
	}
	if list, err := repo.Referrers(t.Context(), subject.Digest); err != nil || len(list) > 0 {
		t.Fatalf("Referrers() = %v, %v before there is one", list, err)
	}
	bill := Artifact{Type: "application/spdx+json", Content: []byte(`{"spdxVersion":"SPDX-2.3"}`)}
	origin := Artifact{Type: "application/vnd.in-toto+json", Content: []byte(`{"_type":"x"}`), Annotations: map[string]string{"predicate": "https://slsa.dev/provenance/v1"}}
	for _, step := range []struct {
		artifacts []Artifact
		sent      int
		types     []string
	}{
		{[]Artifact{bill}, 1, []string{bill.Type}},
		{[]Artifact{bill}, 0, []string{bill.Type}},
		{[]Artifact{bill, origin}, 1, []string{bill.Type, origin.Type}},
		{[]Artifact{origin, bill}, 0, []string{bill.Type, origin.Type}},
	} {
		if sent, err := repo.Attach(t.Context(), *subject, step.artifacts...); err != nil || sent != step.sent {
			t.Fatalf("Attach() = %d, %v, want %d", sent, err, step.sent)
		}
		list, err := repo.Referrers(t.Context(), subject.Digest)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, desc := range list {
			kind := kindOf(t, repo, desc, *subject)
			if kinds = append(kinds, kind); byTag && desc.ArtifactType != kind { // the library's registry says the configuration's
				t.Errorf("listed as %q, and is %q", desc.ArtifactType, kind)
			}
		}
		slices.Sort(kinds)
		slices.Sort(step.types)
		if !slices.Equal(kinds, step.types) {
			t.Errorf("the referrers are %v, want %v", kinds, step.types)
		}
	}
	if _, err := repo.Digest(t.Context(), ReferrersTag(subject.Digest)); (err == nil) != byTag {
		t.Errorf("the tag with the list: %v, want it there: %v", err, byTag)
	}
}

// kindOf reads the type of a referrer. It has to be there with all that it names, and
// name its subject.
func kindOf(t *testing.T, repo Repository, desc, subject v1.Descriptor) string {
	t.Helper()
	if missing, err := repo.Missing(t.Context(), desc.Digest); err != nil || len(missing) > 0 {
		t.Errorf("of %s there is missing %v, %v", desc.ArtifactType, missing, err)
	}
	img, err := repo.Image(t.Context(), desc.Digest)
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject == nil || m.Subject.Digest != subject.Digest || m.Config.MediaType != "application/vnd.oci.empty.v1+json" {
		t.Errorf("the manifest says %+v", m)
	}
	return m.ArtifactType
}

// A registry that keeps the list is asked once where nothing is to be sent, and has
// no tag set.
func TestAttachAgainAsksOnce(t *testing.T) {
	seen := new(asked)
	repo := remoteAt(t, seen.serve(t, fake.New(fake.Logger(log.New(io.Discard, "", 0)), fake.WithReferrersSupport(true)))+"/app", nil)
	index := randomIndex(t)
	subject, err := partial.Descriptor(index)
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.Push(t.Context(), index); err != nil {
		t.Fatal(err)
	}
	a := Artifact{Type: "a/b", Content: []byte("c")}
	if _, err := repo.Attach(t.Context(), *subject, a); err != nil {
		t.Fatal(err)
	}
	seen.take()
	if _, err := repo.Attach(t.Context(), *subject, a); err != nil {
		t.Fatal(err)
	}
	if got, want := seen.take(), []string{"GET /v2/app/referrers/" + subject.Digest.String()}; !slices.Equal(got, want) {
		t.Errorf("asked %v, want %v", got, want)
	}
}

// Many that add to the list of a layout at once lose nothing.
func TestAttachAtOnce(t *testing.T) {
	dir := t.TempDir()
	subject := v1.Descriptor{MediaType: types.OCIImageIndex, Digest: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}, Size: 1}
	var group sync.WaitGroup
	const many = 8
	for i := range many {
		group.Go(func() {
			a := Artifact{Type: "a/b", Content: fmt.Append(nil, i)}
			if _, err := Layout(dir, "app").Attach(t.Context(), subject, a); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if list, err := Layout(dir, "app").Referrers(t.Context(), subject.Digest); err != nil || len(list) != many {
		t.Errorf("%d referrers, %v, want %d", len(list), err, many)
	}
}

// Lists of registries that are not what they should be.
func TestOddLists(t *testing.T) {
	one := fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,"digest":"sha256:%064d"}`, 1)
	index := func(entries string) string {
		return `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + entries + `]}`
	}
	var entries []string // as many as a part of a list may have
	for i := range 40_000 {
		entries = append(entries, fmt.Sprintf(`{"digest":"sha256:%064d"}`, i))
	}
	long := strings.Join(entries, ",")
	const kind = string(types.OCIImageIndex)
	for name, tt := range map[string]struct {
		status     int
		kind, link string
		body       string
		want       int
		err        string
	}{
		"twice the same":      {200, kind, "", index(one + "," + one), 1, ""},
		"goes on, for ever":   {200, kind, `</v2/app/referrers/x>; rel="next"`, index(one), 0, "more than 100 parts"},
		"lists without end":   {200, kind, `</v2/app/referrers/x>; rel="next"`, index(long), 0, "more than 100000 entries"},
		"goes on elsewhere":   {200, kind, `<http://example.org/v2/app/referrers/x>; rel="next"`, index(one), 0, "not of"},
		"another link":        {200, kind, `</docs>; rel="help"`, index(one), 1, ""},
		"a page for people":   {200, "text/html", "", "<html>", 0, ""},
		"not JSON":            {200, kind, "", "{", 0, "list of referrers"},
		"too long":            {200, kind, "", index(one) + strings.Repeat(" ", maxReferrers), 0, "longer than"},
		"may not be asked":    {403, "text/plain", "", "", 0, ""},
		"not known":           {404, "text/plain", "", "", 0, ""},
		"out of order":        {507, "text/plain", "", "", 0, "507"},
		"a type that is none": {200, kind + "; charset=utf-8", "", index(one), 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			repo := remoteAt(t, new(asked).serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.Contains(r.URL.Path, "/referrers/") {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				w.Header().Set("Content-Type", tt.kind)
				w.Header().Set("Link", tt.link)
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			}))+"/app", nil)
			list, err := repo.Referrers(t.Context(), v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)})
			if len(list) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Referrers() = %v, %v, want %d and %q", list, err, tt.want, tt.err)
			}
		})
	}
}

func FuzzParseReferrers(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"a","size":1,"digest":"sha256:` + strings.Repeat("0", 64) + `","artifactType":"b"}]}`))
	f.Add([]byte(`{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{},null]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := ParseReferrers(raw)
		if err != nil {
			return
		}
		seen := map[v1.Hash]bool{}
		for _, desc := range list {
			if seen[desc.Digest] || desc.Digest.Hex == "" {
				t.Errorf("%s: twice, or no digest", desc.Digest)
			}
			seen[desc.Digest] = true
		}
		m, err := referrersIndex(list)
		if err != nil {
			t.Fatal(err)
		}
		written, err := m.RawManifest()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseReferrers(written)
		if a, b := asJSON(t, list), asJSON(t, again); err != nil || a != b {
			t.Errorf("%s was written and read as %s, %v", a, b, err)
		}
	})
}

func asJSON(t *testing.T, v []v1.Descriptor) string {
	t.Helper()
	data, err := json.Marshal(append([]v1.Descriptor{}, v...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
