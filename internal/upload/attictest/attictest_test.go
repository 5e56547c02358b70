package attictest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nixtest"
)

var signer = nixtest.NewSecretKey("cache.nixos.org-1", [32]byte{3})

func start(t *testing.T, o Options) *Server {
	t.Helper()
	o.Dir = t.TempDir()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func do(t *testing.T, r *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func request(t *testing.T, method, url, token string, body []byte) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "bearer "+token)
	}
	return r
}

// thing is an object, and what a client says of it.
func thing(t *testing.T) (nix.PathInfo, []byte, map[string]any) {
	t.Helper()
	content := []byte(strings.Repeat("not really a NAR ", 10_000))
	hash := nix.Hash(sha256.Sum256(content))
	p, err := nix.SourcePath("thing", hash, nil)
	if err != nil {
		t.Fatal(err)
	}
	info := nix.PathInfo{Path: p, NarHash: hash, NarSize: int64(len(content)), References: []nix.StorePath{p}}
	return info, content, map[string]any{
		"cache": "factory", "store_path_hash": p.Digest(), "store_path": p.String(), "references": []string{p.Base()},
		"system": nil, "deriver": nil, "sigs": []string{signer.Sign(info).String()}, "ca": nil,
		"nar_hash": "sha256:" + hash.Base16(), "nar_size": len(content),
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestUpload(t *testing.T) {
	info, content, said := thing(t)
	wrong := nixtest.NewSecretKey("cache.nixos.org-1", [32]byte{4}).Sign(info)
	tests := []struct {
		name   string
		change map[string]any
		body   []byte
		status int
		answer string // part of it
	}{
		{"good", nil, content, 200, `"kind":"Uploaded"`},
		{"signature of an unknown key", map[string]any{"sigs": []string{"other-1:" + strings.Repeat("A", 86) + "=="}}, content, 200, "Uploaded"},
		{"wrong signature", map[string]any{"sigs": []string{wrong.String()}}, content, 400, "signature does not match"},
		{"no signature", map[string]any{"sigs": []string{"nonsense"}}, content, 400, "nonsense"},
		{"other hash", map[string]any{"nar_hash": "sha256:" + strings.Repeat("0", 64), "sigs": []string{}}, content, 400, "bad NAR hash or size"},
		{"other size", map[string]any{"nar_size": len(content) - 1, "sigs": []string{}}, content, 400, "bad NAR hash or size"},
		{"other content", nil, append(bytes.Clone(content[1:]), 'x'), 400, "bad NAR hash or size"},
		{"short content", nil, content[1:], 400, "bad NAR hash or size"},
		{"hash in base 32", map[string]any{"nar_hash": info.NarHash.String()}, content, 400, "bad nar_hash"},
		{"other path hash", map[string]any{"store_path_hash": strings.Repeat("0", 32)}, content, 400, "store_path_hash"},
		{"no path", map[string]any{"store_path": "/nix/store/x"}, content, 400, "store path"},
		{"full reference", map[string]any{"references": []string{info.Path.String()}}, content, 400, "store path"},
		{"no references", map[string]any{"references": nil}, content, 400, "a field is missing"},
		{"no size", map[string]any{"nar_size": 0}, content, 400, "bad nar_size"},
		{"no cache", map[string]any{"cache": nil}, content, 400, "a field is missing"},
		{"other cache", map[string]any{"cache": "other"}, content, 404, "NoSuchCache"},
	}
	for _, tt := range tests {
		for _, preamble := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.name, ", preamble ", preamble), func(t *testing.T) {
				s := start(t, Options{Keys: []nix.PublicKey{signer.Public()}})
				about := maps.Clone(said)
				maps.Copy(about, tt.change)
				text := encode(t, about)
				body := tt.body
				if preamble {
					body = append([]byte(text), body...)
				}
				r := request(t, "PUT", s.URL()+"/_api/v1/upload-path", s.Token("*", Push), body)
				if preamble {
					r.Header.Set("X-Attic-Nar-Info-Preamble-Size", fmt.Sprint(len(text)))
				} else {
					r.Header.Set("X-Attic-Nar-Info", text)
				}
				status, answer := do(t, r)
				if status != tt.status || !strings.Contains(answer, tt.answer) {
					t.Errorf("%d %s, want %d %s", status, answer, tt.status, tt.answer)
				}
				if has := len(s.Objects()) == 1; has != (tt.status == 200) {
					t.Errorf("the cache has %v", s.Objects())
				}
			})
		}
	}
}

func TestUploadHeaders(t *testing.T) {
	_, content, said := thing(t)
	text := encode(t, said)
	long := text[:len(text)-1] + strings.Repeat(" ", maxHeader) + "}"
	for _, tt := range []struct{ name, info, size, want string }{
		{"none", "", "", "X-Attic-Nar-Info must be set"},
		{"both", text, "10", "are both set"},
		{"too long", long, "", "X-Attic-Nar-Info is too large"},
		{"no number", "", "many", "bad X-Attic-Nar-Info-Preamble-Size"},
		{"negative", "", "-1", "bad X-Attic-Nar-Info-Preamble-Size"},
		{"huge", "", "1048577", "bad X-Attic-Nar-Info-Preamble-Size"},
		{"longer than the body", "", "1000000", "unexpected EOF"},
		{"in the middle", "", "17", "invalid character"},
	} {
		s := start(t, Options{})
		r := request(t, "PUT", s.URL()+"/_api/v1/upload-path", s.Token("*", Push), content)
		for name, value := range map[string]string{"X-Attic-Nar-Info": tt.info, "X-Attic-Nar-Info-Preamble-Size": tt.size} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		if status, answer := do(t, r); status != 400 || !strings.Contains(answer, tt.want) {
			t.Errorf("%s: %d %s, want %s", tt.name, status, answer, tt.want)
		}
	}
}

func TestPermissions(t *testing.T) {
	info, content, said := thing(t)
	for _, public := range []bool{false, true} {
		s := start(t, Options{Public: public})
		put := func(token string) *http.Request {
			r := request(t, "PUT", s.URL()+"/_api/v1/upload-path", token, content)
			r.Header.Set("X-Attic-Nar-Info", encode(t, said))
			return r
		}
		if status, answer := do(t, put(s.Token("factory", Push))); status != 200 {
			t.Fatal(status, answer)
		}
		calls := map[string]func(token string) *http.Request{
			"config": func(token string) *http.Request {
				return request(t, "GET", s.URL()+"/_api/v1/cache-config/factory", token, nil)
			},
			"narinfo": func(token string) *http.Request {
				return request(t, "GET", s.Substituter()+"/"+info.Path.Digest()+".narinfo", token, nil)
			},
			"nar": func(token string) *http.Request {
				return request(t, "GET", s.Substituter()+"/nar/"+info.Path.Digest()+".nar", token, nil)
			},
			"info": func(token string) *http.Request {
				return request(t, "GET", s.Substituter()+"/nix-cache-info", token, nil)
			},
			"missing": func(token string) *http.Request {
				r := request(t, "POST", s.URL()+"/_api/v1/get-missing-paths", token, []byte(encode(t, map[string]any{
					"cache": "factory", "store_path_hashes": []string{info.Path.Digest()}})))
				r.Header.Set("Content-Type", "application/json")
				return r
			},
			"upload": put,
		}
		open, unknown := 401, 401
		if public {
			open, unknown = 200, 403
		}
		for _, tt := range []struct {
			name, token string
			read, write int
		}{
			{"nobody", "", open, unknown},
			{"nonsense", "x", open, unknown},
			{"forged", strings.Replace(s.Token("*", Pull, Push), ".", ".A", 1), open, unknown},
			{"expired", s.ExpiredToken("*", Pull, Push), open, unknown},
			{"for another cache", s.Token("other", Pull, Push), open, unknown},
			{"reader", s.Token("fact*", Pull), 200, 403},
			{"writer", s.Token("factory", Push), map[bool]int{true: 200, false: 403}[public], 200},
			{"both", s.Token("*", Pull, Push), 200, 200},
		} {
			for _, name := range []string{"config", "narinfo", "nar", "info", "missing", "upload"} {
				want := tt.read
				if name == "missing" || name == "upload" {
					want = tt.write
				}
				if status, answer := do(t, calls[name](tt.token)); status != want {
					t.Errorf("public %v: %s asks for %s: %d %.100s, want %d", public, tt.name, name, status, answer, want)
				}
			}
		}
		// as Nix sends what it finds in a netrc file
		r := calls["narinfo"]("")
		r.SetBasicAuth("", s.Token("factory", Pull))
		if status, _ := do(t, r); status != 200 {
			t.Errorf("password: %d", status)
		}
	}
}

// What is served is what was uploaded, with the server's signature alone.
func TestServed(t *testing.T) {
	info, content, said := thing(t)
	for _, trusting := range []bool{false, true} {
		s := start(t, Options{Public: true, Trusting: trusting})
		var kinds []string
		for range 2 {
			r := request(t, "PUT", s.URL()+"/_api/v1/upload-path", s.Token("*", Push), content)
			r.Header.Set("X-Attic-Nar-Info", encode(t, said))
			_, answer := do(t, r)
			kinds = append(kinds, answer[:strings.LastIndex(answer, "}")])
		}
		if !strings.Contains(kinds[0], `"Uploaded"`) || !strings.Contains(kinds[1], `"Deduplicated"`) {
			t.Errorf("answers are %q", kinds)
		}
		_, text := do(t, request(t, "GET", s.Substituter()+"/"+info.Path.Digest()+".narinfo", "", nil))
		got, err := nix.ParseNARInfo([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Trusted([]nix.PublicKey{s.PublicKey()}); err != nil || len(got.Sigs) != 1 || got.NarHash != info.NarHash {
			t.Errorf("narinfo: %v\n%s", err, text)
		}
		_, file := do(t, request(t, "GET", s.Substituter()+"/"+got.URL, "", nil))
		if int64(len(file)) != got.FileSize || nix.Hash(sha256.Sum256([]byte(file))).String() != got.FileHash {
			t.Errorf("the file of %d bytes is not the one of the narinfo", len(file))
		}
		d, err := zstd.NewReader(strings.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if nar, err := io.ReadAll(d); err != nil || !bytes.Equal(nar, content) {
			t.Errorf("%d bytes, %v", len(nar), err)
		}
		if status, _ := do(t, request(t, "GET", s.Substituter()+"/"+strings.Repeat("0", 32)+".narinfo", "", nil)); status != 404 {
			t.Errorf("unknown object: %d", status)
		}
	}
}
