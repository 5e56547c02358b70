package config

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// secret is a kind of text that must not stand in a file that is committed.
type secret struct {
	what     string
	variable string // where the factory takes it from instead; "" when it has no use for it
	pattern  *regexp.Regexp
}

// secrets are the kinds that can be told from their looks. Token formats:
// https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/
// and RFC 7519. A Nix secret key is a name and 64 bytes, a public one 32. A user
// is a credential with HTTP and S3, with others (ssh://) only beside a password.
var secrets = []secret{
	{"a GitHub token", "GITHUB_TOKEN", regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{10,}|github_pat_[A-Za-z0-9_]{10,})`)},
	{"a Docker Hub token", "REGISTRY_PASSWORD", regexp.MustCompile(`\bdckr_[a-z]{2,4}_[A-Za-z0-9_-]{10,}`)},
	{"a GitLab token", "REGISTRY_PASSWORD", regexp.MustCompile(`\bgl(?:pat|dt|rt|cbt|ptt|soat|oas|ft)-[A-Za-z0-9_-]{10,}`)},
	{"a JSON web token", "", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*`)},
	{"a Nix secret key", "", regexp.MustCompile(`[\w.+-]*:[A-Za-z0-9+/]{86}==`)},
	{"a private key", "", regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----`)},
	{"a user in an address", "", regexp.MustCompile(`(?i)\b(?:(?:https?|s3)://[^\s/@"'?#]+|[a-z][a-z0-9+.-]*://[^\s/:@"'?#]*:[^\s/@"'?#]+)@`)},
	{webhook, "", regexp.MustCompile(`(?i)\b(?:hooks\.slack\.com/[a-z]+|discord(?:app)?\.com/api/webhooks)/[^\s"']+`)},
}

const webhook = "the address of a webhook"

// Registry prefixes have no scheme before the user. What begins with a scheme
// that needs no slashes looks the same.
var (
	schemeless = secret{"a user in an address", "", regexp.MustCompile(`^[^\s/:@]+:[^\s/@]+@`)}
	slashless  = regexp.MustCompile(`^(?:oci|mailto):`)
)

var secretKey = regexp.MustCompile(`(?i)passw|passphrase|token|secret|credential|api_?key|private_?key|^auth$`)

// hidden stands for a secret in messages.
const hidden = "(hidden)"

// kinds are the kinds of secrets that a text may be or hold.
func kinds(s string) []secret {
	if slashless.MatchString(s) {
		return secrets
	}
	return append(slices.Clip(secrets), schemeless)
}

// redact hides all that looks like a secret.
func redact(s string) string {
	for _, kind := range kinds(s) {
		s = kind.pattern.ReplaceAllString(s, hidden)
	}
	return s
}

// recognise finds the first secret in a text. It is "" where there is none.
func recognise(s string) (kind secret, match string) {
	for _, kind := range kinds(s) {
		if match := kind.pattern.FindString(s); match != "" {
			return kind, match
		}
	}
	return secret{}, ""
}

// findSecrets looks for secrets in every key and value of the document, known
// or not, and marks the nodes so that nothing else is said about them. What an
// alias stands for is looked at where it stands.
func (p *parser) findSecrets(v value) {
	switch v.node.Kind {
	case yaml.ScalarNode:
		p.findSecret(v)
	case yaml.SequenceNode:
		for i, node := range v.node.Content {
			p.findSecrets(v.item(i, node))
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(v.node.Content); i += 2 {
			p.findSecretsInEntry(v, v.node.Content[i], v.node.Content[i+1])
		}
	}
}

func (p *parser) findSecretsInEntry(v value, name, node *yaml.Node) {
	key := v.entry(name.Value, name)
	before := len(p.errs)
	p.findSecrets(key)
	if p.reported[name] {
		return
	}
	p.findSecrets(v.entry(name.Value, node))
	if name.Kind != yaml.ScalarNode || !meansSecret(key) {
		return
	}
	p.reported[name] = true
	if len(p.errs) == before {
		p.tell(key, "a secret has no place in this file", "", "")
	}
}

// meansSecret tells by its name whether a key holds a secret. secretFrom names a
// variable.
func meansSecret(key value) bool {
	name := key.node.Value
	if inNotify(key) && (name == "url" || name == "secretFrom") {
		return name == "url"
	}
	return secretKey.MatchString(name)
}

func (p *parser) findSecret(v value) {
	text := v.node.Value
	kind, match := recognise(text)
	if match == "" && inNotify(v) && strings.Contains(text, "://") {
		kind = secret{what: webhook}
		if before, isKey := strings.CutSuffix(v.path, step(text)); isKey { // {url:https://…} is a mapping with that key
			v.path = before + step(hidden)
		}
	}
	if kind.what != "" {
		p.tell(v, "found "+kind.what+", which has no place in this file", kind.variable, match)
	}
}

// inNotify tells whether a value belongs to the webhooks. Who knows the address
// of one can write to it, so that all addresses there are secrets.
func inNotify(v value) bool { return v.root() == "notify" }

// tell notes a secret, with what to do instead.
func (p *parser) tell(v value, msg, variable, match string) {
	p.reported[v.node] = true
	if match != "" {
		p.secrets[match] = true
	}
	p.errorf(v, "%s (%s)", msg, instead(v.root(), variable))
}

// instead says where the factory takes secrets from.
func instead(root, variable string) string {
	switch {
	case root == "notify":
		return "urlFrom and secretFrom name the environment variables that hold them"
	case root == "upstream" || variable == "GITHUB_TOKEN" && root != "publish":
		return "set GITHUB_TOKEN in the environment"
	case root == "publish" || variable == "REGISTRY_PASSWORD":
		return "set REGISTRY_USER and REGISTRY_PASSWORD in the environment, or log in with docker login"
	case root == "substituters":
		return "binary caches are read without credentials; keys are public ones"
	case root == "upload":
		return "set ATTIC_TOKEN, CACHIX_AUTH_TOKEN or what Nix wants for a store, such as AWS_SECRET_ACCESS_KEY, in the environment"
	default:
		return "GITHUB_TOKEN, REGISTRY_USER, REGISTRY_PASSWORD, ATTIC_TOKEN, CACHIX_AUTH_TOKEN and the addresses of webhooks are read from the environment"
	}
}

// findSecretsInText looks where the document has no nodes: in comments, and in
// a file that is not YAML.
func (p *parser) findSecretsInText(data []byte) {
	if len(data) > maxSize {
		return
	}
	for i, line := range strings.Split(string(data), "\n") {
		for _, kind := range secrets {
			at := kind.pattern.FindStringIndex(line)
			if at == nil || p.secrets[line[at[0]:at[1]]] {
				continue
			}
			column := utf8.RuneCountInString(line[:at[0]]) + 1
			p.report(i+1, column, "", "found %s, which has no place in this file (%s)", kind.what, instead("", kind.variable))
		}
	}
}
