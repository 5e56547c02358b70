package notify

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// RFC 4231, test case 2.
func TestSign(t *testing.T) {
	const want = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
	if got := Sign("Jefe", []byte("what do ya want for nothing?")); got != want {
		t.Errorf("Sign = %s, want %s", got, want)
	}
}

// What a receiver gets can be verified by other programs, as the guide says: the
// signature is of the body's bytes. Without a secret there is none.
func TestSigned(t *testing.T) {
	type received struct {
		body      []byte
		signature string
	}
	var got []received
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, received{body, r.Header.Get(SignatureHeader)})
	}))
	defer server.Close()
	for _, secret := range []string{"", "S3CRET"} {
		w, err := New([]Hook{{URL: server.URL, Secret: secret}}, quick)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Send(t.Context(), Event{Event: Published, Channel: "nixos-26.05"}); err != nil {
			t.Fatal(err)
		}
	}
	if got[0].signature != "" {
		t.Errorf("without a secret the signature is %q", got[0].signature)
	}
	body := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(body, got[1].body, 0o600); err != nil {
		t.Fatal(err)
	}
	script := exampleOfTheGuide(t)
	for signature, valid := range map[string]bool{got[1].signature: true, strings.ToUpper(got[1].signature): false, "": false} {
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
		cmd.Env = append(os.Environ(), "FACTORY_WEBHOOK_SECRET=S3CRET", "body="+body, "signature="+signature)
		if out, err := cmd.CombinedOutput(); (err == nil) != valid {
			t.Errorf("the guide's example says of the signature %q: %v, want valid %t\n%s", signature, err, valid, out)
		}
	}
}

// exampleOfTheGuide is the script by which the operator's guide verifies.
func exampleOfTheGuide(t *testing.T) string {
	t.Helper()
	guide, err := os.ReadFile("../../docs/operators-guide.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```sh\n([^`]*openssl[^`]*)```").FindSubmatch(bytes.ReplaceAll(guide, []byte("\r"), nil))
	if m == nil {
		t.Fatal("the guide has no example with openssl")
	}
	return string(m[1])
}
