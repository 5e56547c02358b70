package registry

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Reference names an image: in a layout where Dir is set, else in a registry.
type Reference struct {
	Dir    string // of the layout
	Name   string // of the repository in the layout
	Remote name.Repository
	Tag    string // or digest
}

// ErrNoLayoutReference says that a reference into a layout lacks a part.
var ErrNoLayoutReference = errors.New("want oci:DIR:NAME:TAG or oci:DIR:NAME@DIGEST")

// ParseReference takes apart HOST/PATH:TAG, behind http:// for a registry without
// encryption, or oci:DIR:NAME:TAG. A digest behind @ may stand for the tag.
func ParseReference(ref string) (Reference, error) {
	if rest, ok := strings.CutPrefix(ref, "oci:"); ok {
		return parseLayoutReference(rest)
	}
	var options []name.Option
	ref, plain := strings.CutPrefix(ref, "http://")
	if hostAlone(ref, plain) {
		return Reference{}, fmt.Errorf("%q names a registry and no image in it", ref)
	}
	if plain {
		options = append(options, name.Insecure)
		ref = withPlainPort(ref)
	}
	parsed, err := name.ParseReference(ref, options...)
	if err != nil {
		return Reference{}, err
	}
	return Reference{Remote: parsed.Context(), Tag: parsed.Identifier()}, nil
}

// hostAlone tells whether a reference is the host of a registry and nothing else. The
// library takes it for an image of Docker Hub, where none is called so.
func hostAlone(ref string, plain bool) bool {
	if ref == "" || strings.Contains(ref, "/") {
		return false
	}
	host, _, _ := strings.Cut(ref, ":")
	host, _, _ = strings.Cut(host, "@")
	return plain || host == "localhost" || strings.Contains(host, ".")
}

// withPlainPort adds the port of plain HTTP to a name that would be an organisation of Docker
// Hub without, as destinations have it.
func withPlainPort(ref string) string {
	host, path, _ := strings.Cut(ref, "/")
	if host == "localhost" || strings.ContainsAny(host, ".:") {
		return ref
	}
	return host + ":80/" + path
}

func parseLayoutReference(rest string) (Reference, error) {
	at, tag, ok := cutLast(rest, "@")
	if ok {
		if _, err := v1.NewHash(tag); err != nil {
			return Reference{}, err
		}
	} else {
		at, tag, ok = cutLast(rest, ":")
	}
	dir, repository, ok2 := cutLast(at, ":")
	if !ok || !ok2 || dir == "" || tag == "" || repository == "" {
		return Reference{}, ErrNoLayoutReference
	}
	return Reference{Dir: dir, Name: repository, Tag: tag}, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
