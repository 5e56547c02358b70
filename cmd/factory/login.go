package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/config"
)

func (a *app) loginCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "login",
		Short: "Log a job of GitHub Actions in to registries, and choose where it publishes",
		Long: `For a step before those that build and publish. They get FACTORY_PUBLISH, where to
publish:

  ghcr.io/OWNER                  always, as GITHUB_ACTOR with GITHUB_TOKEN; OWNER is
                                 GITHUB_REPOSITORY_OWNER
  docker.io/DOCKERHUB_NAMESPACE  if DOCKERHUB_USERNAME and DOCKERHUB_TOKEN are set; the
                                 namespace is the user's own unless it is set
  REGISTRY                       (HOST[:PORT]/PATH) if REGISTRY_USER and
                                 REGISTRY_PASSWORD are set

FACTORY_PUBLISH, destinations separated by spaces, replaces that list if it is set
before. The logins are made all the same, so it may name those registries, too.

Logins are kept in a Docker configuration in RUNNER_TEMP, which goes with the job;
the steps get DOCKER_CONFIG, its folder. It replaces the one that was used before.

Elsewhere use docker login, or REGISTRY_USER and REGISTRY_PASSWORD alone.`,
		Example: `  factory login
  REGISTRY=quay.io/my-org REGISTRY_USER=ann REGISTRY_PASSWORD=… factory login`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return a.login() },
	}
}

func (a *app) login() error {
	for _, variable := range []string{"GITHUB_ENV", "RUNNER_TEMP", "GITHUB_REPOSITORY_OWNER", "GITHUB_ACTOR", "GITHUB_TOKEN"} {
		if a.env(variable) == "" {
			return usageError{fmt.Errorf("%s is not set: this is for jobs of GitHub Actions, elsewhere use docker login", variable)}
		}
	}
	accounts, err := accountsOf(a.env)
	if err != nil {
		return usageError{err}
	}
	dests, err := a.wanted()
	if err != nil {
		return usageError{err}
	}
	if len(dests) == 0 {
		for _, account := range accounts {
			dests = append(dests, account.to)
		}
	}
	dir := filepath.Join(a.env("RUNNER_TEMP"), "docker")
	if err := a.writeLogins(dir, accounts); err != nil {
		return fmt.Errorf("logins: %w", err)
	}
	var publish []string
	for _, dest := range dests {
		fmt.Fprintln(a.stdout, "publishing to", dest.To)
		publish = append(publish, dest.To)
	}
	return appendTo(a.env("GITHUB_ENV"), func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "DOCKER_CONFIG=%s\nFACTORY_PUBLISH=%s\n", dir, strings.Join(publish, " "))
		return err
	})
}

// account is a user of a registry, and where in it images are to be published.
type account struct {
	to             config.Destination
	host           string // as it is called in a Docker configuration
	user, password string
}

func newAccount(to, user, password string) (account, error) {
	dest, err := config.ParseDestination(to, ".")
	if err != nil {
		return account{}, err
	}
	if dest.Layout != "" {
		return account{}, fmt.Errorf("bad destination %q: a folder has no logins", to)
	}
	repo, err := dest.Remote("x")
	if err != nil {
		return account{}, err
	}
	host := repo.RegistryStr()
	if host == name.DefaultRegistry {
		host = authn.DefaultAuthKey
	}
	return account{dest, host, user, password}, nil
}

// accountsOf are the accounts that the settings of a repository on GitHub tell of.
func accountsOf(env func(string) string) ([]account, error) {
	ghcr, err := newAccount("ghcr.io/"+strings.ToLower(env("GITHUB_REPOSITORY_OWNER")), env("GITHUB_ACTOR"), env("GITHUB_TOKEN"))
	if err != nil {
		return nil, fmt.Errorf("GITHUB_REPOSITORY_OWNER: %w", err)
	}
	accounts := []account{ghcr}
	add := func(variable, to, user, password string) error {
		switch {
		case env(user) == "" && env(password) == "":
			return nil
		case env(user) == "" || env(password) == "":
			return fmt.Errorf("%s and %s go together: one of them is not set", user, password)
		case to == "":
			return fmt.Errorf("%s and %s are set, but not %s (HOST[:PORT]/PATH)", user, password, variable)
		}
		next, err := newAccount(to, env(user), env(password))
		if err != nil {
			return fmt.Errorf("%s: %w", variable, err)
		}
		accounts = append(accounts, next)
		return nil
	}
	namespace := env("DOCKERHUB_NAMESPACE")
	if namespace == "" {
		namespace = env("DOCKERHUB_USERNAME")
	}
	if err := add("DOCKERHUB_NAMESPACE", "docker.io/"+strings.ToLower(namespace), "DOCKERHUB_USERNAME", "DOCKERHUB_TOKEN"); err != nil {
		return nil, err
	}
	return accounts, add("REGISTRY", env("REGISTRY"), "REGISTRY_USER", "REGISTRY_PASSWORD")
}

// writeLogins writes a Docker configuration. GitHub hides the passwords in logs,
// for they are secrets of the repository; what is made of them here it has to be
// told.
func (a *app) writeLogins(dir string, accounts []account) error {
	type auth struct {
		Auth string `json:"auth"`
	}
	auths := make(map[string]auth)
	for _, c := range accounts {
		text := base64.StdEncoding.EncodeToString([]byte(c.user + ":" + c.password))
		fmt.Fprintln(a.stdout, "::add-mask::"+text)
		auths[c.host] = auth{text}
	}
	data, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600)
}
