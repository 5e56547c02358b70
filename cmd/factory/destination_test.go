package main

import (
	"log"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	fake "github.com/google/go-containerregistry/pkg/registry"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/registry/registrytest"
)

// A destination that says http:// is spoken to so, and another one with the same
// host is not. The address is one of this machine that the library does not take
// for one, as it is with names.
func TestPlainDestination(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(fake.New(fake.Logger(log.New(t.Output(), "", 0))))
	server.Listener.Close()
	server.Listener = l
	server.Start()
	defer server.Close()
	host := l.Addr().String()
	for to, want := range map[string]string{
		"http://" + host + "/org": "",
		host + "/org":             "write http://" + host + "/... as the destination",
	} {
		if err := canPush(t, &app{env: func(string) string { return "" }}, to); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", to, err, want)
		}
	}
}

// REGISTRY_TRUSTED_HOSTS lets credentials go to a token service elsewhere.
func TestTrustedHosts(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	tokens := &registrytest.Tokens{}
	service := httptest.NewServer(tokens)
	defer service.Close()
	elsewhere := strings.Replace(service.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	tokens.Realm = "http://" + elsewhere + "/token"
	host := (&registrytest.Odd{Tokens: tokens}).Serve(t)
	for trusted, want := range map[string]string{
		"":                        "REGISTRY_TRUSTED_HOSTS=" + elsewhere,
		"10.0.0.1, " + elsewhere:  "",
		"10.0.0.1\n" + elsewhere:  "",
		elsewhere + " 10.0.0.1:1": "",
	} {
		env := map[string]string{"REGISTRY_USER": "ann", "REGISTRY_PASSWORD": "secret", "REGISTRY_TRUSTED_HOSTS": trusted}
		if err := canPush(t, &app{env: func(key string) string { return env[key] }}, host+"/org"); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("trusting %q: %v, want %q", trusted, err, want)
		}
	}
}

func canPush(t *testing.T, a *app, to string) error {
	t.Helper()
	dest, err := config.ParseDestination(to, ".")
	if err != nil {
		t.Fatal(err)
	}
	open, err := a.repositories(config.Config{Publish: []config.Destination{dest}})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := open(dest, "nixos-26.05")
	if err != nil {
		t.Fatal(err)
	}
	return repo.CanPush(t.Context())
}
