package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

const schemaFile = "../../docs/channels.schema.json"

var update = flag.Bool("update", false, "write "+schemaFile)

// The schema that editors get is the one that the table makes.
func TestSchemaFile(t *testing.T) {
	if *update {
		if err := os.WriteFile(schemaFile, Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(Schema()), string(data)); diff != "" {
		t.Errorf("go test ./internal/config -run TestSchemaFile -update writes it again (-want +got):\n%s", diff)
	}
}

// The first line of the shipped file leads editors to the schema.
func TestSchemaIsNamed(t *testing.T) {
	data, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	if line, _, _ := strings.Cut(string(data), "\n"); line != "# yaml-language-server: $schema=docs/channels.schema.json" {
		t.Errorf("the first line is %q", line)
	}
}

// compiled is the schema as another program understands it, which has held it against
// the schema of schemas.
var compiled = sync.OnceValues(func() (*jsonschema.Schema, error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(SchemaURL, document); err != nil {
		return nil, err
	}
	return c.Compile(SchemaURL)
})

// againstSchema holds the one document of a file against the schema.
func againstSchema(t *testing.T, data []byte) error {
	t.Helper()
	s, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil {
		return err
	}
	if node.Kind != yaml.DocumentNode {
		return s.Validate(nil)
	}
	plain, err := json.Marshal(asJSON(t, node.Content[0]))
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(plain))
	if err != nil {
		return err
	}
	return s.Validate(value)
}

// asJSON is a node as editors hand it to a schema: keys are texts.
func asJSON(t *testing.T, n *yaml.Node) any {
	t.Helper()
	switch n.Kind {
	case yaml.AliasNode:
		return asJSON(t, n.Alias)
	case yaml.SequenceNode:
		list := []any{}
		for _, item := range n.Content {
			list = append(list, asJSON(t, item))
		}
		return list
	case yaml.MappingNode:
		m := make(map[string]any)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			for key.Kind == yaml.AliasNode {
				key = key.Alias
			}
			m[key.Value] = asJSON(t, n.Content[i+1])
		}
		return m
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return nil
	}
	return v
}

// What is good is good to both.
func TestSchemaAccepts(t *testing.T) {
	data, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	good := []string{
		string(data), string(commented.ReplaceAll(data, []byte("$1$2"))),
		"channels: [ { name: a, backfill: 0, frozen: false } ]",
		"publish: []\nlabels: {}\nsource: {}\nevaluation: {}\nupstream: {}\nchannels: [ { name: a } ]",
		"jitter: 0\nlimit: 1h30m\nevaluation: { timeout: 90s, memory: 512MiB }\nchannels: [ { name: a } ]",
		"publish: [ { to: oci:/srv/x }, { to: ghcr.io/org/below }, { to: 'http://registry:5000' }, { to: '[::1]:5000/a' } ]\nchannels: [ { name: a } ]",
		"schedule: '@every 30m'\ntimezone: Europe/Berlin\nchannels: [ { name: a, tags: [ '{version}', 'at-{rev:12}', '{digest:64}', x ] } ]",
		"upload: [ { store: 'ssh-ng://builder' } ]\nnotify: [ { urlFrom: a } ]\nchannels: [ { name: a } ]",
		"images: [ { folder: x, repository: 'org/{channel}/{channel}-x', suffix: .x } ]\nchannels: [ { name: a } ]",
	}
	for _, text := range good {
		if _, err := Parse("c.yaml", []byte(text)); err != nil {
			t.Errorf("Parse(%q): %v", text, err)
		}
		if err := againstSchema(t, []byte(text)); err != nil {
			t.Errorf("the schema refuses %q: %v", text, err)
		}
	}
}

// What is bad to the eye is bad to both.
func TestSchemaRefuses(t *testing.T) {
	for _, text := range []string{
		"", "[]", "{}", "channels: []", "channels:", "channels: [ a ]", "channels: [ {} ]", "channels: [ { name: A } ]", "channels: [ { name: a.lock } ]",
		"channels: [ { name: a, tag: [ x ] } ]", "channels: [ { name: a, tags: [ '{sha}' ] } ]", "channels: [ { name: a, tags: [ '{rev}' ] } ]",
		"channels: [ { name: a, tags: [ x, x ] } ]", "channels: [ { name: a, tags: [] } ]", "channels: [ { name: a, systems: [ arm64 ] } ]",
		"channels: [ { name: a, backfill: 51 } ]", "channels: [ { name: a, backfill: 1.5 } ]", "channels: [ { name: a, frozen: 'true' } ]",
		"channels: [ { name: 0123456789abcdef0123456789abcdef01234567 } ]", "image: []" + valid, "upstream: { repository: nixpkgs }" + valid,
		"upstream: { archive: ftp://a }" + valid, "upstream: { api: file:///a }" + valid, "upstream: { api: 'https://a?b' }" + valid, "upstream:" + valid,
		"substituters: [ { url: https://a } ]" + valid, "substituters: [ { url: https://a, keys: [ a ] } ]" + valid,
		"publish: [ oci:./x ]" + valid, "publish: [ { to: https://ghcr.io/org } ]" + valid, "publish: [ { to: ghcr.io/Org } ]" + valid,
		"images: [ { folder: x, repository: '{rev}' } ]" + valid, "images: [ { folder: x, suffix: ' ' } ]" + valid, "images: [ { repository: x } ]" + valid,
		"schedule: 0 0 * *" + valid, "schedule: '@reboot'" + valid, "timezone: 2" + valid, "source: { names: [ source ] }" + valid,
		"source: { names: [ nixpkgs-src, .x ] }" + valid, "compression: lz4" + valid, "state: ''" + valid, "cache: {}" + valid,
		"jitter: 1" + valid, "jitter: 5 minutes" + valid, "grace: 0" + valid, "limit: -1h" + valid, "backfill: -1" + valid, "backfill: '1'" + valid,
		"labels: { A: x }" + valid, "labels: { a: 1 }" + valid, "labels: { org.opencontainers.image.revision: x }" + valid, "labels: []" + valid,
		"verify: true" + valid, "verify: [ 1 ]" + valid, "verify: [ " + strings.Repeat("a, ", 17) + " ]" + valid,
		"upload: [ { attic: https://a } ]" + valid, "upload: [ { cachix: a, store: s3://b } ]" + valid, "upload: [ { attic: https://a, cache: b, cachix: c } ]" + valid,
		"upload: [ { cache: b, cachix: c } ]" + valid, "upload: [ {} ]" + valid, "upload: [ { store: ftp://b } ]" + valid,
		"notify: [ { urlFrom: https://a } ]" + valid, "notify: [ { urlFrom: A, secretFrom: a } ]" + valid, "notify: [ { urlFrom: A, on: [ built ] } ]" + valid,
		"nix: docker" + valid, "evaluation: { memory: 4GB }" + valid, "evaluation: { memory: 4 }" + valid, "evaluation: { timeout: 10 }" + valid,
	} {
		if _, err := Parse("c.yaml", []byte(text)); err == nil {
			t.Errorf("Parse(%q) found nothing wrong", text)
		}
		if againstSchema(t, []byte(text)) == nil {
			t.Errorf("the schema accepts %q", text)
		}
	}
}

// A file with every key, of which one value at a time is put in place of another: what
// the schema refuses the parser refuses, and what is no value of that kind both do.
func TestSchemaAgrees(t *testing.T) {
	data, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(commented.ReplaceAll(data, []byte("$1$2")), &document); err != nil {
		t.Fatal(err)
	}
	tried := 0
	var visit func(path string, n *yaml.Node)
	visit = func(path string, n *yaml.Node) {
		n.HeadComment, n.LineComment, n.FootComment = "", "", "" // they are most of the file
		was := *n
		for _, other := range []string{"null", "true", "7", "''", "x y", "10m", "{}", "[ x ]", "{ x: y }", "oci:x"} {
			*n = *parsed(other)
			tried++
			text, err := yaml.Marshal(&document)
			if err != nil {
				t.Fatal(err)
			}
			_, wrong := Parse("c.yaml", text)
			refused := againstSchema(t, text)
			if wrong == nil && refused != nil {
				t.Errorf("%s: %s: the schema refuses what Parse accepts: %v", path, other, refused)
			}
			if wrong == nil != (refused == nil) && n.Kind != was.Kind {
				t.Errorf("%s: %s: Parse says %v, the schema %v", path, other, wrong, refused)
			}
		}
		*n = was
		for i, child := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 {
				child.HeadComment, child.LineComment, child.FootComment = "", "", ""
				continue
			}
			visit(fmt.Sprintf("%s/%d", path, i), child)
		}
	}
	document.HeadComment, document.FootComment = "", ""
	visit("", document.Content[0])
	if tried < 800 {
		t.Errorf("%d values were tried: the file no longer has every key", tried)
	}
}
