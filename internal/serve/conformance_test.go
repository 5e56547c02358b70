package serve

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/registry"
)

// published is a layout with an index under some tags of nixpkgs-x.
func published(t *testing.T, tags ...string) (dir string, index v1.ImageIndex) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "registry")
	index, err := random.Index(1024, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	index = mutate.IndexMediaType(index, types.OCIImageIndex)
	repo := registry.Layout(dir, "nixpkgs-x")
	if err := repo.Push(t.Context(), index); err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags {
		if err := repo.Tag(t.Context(), index, tag); err != nil {
			t.Fatal(err)
		}
	}
	return dir, index
}

// attached has two artifacts refer to the index, and returns how they are listed.
func attached(t *testing.T, dir string, index v1.ImageIndex) (bill, origin v1.Descriptor) {
	t.Helper()
	subject, err := partial.Descriptor(index)
	if err != nil {
		t.Fatal(err)
	}
	repo := registry.Layout(dir, "nixpkgs-x")
	if _, err := repo.Attach(t.Context(), *subject, registry.Artifact{Type: "a/bill", Content: []byte("1")}, registry.Artifact{Type: "a/origin", Content: []byte("2")}); err != nil {
		t.Fatal(err)
	}
	list, err := repo.Referrers(t.Context(), subject.Digest)
	if err != nil || len(list) != 2 || list[0].ArtifactType != "a/bill" {
		t.Fatalf("Referrers() = %v, %v", list, err)
	}
	return list[0], list[1]
}

// said is a descriptor as it is listed.
func said(desc v1.Descriptor) string {
	data, err := json.Marshal(desc)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func digestOf(t *testing.T, of interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	digest, err := of.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func request(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// What clients of the distribution specification ask, and what they look at.
func TestAnswers(t *testing.T) {
	dir, index := published(t, "b", "a", "C")
	server := httptest.NewServer(Handler(dir))
	defer server.Close()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	stack, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, child, layer := digestOf(t, index), digestOf(t, img), digestOf(t, stack[0])
	size, err := stack[0].Size()
	if err != nil {
		t.Fatal(err)
	}
	bill, origin := attached(t, dir, index)
	fill := strings.NewReplacer("DIGEST", digest, "CHILD", child, "LAYER", layer, "NONE", "sha256:"+strings.Repeat("0", 64))
	const (
		x        = "/v2/org/nixpkgs-x"
		ociIndex = "application/vnd.oci.image.index.v1+json"
	)
	type header map[string]string
	for _, tt := range []struct {
		name, path string
		ask        []string
		status     int
		code       string // of an error
		want       header
		body       string // "": not looked at
	}{
		{name: "version", path: "/v2/", status: 200, want: header{"Docker-Distribution-Api-Version": "registry/2.0"}},
		{name: "tag", path: x + "/manifests/a", status: 200,
			want: header{"Content-Type": ociIndex, "Docker-Content-Digest": "DIGEST", "Etag": `"DIGEST"`}},
		{name: "digest", path: x + "/manifests/DIGEST", status: 200, want: header{"Docker-Content-Digest": "DIGEST", "Etag": `"DIGEST"`}},
		{name: "child", path: x + "/manifests/CHILD", status: 200, want: header{"Docker-Content-Digest": "CHILD"}},
		{name: "tag, known", path: x + "/manifests/a", ask: []string{"If-None-Match", `"DIGEST"`}, status: 304, want: header{"Etag": `"DIGEST"`}},
		{name: "tag, known among others", path: x + "/manifests/a", ask: []string{"If-None-Match", `"sha256:1", W/"DIGEST"`}, status: 304},
		{name: "tag, another known", path: x + "/manifests/a", ask: []string{"If-None-Match", `"CHILD"`}, status: 200},
		{name: "absent tag", path: x + "/manifests/d", status: 404, code: "MANIFEST_UNKNOWN"},
		{name: "absent digest", path: x + "/manifests/NONE", status: 404, code: "MANIFEST_UNKNOWN"},
		{name: "bad digest", path: x + "/manifests/sha256:1", status: 400, code: "DIGEST_INVALID"},
		{name: "layer as manifest", path: x + "/manifests/LAYER", status: 404, code: "MANIFEST_UNKNOWN"},
		{name: "tag of nobody", path: "/v2/nixpkgs-y/manifests/a", status: 404, code: "NAME_UNKNOWN"},
		{name: "tag of a name that begins so", path: "/v2/nixpkgs/manifests/a", status: 404, code: "NAME_UNKNOWN"},
		{name: "blob", path: x + "/blobs/LAYER", status: 200,
			want: header{"Docker-Content-Digest": "LAYER", "Etag": `"LAYER"`, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}},
		{name: "blob, a range", path: x + "/blobs/LAYER", ask: []string{"Range", "bytes=1-4"}, status: 206, want: header{"Content-Length": "4"}},
		{name: "blob, its end", path: x + "/blobs/LAYER", ask: []string{"Range", "bytes=-3"}, status: 206, want: header{"Content-Length": "3"}},
		{name: "blob, behind its end", path: x + "/blobs/LAYER", ask: []string{"Range", "bytes=99999-"}, status: 416},
		{name: "blob, known", path: x + "/blobs/LAYER", ask: []string{"If-None-Match", `"LAYER"`}, status: 304},
		{name: "absent blob", path: x + "/blobs/NONE", status: 404, code: "BLOB_UNKNOWN"},
		{name: "tags", path: x + "/tags/list", status: 200, want: header{"Link": ""}, body: `{"name":"org/nixpkgs-x","tags":["C","a","b"]}`},
		{name: "first tags", path: x + "/tags/list?n=2", status: 200,
			want: header{"Link": `</v2/org/nixpkgs-x/tags/list?last=a&n=2>; rel="next"`}, body: `{"name":"org/nixpkgs-x","tags":["C","a"]}`},
		{name: "tags behind one", path: x + "/tags/list?n=2&last=a", status: 200, want: header{"Link": ""}, body: `{"name":"org/nixpkgs-x","tags":["b"]}`},
		{name: "tags behind one that is not there", path: x + "/tags/list?last=B", status: 200, body: `{"name":"org/nixpkgs-x","tags":["C","a","b"]}`},
		{name: "tags behind the last one", path: x + "/tags/list?last=b", status: 200, body: `{"name":"org/nixpkgs-x","tags":[]}`},
		{name: "no tags", path: x + "/tags/list?n=0", status: 200, want: header{"Link": ""}, body: `{"name":"org/nixpkgs-x","tags":[]}`},
		{name: "as many as there are", path: x + "/tags/list?n=3", status: 200, want: header{"Link": ""}, body: `{"name":"org/nixpkgs-x","tags":["C","a","b"]}`},
		{name: "minus one tags", path: x + "/tags/list?n=-1", status: 400, code: "PAGINATION_NUMBER_INVALID"},
		{name: "x tags", path: x + "/tags/list?n=x", status: 400, code: "PAGINATION_NUMBER_INVALID"},
		{name: "tags of nobody", path: "/v2/org/nixpkgs-y/tags/list", status: 404, code: "NAME_UNKNOWN"},
		{name: "no list of tags", path: x + "/tags/a", status: 404, code: "UNSUPPORTED"},
		{name: "referrers", path: x + "/referrers/DIGEST", status: 200, want: header{"Content-Type": ociIndex},
			body: `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + said(bill) + `,` + said(origin) + `]}`},
		{name: "referrers of a type", path: x + "/referrers/DIGEST?artifactType=a/origin", status: 200, want: header{"Content-Type": ociIndex, "OCI-Filters-Applied": "artifactType"},
			body: `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + said(origin) + `]}`},
		{name: "referrers of a type that there is none of", path: x + "/referrers/DIGEST?artifactType=a/b", status: 200, want: header{"OCI-Filters-Applied": "artifactType"},
			body: `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`},
		{name: "a referrer", path: x + "/manifests/" + bill.Digest.String(), status: 200, want: header{"Content-Type": "application/vnd.oci.image.manifest.v1+json"}},
		{name: "referrers to an image without", path: x + "/referrers/CHILD", status: 200, want: header{"OCI-Filters-Applied": ""},
			body: `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`},
		{name: "referrers to what is not there", path: "/v2/nixpkgs-y/referrers/NONE?artifactType=a/b", status: 200, want: header{"Content-Type": ociIndex}},
		{name: "referrers to nothing", path: x + "/referrers/a", status: 400, code: "DIGEST_INVALID"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.ask {
				tt.ask[i] = fill.Replace(tt.ask[i])
			}
			resp, body := request(t, "GET", server.URL+fill.Replace(tt.path), tt.ask...)
			if resp.StatusCode != tt.status {
				t.Fatalf("status %d, want %d\n%s", resp.StatusCode, tt.status, body)
			}
			for key, want := range tt.want {
				if got := resp.Header.Get(key); got != fill.Replace(want) {
					t.Errorf("%s: %q, want %q", key, got, fill.Replace(want))
				}
			}
			if tt.body != "" && strings.TrimSpace(body) != tt.body {
				t.Errorf("body %s, want %s", body, tt.body)
			}
			var problems struct {
				Errors []struct{ Code, Message string }
			}
			if tt.code != "" && (json.Unmarshal([]byte(body), &problems) != nil || len(problems.Errors) != 1 || problems.Errors[0].Code != tt.code) {
				t.Errorf("body %s, want the error %s", body, tt.code)
			}
			headed, nothing := request(t, "HEAD", server.URL+fill.Replace(tt.path), tt.ask...)
			if headed.StatusCode != resp.StatusCode || nothing != "" {
				t.Errorf("HEAD: status %d, body %q, want %d and none", headed.StatusCode, nothing, resp.StatusCode)
			}
			headed.Header.Del("Date")
			resp.Header.Del("Date")
			if diff := cmp.Diff(resp.Header, headed.Header); diff != "" {
				t.Errorf("HEAD does not say what GET says (-GET +HEAD):\n%s", diff)
			}
		})
	}
	if resp, body := request(t, "GET", server.URL+x+"/blobs/"+layer); int64(len(body)) != size {
		t.Errorf("the blob has %d bytes, want %d: %v", len(body), size, resp.Status)
	}
	for _, method := range []string{"PUT", "POST", "PATCH", "DELETE", "OPTIONS"} {
		resp, _ := request(t, method, server.URL+x+"/manifests/a")
		if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: status %d, Allow %q", method, resp.StatusCode, resp.Header.Get("Allow"))
		}
	}
}

// A repository in which nothing has a tag yet is there if somebody says so.
func TestUntagged(t *testing.T) {
	dir, index := published(t)
	server := httptest.NewServer(Handler(dir, "nixpkgs-x"))
	defer server.Close()
	for path, want := range map[string]int{"nixpkgs-x/tags/list": 200, "nixpkgs-y/tags/list": 404, "nixpkgs-x/manifests/a": 404} {
		if resp, body := request(t, "GET", server.URL+"/v2/"+path); resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d\n%s", path, resp.StatusCode, want, body)
		}
	}
	// It lists the tags of what it is to inspect by digest.
	ref := strings.TrimPrefix(server.URL, "http://") + "/nixpkgs-x@" + digestOf(t, index)
	tool(t, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+ref)
}

// A manifest that is larger than registries take is none, and what is no file is
// not waited for.
func TestOddBlobs(t *testing.T) {
	dir, _ := published(t, "a")
	blobs := filepath.Join(dir, "blobs", "sha256")
	large, pipe := strings.Repeat("1", 64), strings.Repeat("2", 64)
	data := `{"mediaType":"application/vnd.oci.image.index.v1+json"` + strings.Repeat(" ", maxManifest) + `}`
	if err := os.WriteFile(filepath.Join(blobs, large), []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(blobs, pipe), 0o644); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(Handler(dir))
	defer server.Close()
	for path, status := range map[string]int{
		"/v2/nixpkgs-x/manifests/sha256:" + large: http.StatusNotFound,
		"/v2/nixpkgs-x/manifests/sha256:" + pipe:  http.StatusInternalServerError,
		"/v2/nixpkgs-x/blobs/sha256:" + pipe:      http.StatusInternalServerError,
		"/v2/nixpkgs-x/blobs/sha256:" + large:     http.StatusOK,
	} {
		if resp, _ := request(t, "GET", server.URL+path); resp.StatusCode != status {
			t.Errorf("%s: status %d, want %d", path, resp.StatusCode, status)
		}
	}
}

func TestCheck(t *testing.T) {
	layout, _ := published(t, "a")
	other := t.TempDir()
	file := filepath.Join(other, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		layout:                         "",
		t.TempDir():                    "",
		filepath.Join(other, "nobody"): "no such file",
		file:                           "not a directory",
		other:                          "is not an OCI layout",
	} {
		err := Check(dir)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("Check(%s) = %v, want %q", dir, err, want)
		}
	}
}

// Programs that nobody here wrote pull from it.
func TestOtherClients(t *testing.T) {
	dir, index := published(t, "a")
	server := httptest.NewServer(Handler(dir))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	copied := filepath.Join(t.TempDir(), "copied")
	tool(t, "skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "docker://"+host+"/nixpkgs-x:a", "oci:"+copied+":a")
	if err := Check(copied); err != nil {
		t.Error(err)
	}
	if out := tool(t, "skopeo", "list-tags", "--tls-verify=false", "docker://"+host+"/org/nixpkgs-x"); !strings.Contains(out, `"a"`) {
		t.Errorf("skopeo list-tags: %s", out)
	}
	out := tool(t, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+host+"/org/nixpkgs-x@"+digestOf(t, index))
	if !strings.Contains(out, "application/vnd.oci.image.index.v1+json") {
		t.Errorf("skopeo inspect --raw: %s", out)
	}
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}
