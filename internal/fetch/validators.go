package fetch

import (
	"net/http"
	"strconv"
	"strings"
)

// validators are what a server says by which one version of an entity is told from another (RFC 9110, section 8.8).
type validators struct {
	etag     string
	modified string
	length   int64 // -1 unknown
}

func newValidators(r *http.Response) validators {
	return validators{r.Header.Get("ETag"), r.Header.Get("Last-Modified"), r.ContentLength}
}

// ifRange returns the value of the If-Range header, which must not be a weak tag.
func (v validators) ifRange() string {
	if v.etag != "" && !strings.HasPrefix(v.etag, "W/") {
		return v.etag
	}
	return v.modified
}

// same reports whether w, of a complete answer, is surely the entity of v.
func (v validators) same(w validators) bool {
	switch {
	case v.length >= 0 && w.length >= 0 && v.length != w.length:
		return false
	case v.etag != "" || w.etag != "":
		return v.etag == w.etag
	case v.modified != "" || w.modified != "":
		return v.modified == w.modified
	}
	return v.length >= 0 && v.length == w.length
}

// contradicts reports whether w, of a partial answer, is surely another entity.
func (v validators) contradicts(w validators) bool {
	return v.etag != "" && w.etag != "" && v.etag != w.etag ||
		v.modified != "" && w.modified != "" && v.modified != w.modified
}

// contentRange is the header of that name. Unknown numbers are -1.
type contentRange struct{ first, last, total int64 }

// parseContentRange reads "bytes 5-9/10", "bytes 5-9/*" and "bytes */10" (RFC 9110, section 14.4).
func parseContentRange(s string) (contentRange, bool) {
	none := contentRange{-1, -1, -1}
	r := none
	text, ok := strings.CutPrefix(s, "bytes ")
	if !ok {
		return none, false
	}
	span, total, ok := strings.Cut(text, "/")
	if !ok {
		return none, false
	}
	if total != "*" {
		if r.total, ok = parseOffset(total); !ok {
			return none, false
		}
	}
	if span == "*" {
		return r, r.total >= 0
	}
	first, last, _ := strings.Cut(span, "-")
	var okLast bool
	r.first, ok = parseOffset(first)
	r.last, okLast = parseOffset(last)
	if !ok || !okLast || r.first > r.last || r.total >= 0 && r.last >= r.total {
		return none, false
	}
	return r, true
}

func parseOffset(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}
