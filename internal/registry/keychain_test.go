package registry

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// deaf is a keychain that does not answer before it is told to.
type deaf struct{ asked, answer chan struct{} }

func (d deaf) Resolve(authn.Resource) (authn.Authenticator, error) {
	close(d.asked)
	<-d.answer
	return authn.FromConfig(authn.AuthConfig{Username: "ann"}), nil
}

// A credential helper that hangs keeps nobody waiting without end.
func TestBounded(t *testing.T) {
	repo, err := name.NewRepository("registry.example.org/a")
	if err != nil {
		t.Fatal(err)
	}
	newDeaf := func() deaf {
		d := deaf{make(chan struct{}), make(chan struct{})}
		t.Cleanup(func() { close(d.answer) })
		return d
	}
	if _, err := Bounded(newDeaf(), time.Nanosecond).Resolve(repo); err == nil || !strings.Contains(err.Error(), "credentials for registry.example.org: no answer for 1ns") {
		t.Errorf("at the limit: %v", err)
	}

	d := newDeaf()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-d.asked; cancel() }()
	if _, err := authn.Resolve(ctx, authn.NewMultiKeychain(Bounded(d, time.Hour)), repo); !errors.Is(err, context.Canceled) {
		t.Errorf("when the context is done: %v", err)
	}

	d = deaf{make(chan struct{}), make(chan struct{})}
	go func() { <-d.asked; close(d.answer) }()
	auth, err := Bounded(d, time.Hour).Resolve(repo)
	if err != nil {
		t.Fatal(err)
	}
	if config, err := auth.Authorization(); err != nil || config.Username != "ann" {
		t.Errorf("an answer is %+v, %v", config, err)
	}
}
