package registry

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// What says that a tag is there, but refuses to move it, is told apart from
// what refuses for another reason.
func TestImmutableTags(t *testing.T) {
	for what, refusal := range map[string]struct {
		status        int
		code, message string
	}{
		"ECR":               {400, "TAG_INVALID", "The image tag 'one' already exists in the 'x' repository and cannot be overwritten because the repository is immutable."},
		"a code alone":      {400, "TAG_INVALID", "no"},
		"ECR, older":        {400, "ImageTagAlreadyExistsException", "The image tag exists"},
		"Harbor":            {412, "PRECONDITION", "Failed to process request due to 'x:one' configured as immutable."},
		"GitLab":            {403, "DENIED", "Cannot push to a protected tag"},
		"Artifact Registry": {400, "MANIFEST_INVALID", "cannot update tag one. The repository has enabled tag immutability"},
		"Quay":              {409, "TAG_IMMUTABLE", "tag is immutable"},
		"Azure":             {405, "UNSUPPORTED", "The operation is disallowed on this registry, repository or image."},
		"Nexus":             {400, "UNKNOWN", "Repository does not allow updating assets: x"},
	} {
		t.Run(what, func(t *testing.T) {
			kept, refuses := true, false
			odd := &registrytest.Odd{Before: func(w http.ResponseWriter, r *http.Request, _ int) bool {
				return is(r, "PUT", "/manifests/one") && refuses && registrytest.Refuse(w, refusal.status, refusal.code, refusal.message)
			}}
			r := openAt(t, odd.Serve(t)+"/org/a", Options{})
			old, index := randomIndex(t), randomIndex(t)
			refuses = true
			if err := r.Push(t.Context(), index); err != nil {
				t.Fatal(err)
			}
			var immutable *ImmutableTagError
			if err := r.Tag(t.Context(), index, "one"); err == nil || errors.As(err, &immutable) {
				t.Errorf("a tag that is not there: %v, want another error", err)
			}
			refuses = false
			if err := errors.Join(r.Push(t.Context(), old), r.Tag(t.Context(), old, "one")); err != nil {
				t.Fatal(err)
			}
			refuses = kept
			if err := r.Tag(t.Context(), old, "one"); err != nil {
				t.Errorf("a tag that need not move: %v", err)
			}
			err := r.Tag(t.Context(), index, "one")
			if !errors.As(err, &immutable) || immutable.Now != digestOf(t, old) || immutable.Want != digestOf(t, index) {
				t.Errorf("Tag() = %v, want an ImmutableTagError", err)
			}
		})
	}
	for what, status := range map[string]int{"no rights": 403, "busy": 429} {
		odd := &registrytest.Odd{Before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			return is(r, "PUT", "/manifests/one") && n > 0 && registrytest.Refuse(w, status, "DENIED", "no")
		}}
		r := openAt(t, odd.Serve(t)+"/org/a", Options{})
		old, index := randomIndex(t), randomIndex(t)
		if err := errors.Join(r.Push(t.Context(), old), r.Tag(t.Context(), old, "one"), r.Push(t.Context(), index)); err != nil {
			t.Fatal(err)
		}
		var immutable *ImmutableTagError
		if err := r.Tag(t.Context(), index, "one"); err == nil || errors.As(err, &immutable) {
			t.Errorf("%s: Tag() = %v, want another error", what, err)
		}
	}
}

// A tag that is listed and must not be read is there, whatever else.
func TestForbiddenIsNotAbsent(t *testing.T) {
	for _, status := range []int{400, 401, 403} {
		closed := false
		odd := &registrytest.Odd{Before: func(w http.ResponseWriter, r *http.Request, _ int) bool {
			return closed && strings.Contains(r.URL.Path, "/manifests/") && answer(w, status)
		}}
		r := openAt(t, odd.Serve(t)+"/org/a", Options{})
		index := randomIndex(t)
		if err := errors.Join(r.Push(t.Context(), index), r.Tag(t.Context(), index, "one")); err != nil {
			t.Fatal(err)
		}
		closed = true
		for tag, absent := range map[string]bool{"one": false, "two": true, digestOf(t, index).String(): false} {
			_, asked := r.Digest(t.Context(), tag)
			_, read := r.Index(t.Context(), tag)
			for _, err := range []error{asked, read} {
				if err == nil || errors.Is(err, ErrNotFound) != absent {
					t.Errorf("%d for %s: %v, want ErrNotFound: %t", status, tag, err, absent)
				}
			}
		}
	}
}

// A registry that takes a tag and leaves it where it was is not believed.
func TestTagThatStays(t *testing.T) {
	odd := &registrytest.Odd{Before: func(w http.ResponseWriter, r *http.Request, n int) bool {
		return is(r, "PUT", "/manifests/one") && n > 0 && answer(w, 201)
	}}
	r := openAt(t, odd.Serve(t)+"/org/a", Options{})
	old, index := randomIndex(t), randomIndex(t)
	if err := errors.Join(r.Push(t.Context(), old), r.Tag(t.Context(), old, "one"), r.Push(t.Context(), index)); err != nil {
		t.Fatal(err)
	}
	if err := r.Tag(t.Context(), index, "one"); err == nil || !strings.Contains(err.Error(), digestOf(t, old).String()) {
		t.Errorf("Tag() = %v, want an error that says where the tag leads", err)
	}
}

// A registry that says how long to wait is not asked before.
func TestRetryAfter(t *testing.T) {
	for header, want := range map[string]time.Duration{"7": 7 * time.Second, "3600": 2 * time.Minute, "": time.Second, "soon": time.Second} {
		odd := &registrytest.Odd{Before: func(w http.ResponseWriter, r *http.Request, n int) bool {
			if !is(r, "PUT", "/manifests/one") || n > 0 {
				return false
			}
			w.Header().Set("Retry-After", header)
			return answer(w, 429)
		}}
		w := &waits{}
		r := openAt(t, odd.Serve(t)+"/org/a", Options{Sleep: w.sleep})
		index := randomIndex(t)
		if err := errors.Join(r.Push(t.Context(), index), r.Tag(t.Context(), index, "one")); err != nil {
			t.Fatal(err)
		}
		if len(w.all) != 1 || w.all[0] < want || w.all[0] > want+want/5 {
			t.Errorf("Retry-After %q: waited %v, want about %v", header, w.all, want)
		}
	}
}
