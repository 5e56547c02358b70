// Package examples has the workflows that factory init writes.
package examples

import _ "embed"

// Workflows that publish what a channels.yaml says.
var (
	//go:embed github-workflow.yml
	GitHub []byte
	//go:embed gitlab-ci.yml
	GitLab []byte
	//go:embed forgejo-workflow.yml
	Forgejo []byte
)
