package config

import (
	"regexp"
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

// redact hides all that looks like a secret.
func redact(s string) string {
	for _, kind := range secrets {
		s = kind.pattern.ReplaceAllString(s, hidden)
	}
	if !slashless.MatchString(s) {
		s = schemeless.pattern.ReplaceAllString(s, hidden)
	}
	return s
}

// recognise finds the first secret in a text.
func recognise(s string) (kind secret, match string, ok bool) {
	for _, kind := range secrets {
		if match := kind.pattern.FindString(s); match != "" {
			return kind, match, true
		}
	}
	if match := schemeless.pattern.FindString(s); match != "" && !slashless.MatchString(s) {
		return schemeless, match, true
	}
	return secret{}, "", false
}

// findSecrets looks for secrets in every key and value of the document, known
// or not, and marks the nodes so that nothing else is said about them.
func (p *parser) findSecrets(v value) {
	switch v.node.Kind {
	case yaml.ScalarNode:
		p.findSecret(v)
	case yaml.SequenceNode:
		for i, node := range v.node.Content {
			if node.Kind != yaml.AliasNode {
				p.findSecrets(enter(node, &path{parent: v.path, item: true, index: i}))
			}
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(v.node.Content); i += 2 {
			p.findSecretsInEntry(v, v.node.Content[i], v.node.Content[i+1])
		}
	}
}

func (p *parser) findSecretsInEntry(v value, keyNode, node *yaml.Node) {
	key := enter(keyNode, &path{parent: v.path, key: keyNode.Value})
	if keyNode.Kind != yaml.ScalarNode {
		if keyNode.Kind != yaml.AliasNode {
			p.findSecrets(key)
		}
	} else if p.findSecret(key) {
		return
	}
	if keyNode.Value == "secretFrom" && inNotify(key) {
		p.findSecrets(enter(node, key.path)) // it names a variable
		return
	}
	before := len(p.errs)
	if node.Kind != yaml.AliasNode {
		p.findSecrets(enter(node, key.path))
	}
	if keyNode.Kind == yaml.ScalarNode && (secretKey.MatchString(keyNode.Value) || keyNode.Value == "url" && inNotify(key)) {
		p.reported[keyNode] = true
		if len(p.errs) == before {
			p.tell(key, "a secret has no place in this file", "", "")
		}
	}
}

func (p *parser) findSecret(v value) bool {
	kind, match, ok := recognise(v.node.Value)
	if !ok && inNotify(v) && strings.Contains(v.node.Value, "://") {
		kind, ok = secret{what: webhook}, true
		if v.path.key == v.node.Value { // {url:https://…} is a mapping with that key
			v.path = &path{parent: v.path.parent, key: hidden}
		}
	}
	if ok {
		p.tell(v, "found "+kind.what+", which has no place in this file", kind.variable, match)
	}
	return ok
}

// inNotify tells whether a value belongs to the webhooks. Who knows the address
// of one can write to it, so that all addresses there are secrets.
func inNotify(v value) bool { return v.path.root() == "notify" }

// tell notes a secret, with what to do instead.
func (p *parser) tell(v value, msg, variable, match string) {
	p.reported[v.node] = true
	if match != "" {
		p.secrets[match] = true
	}
	p.errorf(v, "%s (%s)", msg, instead(v.path.root(), variable))
}

// instead says where the factory takes secrets from.
func instead(root, variable string) string {
	const registry = "set REGISTRY_USER and REGISTRY_PASSWORD in the environment, or log in with docker login"
	switch {
	case root == "notify":
		return "urlFrom and secretFrom name the environment variables that hold them"
	case root == "upstream" || variable == "GITHUB_TOKEN" && root != "publish":
		return "set GITHUB_TOKEN in the environment"
	case root == "publish" || variable == "REGISTRY_PASSWORD":
		return registry
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
			p.report(i+1, column, "", "found "+kind.what+", which has no place in this file ("+instead("", kind.variable)+")")
		}
	}
}
