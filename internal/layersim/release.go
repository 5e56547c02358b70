package layersim

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Release is an entry of a Debian changelog.
type Release struct {
	Source  string
	Day     string // UTC, as in 2023-06-10
	Suite   string // "unstable", "bookworm-security", …
	Version string
}

func (r Release) compare(s Release) int {
	return cmp.Or(cmp.Compare(r.Source, s.Source), cmp.Compare(r.Day, s.Day), cmp.Compare(r.Version, s.Version))
}

// ParseReleases reads lines of a source, a day, a suite and a version. Lines that
// begin with # are comments.
func ParseReleases(r io.Reader) ([]Release, error) {
	var all []Release
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		f := strings.Fields(lines.Text())
		if len(f) != 4 {
			return nil, fmt.Errorf("releases: line %d: want a source, a day, a suite and a version", n)
		}
		if _, err := time.Parse(time.DateOnly, f[1]); err != nil {
			return nil, fmt.Errorf("releases: line %d: %w", n, err)
		}
		all = append(all, Release{Source: f[0], Day: f[1], Suite: f[2], Version: f[3]})
	}
	return all, lines.Err()
}

// WriteReleases writes releases as ParseReleases reads them, sorted, each once.
func WriteReleases(w io.Writer, all []Release) error {
	all = slices.Clone(all)
	slices.SortFunc(all, Release.compare)
	for _, r := range slices.Compact(all) {
		if _, err := fmt.Fprintln(w, r.Source, r.Day, r.Suite, r.Version); err != nil {
			return err
		}
	}
	return nil
}
