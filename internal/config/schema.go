package config

import (
	"bytes"
	"encoding/json"
	"slices"
)

// SchemaURL is where editors find the schema of files that are not beside it.
const SchemaURL = "https://raw.githubusercontent.com/nixpkgs-factory/factory/main/docs/channels.schema.json"

// schema is what JSON Schema can say of a value, and so less than its rule. The
// fields are keywords of draft 7, the newest that all editors know:
// https://json-schema.org/draft-07/json-schema-validation
type schema struct {
	Dialect     string `json:"$schema,omitempty"`
	ID          string `json:"$id,omitempty"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"` // what is wanted
	Type        string `json:"type,omitempty"`
	Default     any    `json:"default,omitempty"`

	Enum      []string `json:"enum,omitempty"`
	Pattern   string   `json:"pattern,omitempty"`
	MinLength int      `json:"minLength,omitempty"`
	MaxLength int      `json:"maxLength,omitempty"` // in characters, where the rule counts bytes
	Minimum   *int     `json:"minimum,omitempty"`
	Maximum   *int     `json:"maximum,omitempty"`

	Items           any     `json:"items,omitempty"` // a schema for all, or a list of them for the first
	AdditionalItems *schema `json:"additionalItems,omitempty"`
	MinItems        int     `json:"minItems,omitempty"`
	MaxItems        int     `json:"maxItems,omitempty"`
	UniqueItems     bool    `json:"uniqueItems,omitempty"`

	Properties           map[string]schema `json:"properties,omitempty"`
	PropertyNames        *schema           `json:"propertyNames,omitempty"`
	AdditionalProperties any               `json:"additionalProperties,omitempty"` // a schema, or false
	Required             []string          `json:"required,omitempty"`

	AnyOf []schema `json:"anyOf,omitempty"`
	OneOf []schema `json:"oneOf,omitempty"`
	Not   *schema  `json:"not,omitempty"`
}

// Schema is the JSON schema of channels.yaml, for editors and other programs. What
// Parse accepts is valid; of what is valid Parse may refuse some, for a schema knows
// neither two values at once nor what a schedule is.
func Schema() []byte {
	s := new(Config).rules(".").is
	s.Dialect, s.ID = "http://json-schema.org/draft-07/schema#", SchemaURL
	s.Title, s.Description = "channels.yaml", "What the factory follows, builds and publishes: "+DefaultSource
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		panic(err) // only texts, numbers and truth values are in it
	}
	return b.Bytes()
}

// object is the schema of a mapping with known keys. Where there are kinds of keys,
// it is one of several mappings.
func object(want string, keys []key) schema {
	var kinds []string
	for _, k := range keys {
		if k.kind != "" && !slices.Contains(kinds, k.kind) {
			kinds = append(kinds, k.kind)
		}
	}
	if len(kinds) == 0 {
		return properties(want, keys)
	}
	s := schema{Description: want}
	for _, kind := range kinds {
		s.OneOf = append(s.OneOf, properties("", slices.DeleteFunc(slices.Clone(keys), func(k key) bool { return k.kind != "" && k.kind != kind })))
	}
	return s
}

func properties(want string, keys []key) schema {
	s := schema{Description: want, Type: "object", Properties: make(map[string]schema), AdditionalProperties: false}
	for _, k := range keys {
		property := k.rule.is
		property.Default = k.plain()
		s.Properties[k.name] = property
		if k.missing != "" {
			s.Required = append(s.Required, k.name)
		}
	}
	return s
}

// plain is the default of a key as JSON has it; nil without one, and where every key
// below has its own.
func (k key) plain() any {
	if k.value == "" || k.value == "{}" {
		return nil
	}
	var v any
	if err := parsed(k.value).Decode(&v); err != nil {
		panic(err)
	}
	return v
}
