package registry

import (
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sync/errgroup"

	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// counter notes the requests that it carries.
type counter struct {
	mu  sync.Mutex
	all []string
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.all = append(c.all, fmt.Sprintf("%s %s %d", r.Method, r.URL.RequestURI(), resp.StatusCode))
	}
	return resp, err
}

func (c *counter) count(pattern string) int {
	n := 0
	for _, s := range c.all {
		if regexp.MustCompile(pattern).MatchString(s) {
			n++
		}
	}
	return n
}

// Blobs that a registry has in another repository are mounted, not sent: also
// when all repositories are pushed to at once.
func TestSiblingsAreMounted(t *testing.T) {
	hosts := map[string]string{
		"docker-registry": registrytest.Start(t, registrytest.Options{}),
		"with tokens":     (&registrytest.Odd{Tokens: &registrytest.Tokens{}}).Serve(t),
	}
	for what, host := range hosts {
		for _, atOnce := range []int{1, 3} {
			c := &counter{}
			client := NewClient(Options{Transport: c, Keychain: ann})
			index := randomIndex(t)
			var g errgroup.Group
			g.SetLimit(atOnce)
			for _, at := range []string{"/org/a", "/org/b", "/org/c"} {
				repo, err := name.NewRepository(host + at)
				if err != nil {
					t.Fatal(err)
				}
				r, err := client.Repository(repo)
				if err != nil {
					t.Fatal(err)
				}
				g.Go(func() error { return r.Push(t.Context(), index) })
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			const blobs = 2 * (3 + 1)
			if sent, mounted := c.count("^PUT .*/blobs/.* 20"), c.count("^POST .*mount=.* 201$"); sent != blobs || mounted != 2*blobs {
				t.Errorf("%s, %d at once: %d blobs sent and %d mounted, want %d and %d", what, atOnce, sent, mounted, blobs, 2*blobs)
			}
		}
	}
}
