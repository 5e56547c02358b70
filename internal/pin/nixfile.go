package pin

import (
	"regexp"
	"slices"
	"strings"
)

// nixFile reads a Nix expression: sets of attributes that a fetcher would take, and
// addresses that fetchTarball takes. Names stand for the strings that they are
// bound to by let or in a recursive set, if the file binds them once.
func nixFile(text []byte, _ Options) ([]Spot, error) {
	r := nixReader{file: text, tokens: lexNix(text), bound: map[string][]token{}, seen: map[int]bool{}}
	r.structure()
	for _, s := range r.sets {
		if spot, found := r.fetched(s); found {
			r.spots = append(r.spots, spot)
		}
	}
	r.strings()
	return r.spots, nil
}

type nixReader struct {
	file   []byte
	tokens []token
	bound  map[string][]token // by let or rec; a token of kind 'x' is what is not looked into
	seen   map[int]bool       // strings that a fetcher takes, by where they begin
	sets   []attributes
	spots  []Spot
}

// attributes are those of a set that have names without dots.
type attributes struct {
	open    int    // its token
	fetcher string // the name before it
	values  map[string]token
}

// scope is what is open: a bracket, or a let.
type scope struct {
	kind   byte // '{' '(' '[', 'r' for a recursive set, 'l' for let
	at     int
	values map[string]token
	name   string // of the attribute whose value is being read
	from   int    // its first token
}

func (r *nixReader) word(i int) string {
	if i < 0 || i >= len(r.tokens) || r.tokens[i].kind != 'a' {
		return ""
	}
	return r.text(r.tokens[i])
}

func (r *nixReader) text(t token) string { return string(r.file[t.start:t.end]) }

func (r *nixReader) kind(i int) byte {
	if i < 0 || i >= len(r.tokens) {
		return 0
	}
	return r.tokens[i].kind
}

// structure finds the sets and what is bound.
func (r *nixReader) structure() {
	var open []scope
	for i, t := range r.tokens {
		switch word := r.word(i); {
		case t.kind == '(' || t.kind == '[':
			open = append(open, scope{kind: t.kind})
		case t.kind == '{':
			kind := byte('{')
			if r.word(i-1) == "rec" {
				kind = 'r'
			}
			open = append(open, scope{kind: kind, at: i, values: map[string]token{}})
		case word == "let" && r.kind(i-1) != '.':
			open = append(open, scope{kind: 'l', at: i, values: map[string]token{}})
		case word == "in" || t.kind == '}' || t.kind == ')' || t.kind == ']':
			open = r.close(open, t.kind)
		case len(open) > 0:
			r.attribute(&open[len(open)-1], i)
		}
	}
}

// close ends the innermost scope, if it is one that a token can end.
func (r *nixReader) close(open []scope, by byte) []scope {
	if len(open) == 0 {
		return open
	}
	last := open[len(open)-1]
	opener := map[byte]string{'a': "l", '}': "{r", ')': "(", ']': "["}[by]
	if strings.IndexByte(opener, last.kind) < 0 {
		return open
	}
	if last.kind == 'l' || last.kind == 'r' {
		for name, t := range last.values {
			r.bound[name] = append(r.bound[name], t)
		}
	}
	if last.kind == '{' || last.kind == 'r' {
		before := last.at - 1
		if last.kind == 'r' {
			before--
		}
		r.sets = append(r.sets, attributes{last.at, r.word(before), last.values})
	}
	return open[:len(open)-1]
}

// attribute looks at a token right inside of a scope.
func (r *nixReader) attribute(s *scope, i int) {
	if s.values == nil {
		return
	}
	first := i-1 == s.at || r.kind(i-1) == ';'
	switch {
	case r.kind(i) == ';':
		r.bind(s, i)
	case first && r.word(i) == "inherit":
		s.name, s.from = "inherit", i+1
	case first && r.word(i) != "" && r.kind(i+1) == '=' && r.kind(i+2) != '=':
		s.name, s.from = r.word(i), i+2
	}
}

// bind takes the value that ends before token i.
func (r *nixReader) bind(s *scope, i int) {
	value := r.tokens[s.from:max(i, s.from)]
	switch {
	case s.name == "inherit":
		known := r.kind(s.from) != '('
		for _, t := range value {
			if t.kind != 'a' {
				continue
			}
			name := r.text(t)
			if !known {
				t.kind = 'x'
			}
			s.values[name] = t
		}
	case s.name != "":
		t := token{kind: 'x'}
		if len(value) == 1 {
			t = value[0]
		}
		if s.kind == '{' || t.kind != 'a' || r.text(t) != s.name { // else it is bound to itself
			s.values[s.name] = t
		}
	}
	s.name = ""
}

const mostNames = 8

// resolve is the string that a token stands for.
func (r *nixReader) resolve(t token, depth int) (out traced, ok bool) {
	switch {
	case depth > mostNames:
		return traced{}, false
	case t.kind == 'a':
		bound := r.bound[r.text(t)]
		if len(bound) != 1 {
			return traced{}, false
		}
		return r.resolve(bound[0], depth+1)
	case t.kind != 's':
		return traced{}, false
	}
	r.seen[t.start] = true
	if len(t.parts) == 0 {
		return trace(r.file, t.start+1, t.start+1), true
	}
	for _, p := range t.parts {
		more := traced{}
		if p.name == "" {
			more = trace(r.file, p.start, p.end)
		} else if bound := r.bound[p.name]; len(bound) != 1 {
			return traced{}, false
		} else if more, ok = r.resolve(bound[0], depth+1); !ok {
			return traced{}, false
		}
		if out.add(more); len(out.text) > mostExpanded {
			return traced{}, false
		}
	}
	return out, true
}

// Attributes of fetchers that give another tree than the commit's, or another hash.
var otherTrees = []string{"leaveDotGit", "sparseCheckout", "postFetch", "extraPostFetch", "stripRoot", "revCount", "sha1", "sha512", "md5", "outputHash"}

// fetched tells what a set of attributes fetches.
func (r *nixReader) fetched(a attributes) (Spot, bool) {
	get := func(name string) (traced, bool) {
		t, there := a.values[name]
		if !there {
			return traced{}, false
		}
		return r.resolve(t, 0)
	}
	url, hasURL := get("url")
	owner, _ := get("owner")
	repo, _ := get("repo")
	_, _, archive := archiveRev(url.text)
	git := gitPattern.MatchString(url.text)
	if !isNixpkgs(owner.text, repo.text) && !archive && !git && !releasePattern.MatchString(url.text) {
		return Spot{}, false
	}
	s := set{Spot{Line: lineOf(r.file, r.tokens[a.open].start), What: what(a.fetcher)}}
	if strings.HasPrefix(a.fetcher, "fetch") && !slices.Contains(fetchers, a.fetcher) {
		s.leave(a.fetcher + " has another hash than the tree's")
	}
	for _, name := range otherTrees {
		if _, there := a.values[name]; there {
			s.leave("it has " + name)
		}
	}
	take := func(name string, read func(traced)) {
		if _, there := a.values[name]; !there {
			return
		}
		if t, ok := get(name); ok {
			read(t)
		} else {
			s.leave(name + " is no string that the file has once")
		}
	}
	if hasURL {
		s.url(url)
	}
	take("ref", s.branch)
	take("rev", s.rev)
	take("sha256", func(t traced) { s.hash(t, base32) })
	take("hash", func(t traced) { s.hash(t, sri) })
	take("narHash", func(t traced) { s.hash(t, sri) })
	if t, there := a.values["lastModified"]; there {
		if t.kind == '0' {
			s.part(kindModified, trace(r.file, t.start, t.end), 0, t.end-t.start)
		} else {
			s.leave("lastModified is no number")
		}
	}
	return s.done(), true
}

// fetchers give the tree of a commit, and its hash is what they are told.
var fetchers = []string{"fetchTarball", "fetchFromGitHub", "fetchzip", "fetchGit", "fetchgit", "fetchTree"}

func what(fetcher string) string {
	if strings.HasPrefix(fetcher, "fetch") {
		return fetcher
	}
	return "attributes"
}

var flakeReference = regexp.MustCompile(`(?i)^github:NixOS/nixpkgs/[0-9a-f]{40}`)

// archivePrefix is in addresses that may be put together in ways that are not
// understood.
var archivePrefix = regexp.MustCompile(`(?i)^"https?://(?:codeload\.)?github\.com/NixOS/nixpkgs/(?:archive|tarball|tar\.gz|zip)/`)

// strings finds what stands alone: the address of an archive behind fetchTarball,
// references to flakes, and addresses that no fetcher was seen to take.
func (r *nixReader) strings() {
	for i, t := range r.tokens {
		if r.file[t.start] != '"' || r.seen[t.start] {
			continue
		}
		text, ok := r.resolve(t, 0)
		s := set{Spot{Line: lineOf(r.file, t.start)}}
		_, _, archive := archiveRev(text.text)
		switch {
		case ok && r.word(i-1) == "fetchTarball" && (archive || releasePattern.MatchString(text.text)):
			s.spot.What = "fetchTarball"
			s.url(text)
		case flakeReference.MatchString(text.text):
			s.spot.What = "reference"
			s.leave("Nix fetches such a reference whatever the store has")
		case archivePrefix.MatchString(r.text(t)):
			s.spot.What = "address"
			s.leave("it is not seen what fetches it, or it has more than names in it")
		default:
			continue
		}
		r.spots = append(r.spots, s.done())
	}
}
