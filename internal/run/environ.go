package run

import (
	"os"
	"slices"
	"strings"
)

// Variables that programs may have of the factory's environment. A star at the
// end stands for anything.
var (
	// Common are what programs need to find their way.
	Common = []string{
		"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LANGUAGE", "LC_*", "TZ", "TZDIR", "TMPDIR",
		"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME",
		"SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE", "LOCALE_ARCHIVE",
		"http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
	}

	// OfNix are what the Nix of this machine, with its store, is set up by, and
	// the agent that it asks for sources over SSH.
	OfNix = []string{"NIX_*", "NIXPKGS_*", "LD_LIBRARY_PATH", "SSH_AUTH_SOCK", "GIT_SSH_COMMAND"}

	// OfStores are where Nix takes credentials from for stores that it writes to.
	OfStores = []string{"AWS_*", "SSH_AUTH_SOCK", "NETRC", "CURL_CA_BUNDLE"}

	// OfVerify say where container engines are and how they are set up, where
	// their credentials are among it, but not credentials themselves; and what
	// the operator means for commands that verify.
	OfVerify = []string{
		"DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS", "DOCKER_TLS_VERIFY",
		"DOCKER_API_VERSION", "DOCKER_BUILDKIT", "DOCKER_DEFAULT_PLATFORM", "BUILDX_BUILDER", "BUILDX_CONFIG",
		"BUILDAH_FORMAT", "BUILDAH_ISOLATION", "STORAGE_DRIVER", "STORAGE_OPTS",
		"CONTAINER_HOST", "CONTAINER_CONNECTION", "CONTAINERS_CONF", "CONTAINERS_REGISTRIES_CONF", "CONTAINERS_STORAGE_CONF",
		"REGISTRY_AUTH_FILE", "KUBECONFIG", "VERIFY_*", "SMOKE_TEST_NIX_CONFIG",
	}
)

// credentials are the variables that hold secrets of the factory. No pattern
// above stands for them: who is to have one gets it by name.
var credentials = []string{"GITHUB_TOKEN", "REGISTRY_PASSWORD", "DOCKERHUB_TOKEN", "ATTIC_TOKEN", "CACHIX_AUTH_TOKEN", "CACHIX_SIGNING_KEY", "COSIGN_PASSWORD", "COSIGN_PRIVATE_KEY", "DOCKER_AUTH_CONFIG"}

// Environ returns the part of the factory's environment that the lists name,
// but nothing that is a secret of the factory's.
func Environ(lists ...[]string) []string {
	kept := []string{}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if !slices.Contains(credentials, name) && slices.ContainsFunc(lists, func(list []string) bool { return named(list, name) }) {
			kept = append(kept, entry)
		}
	}
	return kept
}

func named(list []string, name string) bool {
	return slices.ContainsFunc(list, func(pattern string) bool {
		prefix, some := strings.CutSuffix(pattern, "*")
		return name == pattern || some && strings.HasPrefix(name, prefix)
	})
}

// TakeSecrets reads the environment once and takes the secrets out of it: from
// then on only the function that is returned has them. The kernel's copy of
// the environment, which other processes of the same user could read, is
// overwritten, and the process lets nobody but root look into it. It has no
// core dumps from then on, and no debugger of an ordinary user can attach.
func TakeSecrets() func(name string) string {
	all := make(map[string]string)
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		all[name] = value
	}
	Forget(credentials...)
	conceal()
	return func(name string) string { return all[name] }
}

// Forget takes variables out of the environment: those whose names come from
// the configuration.
func Forget(names ...string) {
	for _, name := range names {
		os.Unsetenv(name)
	}
}
