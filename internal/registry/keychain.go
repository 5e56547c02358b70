package registry

import (
	"context"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Bounded returns a keychain that waits no longer than limit for another one,
// nor for a context that is done. Keychains may start programs, credential helpers,
// which wait for a person, a network or a lock.
func Bounded(inner authn.Keychain, limit time.Duration) authn.Keychain {
	return bounded{inner, limit}
}

type bounded struct {
	inner authn.Keychain
	limit time.Duration
}

// Resolve implements [authn.Keychain].
func (b bounded) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return b.ResolveContext(context.Background(), target)
}

// ResolveContext implements [authn.ContextKeychain]. What is not done in time
// goes on, for it cannot be ended.
func (b bounded) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	type answer struct {
		auth authn.Authenticator
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		auth, err := authn.Resolve(ctx, b.inner, target)
		answered <- answer{auth, err}
	}()
	timer := time.NewTimer(b.limit)
	defer timer.Stop()
	select {
	case a := <-answered:
		return a.auth, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		return nil, fmt.Errorf("credentials for %s: no answer for %v: what does the credential helper of the Docker configuration wait for?", target.RegistryStr(), b.limit)
	}
}
