package upload

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// forAll reports whether no other object will fare better: the server does not
// let us in, or cannot be reached.
func forAll(err error) bool {
	var failed *fetch.Error
	var source *fetch.BodyError
	return denied(err) || errors.As(err, &failed) && failed.Status == 0 && !errors.As(err, &source)
}

// denied reports whether an answer says that we have no business with the server.
func denied(err error) bool {
	var failed *fetch.Error
	return errors.As(err, &failed) && (failed.Status/100 == 3 || slices.Contains([]int{
		http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired,
	}, failed.Status))
}

// refused returns what an answer with a bad status says: JSON of Attic, or
// whatever a proxy in front of it wrote. Either may repeat the token it was sent.
func (s *session) refused(answer *http.Response) error {
	if to, _, _ := strings.Cut(answer.Header.Get("Location"), "?"); to != "" && answer.StatusCode/100 == 3 {
		return errors.New("redirected to " + s.shown(fetch.Redact(to)) + "; such an endpoint has to be configured as it is")
	}
	body, _ := io.ReadAll(answer.Body) // what there is of it
	var attic struct {
		Error   string `json:"error"` // Attic's name of the error, like "NoSuchCache"
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &attic) != nil || attic.Error == "" && attic.Message == "" {
		attic.Error, attic.Message = "", string(body)
	}
	if strings.Contains(answer.Header.Get("Content-Type"), "html") {
		attic.Message = ""
	}
	kind, text := s.shown(attic.Error), s.shown(attic.Message)
	switch {
	case kind == "" && text == "":
		return nil
	case text == "":
		return errors.New(kind)
	case kind == "" || kind == strings.TrimSuffix(text, "."):
		return errors.New(text)
	}
	return errors.New(kind + ": " + text)
}

// shown is what a server wrote, as it may be shown.
func (s *session) shown(text string) string { return said.Line(hide(text, s.Token)) }

// hide removes secrets from a text.
func hide(text string, secrets ...string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "(hidden)")
		}
	}
	return text
}

// concealed is an error without its secrets.
type concealed struct {
	error
	secrets []string
}

func conceal(err error, secrets ...string) error {
	if err == nil || hide(err.Error(), secrets...) == err.Error() {
		return err
	}
	return &concealed{err, secrets}
}

func (c *concealed) Error() string { return hide(c.error.Error(), c.secrets...) }
func (c *concealed) Unwrap() error { return c.error }
