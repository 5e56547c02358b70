package scaffold

import (
	"net/url"
	"regexp"
	"strings"
)

// Repository is where a git repository is, by the address of a remote.
type Repository struct {
	Host string // with the port of a web address
	Path string // such as my-org/images
	Web  string // an address for people
}

// Of a remote that Git knows as user@host:path.
var scp = regexp.MustCompile(`^(?:[A-Za-z0-9._-]+@)?([A-Za-z0-9.-]+):([^:/][^:]*)$`)

var repositoryPath = regexp.MustCompile(`^[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)+$`)

// ParseRemote reads the address of a remote. What is a folder, or no repository that
// somebody owns, is none. A user and a password in the address are left out.
func ParseRemote(address string) (Repository, bool) {
	var r Repository
	scheme := "https://"
	if m := scp.FindStringSubmatch(address); m != nil {
		r.Host, r.Path = m[1], m[2]
	} else if u, err := url.Parse(address); err == nil {
		switch u.Scheme {
		case "http", "https":
			scheme, r.Host, r.Path = u.Scheme+"://", u.Host, u.Path
		case "ssh", "git":
			r.Host, r.Path = u.Hostname(), u.Path
		}
	}
	r.Path = strings.TrimSuffix(strings.Trim(r.Path, "/"), ".git")
	if !hostName.MatchString(r.Host) || !repositoryPath.MatchString(r.Path) || len(address) > maxAddress {
		return Repository{}, false
	}
	r.Web = scheme + r.Host + "/" + r.Path
	return r, true
}

const maxAddress = 512

var hostName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?$`)

// Registry is the registry that belongs to a service: that of the same company, or
// what the server has itself. It is "" where nothing is known of it.
func (r Repository) Registry(s Service) string {
	switch {
	case s == GitHub || r.Host == "github.com" || r.Host == "" && s == None:
		return "ghcr.io"
	case r.Host == "gitlab.com" || r.Host == "" && s == GitLab:
		return "registry.gitlab.com"
	case s == GitLab: // it has one that is called as its operator likes
		return ""
	}
	return r.Host
}

// Destination is where images of the repository go: to its owner, unless org names
// another one; on GitLab to the project. It is "" where that is not known.
func (r Repository) Destination(s Service, org string) string {
	registry := r.Registry(s)
	owner, project := r.Path, ""
	if i := strings.LastIndexByte(owner, '/'); i >= 0 {
		owner, project = owner[:i], owner[i:]
	}
	if org != "" {
		owner = org
	}
	if registry != "registry.gitlab.com" {
		project = ""
	}
	if registry == "" || owner == "" {
		return ""
	}
	return registry + "/" + strings.ToLower(owner+project)
}
