package notify

import (
	"fmt"
	"net/http"

	"github.com/nixpkgs-factory/factory/internal/fetch"
)

// Error is an event that a webhook did not take.
type Error struct {
	Name   string       // of the hook; may be ""
	Unsent int          // events behind this one that were not tried
	Err    *fetch.Error // shows scheme and host of the address only
}

// Error says "NAME: POST https://HOST: 503 Service Unavailable (4 attempts)".
func (e *Error) Error() string {
	text := e.Err.Error()
	if e.Name != "" {
		text = e.Name + ": " + text
	}
	if e.Unsent > 0 {
		text += fmt.Sprintf("; %d more not sent", e.Unsent)
	}
	return text
}

// Unwrap returns what became of the request.
func (e *Error) Unwrap() error { return e.Err }

// ofEvent tells whether the event was refused for what it is, so that another one
// may be taken.
func (e *Error) ofEvent() bool {
	switch e.Err.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}
