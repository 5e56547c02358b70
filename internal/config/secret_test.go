package config

import (
	"net/url"
	"strings"
	"testing"
)

func TestSecrets(t *testing.T) {
	const (
		key   = defaultCacheKey
		token = "ghp_0123456789abcdef"
		jwt   = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJmYWN0b3J5In0.abc_-"

		environment = "GITHUB_TOKEN, REGISTRY_USER, REGISTRY_PASSWORD, ATTIC_TOKEN, CACHIX_AUTH_TOKEN and the addresses of webhooks are read from the environment"
		forUploads  = "set ATTIC_TOKEN, CACHIX_AUTH_TOKEN or what Nix wants for a store, such as AWS_SECRET_ACCESS_KEY, in the environment"
		forNotify   = "urlFrom and secretFrom name the environment variables that hold them"
	)
	secretKey := "cache.example.org-1:" + strings.Repeat("A", 86) + "=="
	tests := []struct {
		name, data string
		want       []string
	}{
		{"user in an address", "upstream: { api: https://bob:hunter2@a.b }" + valid, []string{
			`1:18: upstream.api: found a user in an address, which has no place in this file (set GITHUB_TOKEN in the environment)`,
		}},
		{"user in a cache", "substituters: [ { url: https://hunter2@a.b, keys: [ " + key + " ] } ]" + valid, []string{
			`1:24: substituters[0].url: found a user in an address, which has no place in this file (binary caches are read without credentials; keys are public ones)`,
		}},
		{"user before a registry", "publish: [ { to: bob:hunter2@ghcr.io/org } ]" + valid, []string{
			`1:18: publish[0].to: found a user in an address, which has no place in this file (set REGISTRY_USER and REGISTRY_PASSWORD in the environment, or log in with docker login)`,
		}},
		{"key with a secret's name", "publish: [ { to: ghcr.io/org, auth: { user: hunter2 } } ]\ngithubToken: hunter2\nupstream: { Token: hunter2 }" + valid, []string{
			`1:31: publish[0].auth: a secret has no place in this file (set REGISTRY_USER and REGISTRY_PASSWORD in the environment, or log in with docker login)`,
			`2:1: githubToken: a secret has no place in this file (` + environment + `)`,
			`3:13: upstream.Token: a secret has no place in this file (set GITHUB_TOKEN in the environment)`,
		}},
		{"both name and looks", "githubToken: " + token + valid, []string{
			`1:14: githubToken: found a GitHub token, which has no place in this file (set GITHUB_TOKEN in the environment)`,
		}},
		{"GitHub token", "cache: " + token + valid, []string{
			`1:8: cache: found a GitHub token, which has no place in this file (set GITHUB_TOKEN in the environment)`,
		}},
		{"GitHub token for a registry", "publish: [ { to: ghcr.io/org/" + token + " } ]" + valid, []string{
			`1:18: publish[0].to: found a GitHub token, which has no place in this file (set REGISTRY_USER and REGISTRY_PASSWORD in the environment, or log in with docker login)`,
		}},
		{"fine-grained GitHub token", "cache: github_pat_0123456789_abc" + valid, []string{
			`1:8: cache: found a GitHub token, which has no place in this file (set GITHUB_TOKEN in the environment)`,
		}},
		{"Docker Hub token", "cache: dckr_pat_0123456789" + valid, []string{
			`1:8: cache: found a Docker Hub token, which has no place in this file (set REGISTRY_USER and REGISTRY_PASSWORD in the environment, or log in with docker login)`,
		}},
		{"GitLab token", "cache: glpat-0123456789abcdef0123" + valid, []string{
			`1:8: cache: found a GitLab token, which has no place in this file (set REGISTRY_USER and REGISTRY_PASSWORD in the environment, or log in with docker login)`,
		}},
		{"JSON web token", "cache: " + jwt + valid, []string{
			`1:8: cache: found a JSON web token, which has no place in this file (` + environment + `)`,
		}},
		{"private key", "cache: |\n  -----BEGIN OPENSSH PRIVATE KEY-----\n  hunter2\n" + valid, []string{
			`1:8: cache: found a private key, which has no place in this file (` + environment + `)`,
		}},
		{"Nix secret key", "substituters: [ { url: https://a.b, keys: [ " + secretKey + " ] } ]" + valid, []string{
			`1:45: substituters[0].keys[0]: found a Nix secret key, which has no place in this file (binary caches are read without credentials; keys are public ones)`,
		}},
		{"token for a cache", "upload: [ { attic: https://a.b, cache: x, jwt: " + jwt + " }, { cachix: x, authToken: hunter2 } ]" + valid, []string{
			`1:43: upload[0].jwt: unknown key (want attic, cache, cachix or store)`,
			`1:48: upload[0].jwt: found a JSON web token, which has no place in this file (` + forUploads + `)`,
			`1:115: upload[1].authToken: a secret has no place in this file (` + forUploads + `)`,
		}},
		{"users in stores", "upload:\n- attic: https://hunter2@a.b\n  cache: x\n- store: s3://hunter2@bucket\n- store: ssh://bob:hunter2@host\n- store: 'ssh-ng://:hunter2@host:x/'\n- store: ftp://bob:hunter2@host" + valid, []string{
			`2:10: upload[0].attic: found a user in an address, which has no place in this file (` + forUploads + `)`,
			`4:10: upload[1].store: found a user in an address, which has no place in this file (` + forUploads + `)`,
			`5:10: upload[2].store: found a user in an address, which has no place in this file (` + forUploads + `)`,
			`6:10: upload[3].store: found a user in an address, which has no place in this file (` + forUploads + `)`,
			`7:10: upload[4].store: found a user in an address, which has no place in this file (` + forUploads + `)`,
		}},
		{"secrets in parameters of stores", "upload:\n- store: 's3://b?secret-key=" + secretKey + "'\n- store: 's3://b?secret-key=" + url.QueryEscape(secretKey) + "'\n- store: 's3://b?secret-keys=/run/a,hunter2'\n- store: 'https://a.b?token=hunter2'\n- store: 's3://b?endpoint=https%3A%2F%2Fbob%3Ahunter2%40a.b'" + valid, []string{
			`2:10: upload[0].store: found a Nix secret key, which has no place in this file (` + forUploads + `)`,
			`3:10: upload[1].store: bad parameter "secret-key": not the absolute path of a file that holds the key`,
			`4:10: upload[2].store: bad parameter "secret-keys": not the absolute path of a file that holds the key`,
			`5:10: upload[3].store: bad parameter "token": a secret has no place in this file (` + forUploads + `)`,
			`6:10: upload[4].store: bad parameter "endpoint": a secret has no place in this file (` + forUploads + `)`,
		}},
		{"address of a webhook", "notify:\n- url: https://a.b/hunter2\n- url: hunter2\n- urlFrom: https://a.b/hunter2\n- urlFrom: a.b/hunter2\n- https://a.b/hunter2\n- {url:https://a.b/hunter2}" + valid, []string{
			`2:3: notify[0].urlFrom: missing (want the name of the environment variable that holds the address, such as FACTORY_WEBHOOK_URL)`,
			`2:8: notify[0].url: found the address of a webhook, which has no place in this file (` + forNotify + `)`,
			`3:3: notify[1].url: a secret has no place in this file (` + forNotify + `)`,
			`3:3: notify[1].urlFrom: missing (want the name of the environment variable that holds the address, such as FACTORY_WEBHOOK_URL)`,
			`4:12: notify[2].urlFrom: found the address of a webhook, which has no place in this file (` + forNotify + `)`,
			`5:12: notify[3].urlFrom: not a variable (want the name of the environment variable that holds the address, such as FACTORY_WEBHOOK_URL)`,
			`6:3: notify[4]: found the address of a webhook, which has no place in this file (` + forNotify + `)`,
			`7:3: notify[5].urlFrom: missing (want the name of the environment variable that holds the address, such as FACTORY_WEBHOOK_URL)`,
			`7:4: notify[5]."(hidden)": found the address of a webhook, which has no place in this file (` + forNotify + `)`,
		}},
		{"address in place of the webhooks", "notify: https://a.b/hunter2" + valid, []string{
			`1:9: notify: found the address of a webhook, which has no place in this file (` + forNotify + `)`,
		}},
		{"known webhooks elsewhere", "# https://hooks.slack.com/services/hunter2\ncache: discord.com/api/webhooks/1/hunter2" + valid, []string{
			`1:11: found the address of a webhook, which has no place in this file (` + environment + `)`,
			`2:8: cache: found the address of a webhook, which has no place in this file (` + environment + `)`,
		}},
		{"in a label", "labels: { vendor: " + token + ", a.token: x }" + valid, []string{
			`1:19: labels.vendor: found a GitHub token, which has no place in this file (set GITHUB_TOKEN in the environment)`,
			`1:41: labels."a.token": a secret has no place in this file (` + environment + `)`,
		}},
		{"as a key", token + ": x" + valid, []string{
			`1:1: (hidden): found a GitHub token, which has no place in this file (set GITHUB_TOKEN in the environment)`,
		}},
		{"as half a key", strings.Repeat("k", 25) + "-" + token + ": x" + valid, []string{
			`1:1: kkkkkkkkkkkkkkkkkkkkkkkkk-(hidden): found a GitHub token, which has no place in this file (set GITHUB_TOKEN in the environment)`,
		}},
		{"below an unknown key", "x: { y: [ z, " + token + " ] }" + valid, []string{
			`1:1: x: unknown key (want ` + known + `)`,
			`1:14: x.y[1]: found a GitHub token, which has no place in this file (set GITHUB_TOKEN in the environment)`,
		}},
		{"escaped", "cache: \"\\x67hp_0123456789abcdef\"" + valid, []string{
			`1:8: cache: found a GitHub token, which has no place in this file (set GITHUB_TOKEN in the environment)`,
		}},
		{"behind an alias", "cache: &a " + token + "\nstate: *a" + valid, []string{
			`1:8: cache: found a GitHub token, which has no place in this file (set GITHUB_TOKEN in the environment)`,
		}},
		{"in a wrong type", "systems: " + token + valid, []string{
			`1:10: systems: found a GitHub token, which has no place in this file (set GITHUB_TOKEN in the environment)`,
		}},
		{"in a comment", "# was https://bob:hunter2@example.org/\ncache: x # " + token + valid, []string{
			`1:7: found a user in an address, which has no place in this file (` + environment + `)`,
			`2:12: found a GitHub token, which has no place in this file (set GITHUB_TOKEN in the environment)`,
		}},
		{"beside a syntax error", "a: [ " + token + "\n", []string{
			`1: not YAML: did not find expected ',' or ']'`,
			`1:6: found a GitHub token, which has no place in this file (set GITHUB_TOKEN in the environment)`,
		}},
		{"in a syntax error", "a: *" + token + "\n", []string{
			`1: not YAML: unknown anchor '(hidden)' referenced`,
			`1:5: found a GitHub token, which has no place in this file (set GITHUB_TOKEN in the environment)`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, message := range checkErrors(t, tt.data, tt.want) {
				for _, secret := range []string{"hunter2", "0123456789", "AAAAA", "eyJ", "bob"} {
					if strings.Contains(message, secret) {
						t.Errorf("%s: repeats %s", message, secret)
					}
				}
			}
		})
	}
}
