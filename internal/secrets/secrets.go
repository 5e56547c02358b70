// Package secrets keeps the factory's credentials from the programs that it
// runs: an expression can read any variable with builtins.getEnv.
package secrets

import (
	"slices"
	"strings"
)

// Variables are the environment variables that hold credentials of the factory.
var Variables = []string{"GITHUB_TOKEN", "REGISTRY_PASSWORD", "ATTIC_TOKEN", "CACHIX_AUTH_TOKEN", "CACHIX_SIGNING_KEY"}

// Without returns the entries of an environment but for those that hold
// credentials, and but for the variables named by more.
func Without(environ []string, more ...string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(Variables, name) || slices.Contains(more, name)
	})
}
