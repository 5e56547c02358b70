package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/config"
	programs "github.com/nixpkgs-factory/factory/internal/run"
	"github.com/nixpkgs-factory/factory/internal/scaffold"
)

type initOptions struct {
	output
	github, gitlab, forgejo bool
	org, repository         string
}

// written is what init has done. The JSON form is part of the command's contract.
type written struct {
	Files   []string `json:"files"`
	Publish []string `json:"publish"`
	Source  string   `json:"source"`
	Next    []string `json:"next"`
}

func (a *app) initCommand() *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a channels.yaml, the image folder and a workflow to begin with",
		Long: `Writes a channels.yaml with every key explained, and the image folder images/base
that it names. --github, --gitlab and --forgejo add the workflow that publishes
from there, every hour. What is there already is never overwritten: then nothing
is written at all.

Images go into an OCI layout, ./registry, until there is a better place: with a
workflow that is the registry of the service, below the owner of the repository
whose address the Git remote "origin" has, or --repository. --org names another
owner, --publish another place.

JSON: {files, publish, source, next}; source is the address of the repository,
which becomes a label of the images, next are commands.`,
		Example: `  factory init
  factory init --github
  factory init images --forgejo --repository https://git.example.org/group/images
  factory init --publish quay.io/my-org`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("%q: %s takes one folder", args[1], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			return a.begin(cmd.Context(), o, dir)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.github, "github", false, "write a workflow for GitHub Actions")
	flags.BoolVar(&o.gitlab, "gitlab", false, "write a pipeline for GitLab CI/CD")
	flags.BoolVar(&o.forgejo, "forgejo", false, "write a workflow for Forgejo Actions, or Gitea's")
	flags.StringVar(&o.org, "org", "", "publish below this `NAME` (default: the owner of the repository)")
	flags.StringVar(&o.repository, "repository", "", "`ADDRESS` of the Git repository (default: that of the remote origin)")
	o.addFlag(cmd)
	return cmd
}

func (o initOptions) service() (scaffold.Service, error) {
	services := map[scaffold.Service]bool{scaffold.GitHub: o.github, scaffold.GitLab: o.gitlab, scaffold.Forgejo: o.forgejo}
	service := scaffold.None
	for s, wanted := range services {
		if wanted && service != scaffold.None {
			return "", errors.New("want one of --github, --gitlab and --forgejo")
		}
		if wanted {
			service = s
		}
	}
	return service, nil
}

func (a *app) begin(ctx context.Context, o initOptions, dir string) error {
	if err := o.check(); err != nil {
		return err
	}
	service, err := o.service()
	if err != nil {
		return usageError{err}
	}
	repository, err := repositoryOf(ctx, o.repository, dir)
	if err != nil {
		return usageError{err}
	}
	s := scaffold.Options{Service: service, Source: repository.Web}
	if s.Publish, err = a.places(repository, service, o.org); err != nil {
		return usageError{err}
	}
	files, err := scaffold.Files(s)
	if err != nil {
		return usageError{err}
	}
	var there *scaffold.ThereError
	if err := scaffold.Write(dir, files); errors.As(err, &there) {
		return usageError{fmt.Errorf("%s: %w: nothing was written (name another folder, as in factory init DIR)", dir, err)}
	} else if err != nil {
		return err
	}
	return a.begun(o, s, dir, files)
}

// places are where the images are to go: what the command line says, or else what
// belongs to the repository, if there is a reason to leave this machine.
func (a *app) places(repository scaffold.Repository, service scaffold.Service, org string) ([]string, error) {
	dests, err := a.wanted()
	if err != nil {
		return nil, err
	}
	var places []string
	for _, dest := range dests {
		places = append(places, dest.To)
	}
	to := repository.Destination(service, org)
	if len(places) > 0 || to == "" || service == scaffold.None && org == "" {
		return places, nil
	}
	if _, err := config.ParseDestination(to, "."); err != nil {
		return nil, fmt.Errorf("%w: say where to publish with --org or --publish", err)
	}
	return []string{to}, nil
}

// repositoryOf finds the repository that a folder belongs to, by the address that
// somebody names, or else by the remote, if Git is there and knows one.
func repositoryOf(ctx context.Context, address, dir string) (scaffold.Repository, error) {
	if address != "" {
		repository, ok := scaffold.ParseRemote(address)
		if !ok {
			return scaffold.Repository{}, fmt.Errorf("--repository %q: want an address, such as https://github.com/my-org/images", address)
		}
		return repository, nil
	}
	for ; ; dir = filepath.Dir(dir) { // it may not have been made yet
		ask := programs.Command{Name: "git", Args: []string{"config", "--get", "remote.origin.url"}, Dir: dir, Env: programs.Environ(programs.Common), Limit: 10 * time.Second}
		out, err := ask.Run(ctx)
		if err == nil || dir == filepath.Dir(dir) || ctx.Err() != nil {
			repository, _ := scaffold.ParseRemote(strings.TrimSpace(string(out)))
			return repository, ctx.Err()
		}
	}
}

// begun tells what was written, and what to do now.
func (a *app) begun(o initOptions, s scaffold.Options, dir string, files []scaffold.File) error {
	w := written{Publish: s.Publish, Source: s.Source, Next: next(s, dir)}
	if len(s.Publish) == 0 {
		w.Publish = []string{"oci:./registry"}
	}
	for _, f := range files {
		w.Files = append(w.Files, path.Join(filepath.ToSlash(dir), f.Path))
	}
	if o.format == "json" {
		return writeJSON(a.stdout, w)
	}
	rows := [][]string{{"wrote", w.Files[0], "what is followed, and published to " + strings.Join(w.Publish, ", ")}}
	rows = append(rows, []string{"wrote", path.Join(filepath.ToSlash(dir), scaffold.ImageFolder), "what is in the images"})
	if last := w.Files[len(w.Files)-1]; s.Service != scaffold.None {
		rows = append(rows, []string{"wrote", last, "publishes every hour, once it is committed"})
	}
	if err := a.facts(rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "\nNext:\n  %s\n", strings.Join(w.Next, "\n  "))
	return err
}

// next are the commands that come next: to look, to try, to publish.
func next(s scaffold.Options, dir string) []string {
	var commands []string
	if dir != "." {
		commands = append(commands, "cd "+shellWord(dir))
	}
	if len(s.Publish) > 0 { // whoever tries it has not logged in there, and does not want to publish
		commands = append(commands, "export FACTORY_PUBLISH=oci:./try FACTORY_STATE=./try.db")
	}
	commands = append(commands, "factory doctor", "factory plan", "factory run --once")
	switch {
	case s.Service == scaffold.None && len(s.Publish) > 0:
		return append(commands, "env -u FACTORY_PUBLISH -u FACTORY_STATE factory run --once")
	case s.Service == scaffold.None:
		return commands
	}
	top, _, _ := strings.Cut(s.Service.Workflow(), "/")
	return append(commands, "git add channels.yaml images "+top, "git commit --message 'Publish images'", "git push")
}

// shellWord is a name as a shell takes it.
func shellWord(name string) string {
	if plainWord.MatchString(name) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9./_][A-Za-z0-9./_-]*$`)
