package config

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Destination is a place to publish to: an OCI layout folder or a prefix of
// repositories in a registry. One of Layout and Registry is set.
type Destination struct {
	To       string // as written
	Layout   string // folder of an OCI layout
	Registry string // host, with port and path where given: ghcr.io/org
	Plain    bool   // the registry is spoken to without encryption, on purpose
}

const (
	ofLayout  = "oci:" // begins what is a layout
	maxPrefix = 120    // leaves room for what images are called below it, of the 255 of a repository name
)

// A component of a repository name, as the OCI distribution specification has
// it: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-manifests
const component = `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`

const host = `(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(?::([0-9]+))?`

var (
	destinationPattern = regexp.MustCompile(`^(?:oci:.+|(?:http://)?` + host + `(?:/` + component + `)*)$`)

	componentPattern = regexp.MustCompile(`^` + component + `$`)
	hostPattern      = regexp.MustCompile(`^` + host + `$`)
)

// ParseDestination reads the address of a destination. A layout is relative to dir.
func ParseDestination(to, dir string) (Destination, error) { return destination(dir).read(to) }

// destination is the form of destinations in a file of folder dir.
func destination(dir string) form[Destination] {
	const want = "oci:DIR or [http://]HOST[:PORT]/PATH, such as oci:./registry, docker.io/org or http://registry:5000/org"
	return form[Destination]{want: want, parse: func(to string) (d Destination, err error) {
		if folder, ok := strings.CutPrefix(to, ofLayout); ok {
			d.Layout, err = layoutFolder(folder, dir)
		} else {
			d.Registry, d.Plain = strings.CutPrefix(to, "http://")
			if d.Plain {
				d.Registry = withPort(d.Registry)
			}
			err = checkPrefix(d.Registry)
		}
		if err != nil {
			return Destination{}, fmt.Errorf("bad destination %q: %w", to, err)
		}
		d.To = to
		return d, nil
	}, pattern: destinationPattern}
}

func layoutFolder(folder, dir string) (string, error) {
	layout := resolve(dir, folder)
	switch {
	case folder == "" || strings.HasPrefix(folder, "//"):
		return "", fmt.Errorf("no folder after %v", ofLayout)
	case layout == "/":
		return "", errors.New("the root folder cannot hold images")
	}
	return layout, nil
}

// withPort adds the port of plain HTTP to a host that would not be taken for
// one in a reference to an image: a name in a network of containers.
func withPort(at string) string {
	host, _, _ := strings.Cut(at, "/")
	if host == "" || host == "localhost" || strings.ContainsAny(host, ".:") {
		return at
	}
	return host + ":80" + at[len(host):]
}

// Repository names in full what is called so below the destination: a repository
// of the registry, or the name that references in the layout begin with.
func (d Destination) Repository(under string) string {
	if d.Layout != "" {
		return under
	}
	return d.Registry + "/" + under
}

// Remote is a repository of the registry by its name below the destination.
func (d Destination) Remote(under string) (name.Repository, error) {
	var options []name.Option
	if d.Plain {
		options = append(options, name.Insecure)
	}
	return name.NewRepository(d.Registry+"/"+under, options...)
}

// place is equal for two destinations that are the same place, and "" for one
// that could not be read.
func (d Destination) place() string {
	if d.Layout != "" {
		return ofLayout + filepath.Clean(d.Layout)
	}
	repository, err := name.NewRepository(d.Repository("x"))
	if err != nil || d.Registry == "" {
		return d.Registry
	}
	return repository.Name()
}

// shared are registries in which everybody has a part of their own, and nothing is above
// them. A registry of one's own may have images without a path.
var shared = map[string]bool{
	"docker.io": true, name.DefaultRegistry: true, "registry-1.docker.io": true, "registry.hub.docker.com": true,
	"codeberg.org": true, "gcr.io": true, "ghcr.io": true, "public.ecr.aws": true, "quay.io": true, "registry.gitlab.com": true,
}

func checkPrefix(prefix string) error {
	if _, rest, ok := strings.Cut(prefix, "://"); ok {
		return fmt.Errorf("a registry has no scheme but http://, which turns encryption off: write %s", rest)
	}
	if len(prefix) > maxPrefix {
		return fmt.Errorf("longer than %d characters", maxPrefix)
	}
	host, path, _ := strings.Cut(prefix, "/")
	if err := checkHost(host); err != nil {
		return err
	}
	if path == "" {
		if strings.HasSuffix(prefix, "/") {
			return errors.New("ends with a slash")
		}
		if shared[strings.ToLower(host)] {
			return fmt.Errorf("%s needs an organisation or user: write %s/my-org", host, host)
		}
	} else if err := checkPath(path); err != nil {
		return err
	}
	_, err := name.NewRepository(prefix + "/nixpkgs-x")
	return err
}

func checkHost(host string) error {
	m := hostPattern.FindStringSubmatch(host)
	if m == nil || host != "localhost" && !strings.ContainsAny(host, ".:") {
		return fmt.Errorf("%q is not the host of a registry", host)
	}
	if ip, bracketed := strings.CutPrefix(strings.TrimSuffix(host, ":"+m[1]), "["); bracketed && net.ParseIP(strings.TrimSuffix(ip, "]")) == nil {
		return fmt.Errorf("%q is not the host of a registry", host)
	}
	if port, err := strconv.ParseUint(m[1], 10, 16); m[1] != "" && (err != nil || port == 0) {
		return fmt.Errorf("%s is not a port", m[1])
	}
	return nil
}

func checkPath(path string) error {
	for _, part := range strings.Split(path, "/") {
		switch {
		case componentPattern.MatchString(part):
		case part == "":
			return errors.New("has an empty part between slashes")
		case part != strings.ToLower(part):
			return fmt.Errorf("%q has capital letters, which registries refuse", part)
		case strings.ContainsAny(part, ":@"):
			return fmt.Errorf("%q has a tag or digest, which the factory chooses", part)
		default:
			return fmt.Errorf("%q is not a name in a registry", part)
		}
	}
	return nil
}
