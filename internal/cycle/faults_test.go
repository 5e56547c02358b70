package cycle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/registry"
)

// failsAlone runs a cycle in which the release channel fails and the other one
// is published, or is already, and holds the error against the parts it has to name.
func (w *world) failsAlone(t testing.TB, want ...string) {
	t.Helper()
	rev := w.upstream.Head(release)
	results := w.cycle()
	if got := w.outcome(results); len(got) != 2 || got[0] != release+": failed" || got[1] != unstable+": build (new commit)" && got[1] != unstable+": none (up to date)" {
		t.Fatalf("the cycle ended with %v, want a failure of %s only\n%s", got, release, w.log.text())
	}
	contains(t, "error", results[0].Error, want...)
	if len(results[0].Published) > 0 {
		t.Errorf("published %v, want nothing", results[0].Published)
	}
	for _, tag := range []string{rev, "latest"} {
		if got := w.tag(0, release, tag); got != "" {
			t.Errorf("the tag %s is %s, want none", tag, got)
		}
	}
	if got := w.tag(0, unstable, w.upstream.Head(unstable)); got != results[1].Published[0].Digest.String() {
		t.Errorf("the other channel's tag is %q, want %s", got, results[1].Published[0].Digest.String())
	}
	w.tidy()
}

// recovers runs a cycle without the fault.
func (w *world) recovers() {
	w.t.Helper()
	w.expect(release+": build (new commit)", unstable+": none (up to date)")
}

func TestBadArchives(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile(fixture(t).ArchiveFile(fixture(t).Commit("release-doc").Rev))
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(fixture(t).ArchiveFile(fixture(t).Commit("release-leaf").Rev))
	if err != nil {
		t.Fatal(err)
	}
	send := func(data []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.Write(data) }
	}
	w := newWorld(t, settings{})
	rev := w.upstream.Head(release)
	for _, tc := range []struct {
		name string
		send http.HandlerFunc
		want []string
	}{
		{"truncated", send(good[:len(good)/2]), []string{"truncated"}},
		{"cut off each time", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(good)))
			w.Write(good[:len(good)/2])
		}, []string{"cut off after"}},
		{"too large", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2147483648")
			w.Write(good)
		}, []string{"too large"}},
		{"a file larger than all that is allowed", send(archiveOf(tar.Header{Name: "n/huge", Typeflag: tar.TypeReg, Size: 5 << 30, Mode: 0o644})), []string{"n/huge", "limit"}},
		{"member ..", send(archiveOf(tar.Header{Name: "n/../../evil", Typeflag: tar.TypeReg, Mode: 0o644})), []string{"n/../../evil"}},
		{"absolute member", send(archiveOf(tar.Header{Name: "/etc/evil", Typeflag: tar.TypeReg, Mode: 0o644})), []string{"/etc/evil"}},
		{"member below a link", send(archiveOf(
			tar.Header{Name: "n/dir", Typeflag: tar.TypeSymlink, Linkname: "/etc", Mode: 0o777},
			tar.Header{Name: "n/dir/evil", Typeflag: tar.TypeReg, Mode: 0o644})), []string{"n/dir/evil"}},
		{"device", send(archiveOf(tar.Header{Name: "n/null", Typeflag: tar.TypeChar, Mode: 0o666})), []string{"n/null"}},
		{"another commit's tree", send(other), []string{"git tree", fixture(t).Commit("release-doc").Tree, fixture(t).Commit("release-leaf").Tree}},
		{"one bit wrong", send(flip(good, len(good)/2)), nil},
		{"no archive", send([]byte("<html>Something went wrong</html>")), []string{"gzip"}},
		{"nothing", send(nil), nil},
		{"not found", http.NotFound, []string{"404"}},
		{"refused", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, []string{"503", "attempts"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			defer w.upstream.Handle(func(rw http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/codeload/") || !strings.HasSuffix(r.URL.Path, rev) {
					return false
				}
				tc.send(rw, r)
				return true
			})()
			w.failsAlone(t, append(tc.want, "/archive/"+rev+".tar.gz")...)
		})
	}
	w.recovers()
}

// archiveOf packs a folder n with one good file, and then the given members.
func archiveOf(members ...tar.Header) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	a := tar.NewWriter(z)
	for _, h := range append([]tar.Header{{Name: "n/", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "n/a", Typeflag: tar.TypeReg, Mode: 0o644}}, members...) {
		if err := a.WriteHeader(&h); err != nil {
			panic(err)
		}
	}
	a.Close() // not for the huge file, whose content is missing
	z.Close()
	return b.Bytes()
}

func flip(data []byte, at int) []byte {
	data = bytes.Clone(data)
	data[at] ^= 0x10
	return data
}

// An archive that breaks off once is taken up where it broke off or read again.
func TestArchiveBreaksOffOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	broken := w.once(func(path string) bool { return strings.HasPrefix(path, "/codeload/") }, func(rw http.ResponseWriter, _ *http.Request, data []byte) {
		rw.Write(data[:len(data)/2])
		http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	})
	w.expect(release + ": build (new commit)")
	if !broken() {
		t.Error("nothing broke off")
	}
}

// The API's faults are the channel's own.
func TestBadHeads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	for _, tc := range []struct {
		name string
		send http.HandlerFunc
		want []string
	}{
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, []string{"500"}},
		{"no JSON", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, nil},
		{"another branch", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"name": "master", "commit": {"sha": %q}}`, strings.Repeat("a", 40))
		}, []string{"master"}},
		{"a short revision", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"name": %q, "commit": {"sha": "abcdef"}}`, release)
		}, []string{"abcdef"}},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"name": `)
		}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			defer w.upstream.Handle(func(rw http.ResponseWriter, r *http.Request) bool {
				if path.Base(r.URL.Path) != release {
					return false
				}
				tc.send(rw, r)
				return true
			})()
			w.failsAlone(t, append(tc.want, "branches/"+release)...)
		})
	}
	w.recovers()
}

// A head that moves while its image is made does no harm: the image is that of
// the commit it was begun for.
func TestHeadMovesDuringTheBuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	old := w.upstream.Head(release)
	remove := w.upstream.Handle(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/codeload/") {
			w.upstream.SetHead(release, w.fixture.Commit("release-leaf").Rev)
		}
		return false
	})
	results := w.expect(release + ": build (new commit)")
	remove()
	if results[0].Rev.String() != old || w.tag(0, release, old) != results[0].Published[0].Digest.String() {
		t.Errorf("published %+v, want the image of %s", results[0], old)
	}
	if got := w.tag(0, release, "latest"); got != "" {
		t.Errorf("latest moved to %s, which was not the head any more", got)
	}
	results = w.expect(release + ": build (new commit)")
	if results[0].Rev.String() == old || w.tag(0, release, "latest") != results[0].Published[0].Digest.String() {
		t.Errorf("the next cycle published %+v, latest is %s", results[0], w.tag(0, release, "latest"))
	}
}

// Somebody else tags the commit while it is built and the channel moves on: the
// tag of an outdated commit is not written over.
func TestTagSetDuringTheBuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	first := w.setHead(release, "release-doc")
	w.expect(release + ": build (new commit)")
	foreign := w.tag(0, release, first)
	rev := w.setHead(release, "release-leaf")
	remove := w.upstream.Handle(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/codeload/") {
			w.retag(release, rev, first)
			w.upstream.SetHead(release, w.fixture.Commit("release-deep").Rev)
		}
		return false
	})
	results := w.expect(release + ": failed")
	remove()
	contains(t, "the error", results[0].Error, "never changes")
	if got := w.tag(0, release, rev); got != foreign {
		t.Errorf("the tag was written over: %s", got)
	}
}

// A folder that is no layout any more is told from one without images.
func TestCorruptLayout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{channels: onlyRelease})
	w.expect(release + ": build (new commit)")
	index := w.config.Publish[0].Layout + "/index.json"
	data, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(index, data[:len(data)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	w.mark()
	results := w.expect(release + ": failed")
	contains(t, "error", results[0].Error, index)
	if strings.Contains(results[0].Error, registry.ErrNotFound.Error()) || len(w.asked()["archive"]) > 0 {
		t.Errorf("a corrupt index was taken for an empty one: %s", results[0].Error)
	}
	if now, err := os.ReadFile(index); err != nil || len(now) != len(data)/2 {
		t.Errorf("the index was written over: %d bytes, %v", len(now), err)
	}
}
