package heads

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/fetch"
)

// checkToken keeps a token off wires on which others can read it. It never repeats the token.
func checkToken(token string, base *url.URL) error {
	if token == "" {
		return nil
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return errors.New("the token has characters that no token has")
	}
	if base.Scheme == "http" && !loopback(base) {
		return fmt.Errorf("API address %q: a token needs https", base)
	}
	return nil
}

func loopback(u *url.URL) bool {
	host := u.Hostname()
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Archives returns the client for archives at an address: one that shows the
// API's token there if the two are one site, or f itself. github.com belongs to
// api.github.com, and an Enterprise serves both from one host. Whatever else the
// configuration names may be somebody else's.
func Archives(f *fetch.Client, token, api, archive string) *fetch.Client {
	token = strings.TrimSpace(token)
	base, err := parseAPI(api)
	if token == "" || err != nil || checkToken(token, base) != nil {
		return f
	}
	at, err := url.Parse(archive)
	if err != nil || !sameSite(base, at) {
		return f
	}
	return f.WithToken(token, at)
}

func sameSite(api, archive *url.URL) bool {
	if loopback(api) && loopback(archive) {
		return true
	}
	if archive.Scheme != "https" || archive.Port() != api.Port() {
		return false
	}
	return archive.Hostname() == api.Hostname() || "api."+archive.Hostname() == api.Hostname()
}
