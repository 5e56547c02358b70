package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

// keychain finds credentials in the Docker configuration first. What that does
// not have is answered with REGISTRY_USER and REGISTRY_PASSWORD, for one host
// only: a password must not go to a registry that it is not for.
func (a *app) keychain(dests []config.Destination) (authn.Keychain, error) {
	user, password := a.env("REGISTRY_USER"), a.env("REGISTRY_PASSWORD")
	if user == "" && password == "" {
		return dockerLogins, nil
	}
	if user == "" || password == "" {
		return nil, usageError{errors.New("REGISTRY_USER and REGISTRY_PASSWORD go together: one of them is not set")}
	}
	host := a.env("REGISTRY_HOST")
	for _, d := range dests {
		if d.Registry == "" || a.env("REGISTRY_HOST") != "" {
			continue
		}
		repo, err := d.Remote("x")
		if err != nil {
			return nil, err
		}
		this := repo.RegistryStr()
		known, err := dockerLogins.Resolve(repo)
		if err != nil {
			return nil, err
		}
		if known != authn.Anonymous || host == this {
			continue
		}
		if host != "" {
			return nil, usageError{fmt.Errorf("REGISTRY_USER could be meant for %s or for %s: set REGISTRY_HOST to one of them, or log in with docker login", host, this)}
		}
		host = this
	}
	return authn.NewMultiKeychain(dockerLogins, login{host, authn.FromConfig(authn.AuthConfig{Username: user, Password: password})}), nil
}

// dockerLogins are those of docker login, which may come from a program.
var dockerLogins = registry.Bounded(authn.DefaultKeychain, time.Minute)

// login is the credential for one registry host.
type login struct {
	host string
	auth authn.Authenticator
}

func (l login) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if r.RegistryStr() == l.host {
		return l.auth, nil
	}
	return authn.Anonymous, nil
}
