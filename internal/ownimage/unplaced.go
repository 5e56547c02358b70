package ownimage

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// unplaced returns a configuration without the layouts that it publishes to: in a
// container they would be folders that are gone with it. Where nothing else is
// left the configuration publishes nowhere, so that whoever runs it has to say
// where to.
func unplaced(data []byte) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("want a mapping")
	}
	root := doc.Content[0]
	list := valueOf(root, "publish")
	if list == nil {
		list = &yaml.Node{Kind: yaml.SequenceNode}
		root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "publish"}, list)
	}
	list.Content = slices.DeleteFunc(slices.Clone(list.Content), func(item *yaml.Node) bool {
		to := valueOf(item, "to")
		return to != nil && strings.HasPrefix(to.Value, "oci:")
	})
	if len(list.Content) == 0 {
		list.Style = yaml.FlowStyle
		list.LineComment = "# say where to with FACTORY_PUBLISH or --publish"
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return nil, err
	}
	return out.Bytes(), enc.Close()
}

func valueOf(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}
