package secrets

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWithout(t *testing.T) {
	environ := []string{"PATH=/bin", "GITHUB_TOKEN=a", "REGISTRY_PASSWORD=b=c", "HOOK=d", "MY_GITHUB_TOKEN_X=e", "ATTIC_TOKEN="}
	got := Without(environ, "HOOK")
	if diff := cmp.Diff([]string{"PATH=/bin", "MY_GITHUB_TOKEN_X=e"}, got); diff != "" {
		t.Errorf("Without (-want +got):\n%s", diff)
	}
	if len(environ) != 6 || environ[1] != "GITHUB_TOKEN=a" {
		t.Errorf("the environment itself was changed: %v", environ)
	}
}
