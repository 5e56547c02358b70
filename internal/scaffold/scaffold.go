// Package scaffold makes what a repository needs to have images made: a
// channels.yaml, the image folder that it names, and the workflow of the service
// that the repository is on.
//
// Everything is made of files that this repository has itself, so that what is
// tested here is what people start with.
package scaffold

import (
	_ "embed"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/nixpkgs-factory/factory/examples"
	"github.com/nixpkgs-factory/factory/images"
	"github.com/nixpkgs-factory/factory/internal/config"
)

// Service is where a repository is, and its workflow runs.
type Service string

// The services that there are workflows for; None is none of them.
const (
	None    Service = ""
	GitHub  Service = "github"
	GitLab  Service = "gitlab"
	Forgejo Service = "forgejo"
)

// Workflow is the file that a service reads; "" of none.
func (s Service) Workflow() string {
	name, _ := s.workflow()
	return name
}

// workflow is the file that a service reads, and what is in it.
func (s Service) workflow() (name string, data []byte) {
	switch s {
	case GitHub:
		return ".github/workflows/factory.yml", examples.GitHub
	case GitLab:
		return ".gitlab-ci.yml", examples.GitLab
	case Forgejo:
		return ".forgejo/workflows/factory.yml", examples.Forgejo
	}
	return "", nil
}

// Options say what is particular about a repository.
type Options struct {
	Service Service
	Publish []string // destinations; none: an OCI layout beside the configuration
	Source  string   // where the images come from, an address for people; "": not known
}

// File is one to be written.
type File struct {
	Path string // below the repository, with slashes
	Mode fs.FileMode
	Data []byte
}

// ImageFolder is the image folder among the files.
const ImageFolder = "images/base"

// Files are those of a repository, the configuration first, a workflow last.
func Files(o Options) ([]File, error) {
	text, err := channels(o)
	if err != nil {
		return nil, err
	}
	files := []File{{"channels.yaml", 0o644, []byte(text)}}
	folder := path.Base(ImageFolder)
	err = fs.WalkDir(images.Files, folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := images.Files.ReadFile(name)
		file := File{path.Join(path.Dir(ImageFolder), name), 0o644, data}
		if images.Executable(name) {
			file.Mode = 0o755
		}
		files = append(files, file)
		return err
	})
	if err != nil {
		return nil, err
	}
	if name, data := o.Service.workflow(); name != "" {
		files = append(files, File{name, 0o644, data})
	}
	return files, nil
}

// template is the configuration of this repository, which a test holds it to.
//
//go:embed channels.yaml
var template string

// What a repository has in the place of pieces of the template.
const (
	schemaHere  = "$schema=docs/channels.schema.json"
	publishHere = "  - to: oci:./registry\n"
	labelsHere  = "# labels:\n#   org.opencontainers.image.source: https://github.com/org/images\n"
	imagesFrom  = "  # - folder: images/slim "
	imagesTo    = "  # - folder: images/attic-server\n  #   repository: attic-server\n"
)

const ownImages = `  # - folder: images/jq                 # one of your own, for which ten lines do:
  #                                     # https://github.com/nixpkgs-factory/factory/blob/main/images/README.md
  #   suffix: -jq                       # of every tag
  #   repository: jq
`

// channels is a configuration. What it says is checked.
func channels(o Options) (string, error) {
	before, rest, found := strings.Cut(template, imagesFrom)
	_, after, closed := strings.Cut(rest, imagesTo)
	if !found || !closed {
		return "", fmt.Errorf("the template has no %q", imagesFrom)
	}
	text := before + ownImages + after
	replace := map[string]string{schemaHere: "$schema=" + config.SchemaURL}
	if len(o.Publish) > 0 {
		replace[publishHere] = "  - to: " + strings.Join(o.Publish, "\n  - to: ") + "\n"
	}
	if o.Source != "" {
		replace[labelsHere] = "labels:\n  org.opencontainers.image.source: " + o.Source + "\n"
	}
	for from, to := range replace {
		if strings.Count(text, from) != 1 {
			return "", fmt.Errorf("the template has %q not once", from)
		}
		text = strings.Replace(text, from, to, 1)
	}
	_, err := config.Parse("channels.yaml", []byte(text))
	return text, err
}
