package notify

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nixpkgs-factory/factory/internal/fetch"
)

const secret = "S3CRET"

// quick has no time to lose between tries.
var quick = fetch.Options{Attempts: 2, Delay: time.Nanosecond}

// closedPort is the address of a port that nobody listens to.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// raw is a server that answers everything with the path that was asked for, in
// a form that is no HTTP.
func raw(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			// All of the request is read, so that the client sees the answer and
			// not a connection that breaks while it still writes.
			said := "TLS"
			if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				io.Copy(io.Discard, r.Body)
				said = r.URL.String()
			}
			fmt.Fprintf(conn, "NONSENSE %s\r\n\r\n", said)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// No error shows the secret parts of an address, whatever goes wrong.
func TestErrorsKeepTheSecret(t *testing.T) {
	echo := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Path", r.URL.String())
			w.WriteHeader(status)
			io.WriteString(w, r.URL.String())
		}
	}
	hangUp := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	plain := func(h http.HandlerFunc) func(*testing.T) string {
		return func(t *testing.T) string {
			s := httptest.NewServer(h)
			t.Cleanup(s.Close)
			return s.URL
		}
	}
	var client *http.Client // of the test that runs; nil: our own
	encrypted := func(change func(*tls.Config)) func(t *testing.T) string {
		return func(t *testing.T) string {
			s := httptest.NewUnstartedServer(echo(200))
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.StartTLS()
			t.Cleanup(s.Close)
			if change != nil {
				client = s.Client()
				change(client.Transport.(*http.Transport).TLSClientConfig)
			}
			return s.URL
		}
	}
	tests := []struct {
		name   string
		server func(t *testing.T) string // scheme and host
		want   string                    // how the error ends
	}{
		{"refused", plain(echo(400)), "400 Bad Request"},
		{"gone", plain(echo(410)), "410 Gone"},
		{"down", plain(echo(503)), "503 Service Unavailable (2 attempts)"},
		{"unknown status", plain(echo(599)), "599 (2 attempts)"},
		{"hangs up", plain(hangUp), "connection closed without an answer (2 attempts)"},
		{"closed port", func(t *testing.T) string { return "http://" + closedPort(t) }, "connect: connection refused (2 attempts)"},
		{"nonsense", func(t *testing.T) string { return "http://" + raw(t) }, "no connection (2 attempts)"},
		{"unknown authority", encrypted(nil), "x509: certificate signed by unknown authority"},
		{"another host's certificate", encrypted(func(c *tls.Config) { c.ServerName = "hooks.test" }), "x509: certificate is for another host"},
		{"old certificate", encrypted(func(c *tls.Config) {
			c.Time = func() time.Time { return time.Now().AddDate(200, 0, 0) }
		}), "x509: certificate is not valid"},
		{"nonsense for https", func(t *testing.T) string { return "https://" + raw(t) }, "tls: this is not TLS"},
		{"http for https", func(t *testing.T) string {
			return strings.Replace(plain(echo(200))(t), "http:", "https:", 1)
		}, "http: server gave HTTP response to HTTPS client"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client = nil
			place := tt.server(t)
			address := strings.Replace(place, "//", "//"+secret+":"+secret+"@", 1) + "/" + secret + "/%53?token=" + secret + "#" + secret
			o := quick
			o.HTTP = client
			w := newHooks(t, o, Hook{Name: "FACTORY_WEBHOOK_URL", URL: address})
			err := w.Send(t.Context(), published)
			if err == nil {
				t.Fatal("no error")
			}
			got := err.Error()
			if !strings.HasPrefix(got, "FACTORY_WEBHOOK_URL: POST "+place+": ") || !strings.HasSuffix(got, tt.want) {
				t.Errorf("Send = %s, want FACTORY_WEBHOOK_URL: POST %s: … %s", got, place, tt.want)
			}
			if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, secret) {
				t.Errorf("the secret is in %s", text)
			}
		})
	}
}

// A proxy's address may hold a password, and net/http repeats it.
func TestBadProxy(t *testing.T) {
	broken := func(*http.Request) (*url.URL, error) {
		return nil, fmt.Errorf("invalid proxy address %q", "http://u:"+secret+"@p")
	}
	o := quick
	o.HTTP = &http.Client{Transport: &http.Transport{Proxy: broken}}
	err := newHooks(t, o, Hook{URL: "http://hooks.example.com/" + secret}).Send(t.Context(), published)
	if want := "POST http://hooks.example.com: no connection (2 attempts)"; err == nil || err.Error() != want {
		t.Errorf("Send = %v, want %s", err, want)
	}
}

// Nobody else gets the event, and the first server is not asked again by GET.
func TestRedirects(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			other := newReceiver(t)
			var asked []string
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Method)
				http.Redirect(w, r, other.URL+"/"+secret, status)
			}))
			defer s.Close()
			// Not even if the client that is given would follow.
			o := fetch.Options{HTTP: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}}
			err := newHooks(t, o, Hook{URL: s.URL + "/" + secret}).Send(t.Context(), published)
			want := fmt.Sprintf("POST %s: %d %s: redirects are not followed: set the address that it leads to", s.URL, status, http.StatusText(status))
			if err == nil || err.Error() != want {
				t.Errorf("Send = %v, want %s", err, want)
			}
			if len(asked) != 1 || asked[0] != "POST" || len(other.bodies) != 0 {
				t.Errorf("the server was asked by %v, the other one %d times", asked, len(other.bodies))
			}
		})
	}
}
