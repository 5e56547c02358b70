package serve

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// tags lists a repository's tags in the order of their bytes, or the part of them
// that n and last ask for
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#listing-tags).
func (l *layout) tags(w http.ResponseWriter, r *http.Request, repository, name, what string) {
	if what != "list" {
		problem(w, http.StatusNotFound, "UNSUPPORTED", "no such page; tags are listed by /tags/list")
		return
	}
	query := r.URL.Query()
	most := -1 // all of them
	if text := query.Get("n"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			problem(w, http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", fmt.Sprintf("n=%q: want a number from 0 on", text))
			return
		}
		most = n
	}
	known, err := l.repository(repository)
	if err != nil {
		broken(w, err)
		return
	}
	if known == nil {
		unknownName(w, name)
		return
	}
	tags := slices.DeleteFunc(slices.Sorted(maps.Keys(known)), listOfReferrers.MatchString)
	if last := query.Get("last"); last != "" {
		tags = slices.DeleteFunc(tags, func(tag string) bool { return tag <= last })
	}
	if most >= 0 && len(tags) > most {
		tags = tags[:most]
		if most > 0 {
			next := url.URL{Path: r.URL.Path, RawQuery: url.Values{"n": {strconv.Itoa(most)}, "last": {tags[most-1]}}.Encode()}
			w.Header().Set("Link", "<"+next.String()+`>; rel="next"`)
		}
	}
	answer(w, http.StatusOK, "application/json", struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{name, append([]string{}, tags...)})
}

// listOfReferrers is a tag that is no image's: registries that keep lists of referrers
// have none, and this is one of them.
var listOfReferrers = regexp.MustCompile(`^sha256-[0-9a-f]{64}$`)

func unknownName(w http.ResponseWriter, name string) {
	problem(w, http.StatusNotFound, "NAME_UNKNOWN", "nothing is published under the name "+name)
}

// maxIndex bounds the layout's index: some hundred thousand tags.
const maxIndex = 64 << 20

// repository returns the tags of a repository, nil if there is none of that name.
func (l *layout) repository(repository string) (map[string]v1.Hash, error) {
	var tags map[string]v1.Hash
	if slices.Contains(l.untagged, repository) {
		tags = make(map[string]v1.Hash)
	}
	file := filepath.Join(l.dir, "index.json")
	f, err := openRegular(file)
	if errors.Is(err, fs.ErrNotExist) {
		return tags, nil // nothing published so far
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	manifest, err := v1.ParseIndexManifest(io.LimitReader(f, maxIndex))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, desc := range manifest.Manifests {
		if tag, ok := strings.CutPrefix(desc.Annotations["org.opencontainers.image.ref.name"], repository+":"); ok {
			if tags == nil {
				tags = make(map[string]v1.Hash)
			}
			tags[tag] = desc.Digest
		}
	}
	return tags, nil
}
