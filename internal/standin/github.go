package standin

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// apiPrefix is where GitHub Enterprise has its API too, so any client accepts it.
const apiPrefix = "/api/v3"

// repositoryID is that of NixOS/nixpkgs. GitHub's Link headers name a repository by it.
const repositoryID = "4542716"

const docs = "https://docs.github.com/rest"

// An object is a JSON object.
type object = map[string]any

// An answer is what an endpoint of the API has to say, before headers.
type answer struct {
	status int // 0 is 200
	body   any
	link   string // Link header
	text   string // sent in place of body, not as JSON
}

func problem(status int, message, page string) answer {
	return answer{status: status, body: object{
		"message": message, "documentation_url": docs + page, "status": strconv.Itoa(status),
	}}
}

func (s *Server) routeGitHub(mux *http.ServeMux) {
	repo := func(path string, f func(*http.Request) answer) {
		mux.HandleFunc("GET "+apiPrefix+"/repos/{owner}/{repo}"+path, s.endpoint(func(r *http.Request) answer {
			if !isRepository(r.PathValue("owner"), r.PathValue("repo")) {
				return problem(http.StatusNotFound, "Not Found", "/repos/repos#get-a-repository")
			}
			return f(r)
		}))
	}
	repo("", s.getRepository)
	repo("/branches", s.listBranches)
	repo("/branches/{branch...}", s.getBranch)
	repo("/commits", s.listCommits)
	repo("/commits/{ref...}", s.getCommit)
	repo("/git/commits/{sha}", s.getGitCommit)
	repo("/git/ref/{ref...}", s.getRef)
	repo("/git/matching-refs/{ref...}", s.matchingRefs)
	repo("/activity", s.listActivity)
	repo("/compare/{basehead}", s.compare)
	mux.HandleFunc("GET "+apiPrefix+"/repositories/"+repositoryID+"/{rest...}", func(w http.ResponseWriter, r *http.Request) {
		r2 := r.Clone(r.Context())
		r2.URL.Path = apiPrefix + "/repos/" + Repository + "/" + r.PathValue("rest")
		r2.URL.RawPath = ""
		mux.ServeHTTP(w, r2)
	})
	mux.HandleFunc("GET "+apiPrefix+"/rate_limit", s.getRateLimit)
	mux.HandleFunc(apiPrefix+"/", s.endpoint(func(*http.Request) answer {
		return problem(http.StatusNotFound, "Not Found", "")
	}))
}

// endpoint adds to an answer what all of GitHub's have: authentication,
// the rate limit and its headers, and the entity tag by which a client that
// has the answer already is told so, for free.
func (s *Server) endpoint(f func(*http.Request) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Server", "github.com")
		h.Set("X-GitHub-Media-Type", "github.v3; format=json")
		h.Set("X-GitHub-Request-Id", "STAND-IN")
		token := bearer(r)
		s.mu.Lock()
		left := s.rate.left()
		s.rate.header(h)
		s.mu.Unlock()
		switch {
		case token != "" && s.token != "" && token != s.token:
			sendJSON(w, problem(http.StatusUnauthorized, "Bad credentials", ""))
			return
		case left <= 0:
			sendJSON(w, rateExceeded(r, token))
			return
		}
		a := f(r)
		tag := entityTag(a, r.Header.Get("Accept"), token)
		unchanged := a.status == 0 && matches(r.Header.Get("If-None-Match"), tag)
		s.mu.Lock()
		if !unchanged {
			s.rate.take()
		}
		s.rate.header(h)
		s.mu.Unlock()
		if a.status == 0 {
			h.Set("ETag", tag)
			h.Set("Vary", "Accept, Authorization, Cookie, X-GitHub-OTP,Accept-Encoding, Accept, X-Requested-With")
			h.Set("Cache-Control", map[bool]string{true: "private", false: "public"}[token != ""]+", max-age=60, s-maxage=60")
		}
		if a.link != "" {
			h.Set("Link", a.link)
		}
		if unchanged {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		sendJSON(w, a)
	}
}

func sendJSON(w http.ResponseWriter, a answer) {
	status := a.status
	if status == 0 {
		status = http.StatusOK
	}
	data := []byte(a.text)
	if a.text == "" {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		data = marshal(a.body)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	w.Write(data)
}

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // only maps, slices and strings of our own get here
	}
	return data
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "bearer") || strings.EqualFold(scheme, "token") {
		return token
	}
	return ""
}

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}

func entityTag(a answer, accept, token string) string {
	return `W/"` + digest(string(marshal(a.body)), a.text, a.link, accept, token) + `"`
}

// matches compares entity tags weakly, as If-None-Match asks (RFC 9110, 13.1.2).
func matches(header, tag string) bool {
	for t := range strings.SplitSeq(header, ",") {
		t = strings.TrimSpace(t)
		if t == "*" || t != "" && strings.TrimPrefix(t, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}
