package main

import (
	"bytes"
	"os"
	"text/template"

	"github.com/nixpkgs-factory/factory/internal/standin"
)

// channelsOptions are the parts of a channels.yaml that the server does not know.
type channelsOptions struct {
	image, publish string
	systems        []string
}

var channelsYAML = template.Must(template.New("channels.yaml").Parse(`# Follows the stand-in upstream; written by standin.
upstream:
  repository: {{.Repository}}
  api: {{.Server.API}}
  archive: {{.Server.Archive}}
substituters:
  - url: {{.Server.Cache}}
    keys: [ "{{.Server.PublicKey}}" ]
publish:
  - to: {{printf "%q" .Publish}}
images: [ { folder: {{printf "%q" .Image}} } ]
systems: [ {{range $i, $s := .Systems}}{{if $i}}, {{end}}{{$s}}{{end}} ]
schedule: "* * * * *"
channels:
{{- range $i, $c := .Server.ChannelStates}}
  - name: {{$c.Name}}
{{- if not $i}}
    tags: [ latest ]
{{- end}}
{{- end}}
`))

func (o channelsOptions) write(file string, s *standin.Server) error {
	var b bytes.Buffer
	err := channelsYAML.Execute(&b, struct {
		Repository, Publish, Image string
		Systems                    []string
		Server                     *standin.Server
	}{standin.Repository, o.publish, o.image, o.systems, s})
	if err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}
