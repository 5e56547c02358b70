// Command ownimage publishes the factory's own image: the factory on one of the
// images that it has published, so that it runs wherever containers do.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/ownimage"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run carries out one command line and returns the exit code: 0 done, 1 failed,
// 2 wrong usage or configuration.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd := command(os.Getenv, stdout, stderr)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "ownimage:", err)
	if _, ok := err.(usageError); ok {
		return 2
	}
	return 1
}

// usageError is wrong usage or configuration: nothing was done.
type usageError struct{ error }

type options struct {
	config   string
	base     string
	to       []string
	tags     []string
	name     string
	revision string
	bare     bool
	source   string
}

func command(env func(string) string, stdout, stderr io.Writer) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "ownimage",
		Short: "Publish the factory's own image",
		Long: `Puts the factory, the image folder and the configuration on top of an image that
the factory has published, for each of its systems, and publishes the result as one
index. Run it in the folder of the sources; it needs Go, but neither Docker nor Nix.
Of the configuration's destinations the OCI layouts are left out: in a container they
would be gone with it. factory run in the image then asks to be told where to publish.

The same base, sources and Go give the same digest. An image that is already there is
not pushed again, and layers of the base that the registry has are mounted, not sent.

Credentials are those of the Docker configuration (docker login).`,
		Example: `  ownimage                                   as the configuration says
  ownimage --base ghcr.io/org/nixpkgs-nixos-26.05:latest --to ghcr.io/org --tag latest
  ownimage --to oci:./registry --tag latest --tag v1.2.0
  ownimage --bare --tag bare`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("%q: there are only flags (see ownimage --help)", args[0])}
			}
			return nil
		},
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.publish(cmd.Context(), env, stdout, stderr)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.config, "config", "c", "channels.yaml", "configuration that goes into the image; its image folder does, too")
	flags.StringVar(&o.base, "base", "", "image to build on, HOST/PATH:TAG or oci:DIR:NAME:TAG (default: that of the first channel with a moving tag, at the first destination)")
	flags.StringArrayVar(&o.to, "to", nil, "destination, as in the configuration; may be repeated (default FACTORY_PUBLISH, else as in the configuration)")
	flags.StringArrayVar(&o.tags, "tag", []string{"latest"}, "tag of the image; may be repeated")
	flags.BoolVar(&o.bare, "bare", false, "without the base's tools: no shell and no Nix, and a fraction of the size. Only verify, upload to Cachix and to stores, and jobs of CI need these")
	flags.StringVar(&o.name, "name", "factory", "name of the image below a destination")
	flags.StringVar(&o.revision, "revision", "", "commit of the sources, for a label")
	flags.StringVar(&o.source, "source", "", "where the sources are, for a label (FACTORY_IMAGE_SOURCE; default "+config.DefaultSource+")")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	return cmd
}

// publish prints IMAGE@DIGEST for each destination.
func (o options) publish(ctx context.Context, env func(string) string, stdout, stderr io.Writer) error {
	c, dests, err := o.read(env)
	if err != nil {
		return usageError{err}
	}
	base, err := o.findBase(c, dests)
	if err != nil {
		return usageError{err}
	}
	places, err := o.places(dests, base.everywhere)
	if err != nil {
		return usageError{err}
	}
	var folders []string
	for _, i := range c.Images {
		folders = append(folders, i.Folder)
	}
	results, err := ownimage.Publish(ctx, ownimage.Options{
		Base:    base.repository,
		BaseTag: base.tag,
		Facts:   ownimage.Facts{BaseName: base.name(), Source: cmp.Or(o.source, env("FACTORY_IMAGE_SOURCE"), config.DefaultSource), Revision: o.revision},
		Images:  folders,
		Config:  o.config,
		Bare:    o.bare,
		Compile: func(ctx context.Context, system config.System, to string) error {
			fmt.Fprintln(stderr, "ownimage: compiling for", system)
			return ownimage.Compile(ctx, ".", system, to)
		},
		Places: places,
		Tags:   o.tags,
	})
	for _, r := range results {
		what := "is there"
		if r.New {
			what = "published"
		}
		fmt.Fprintf(stderr, "ownimage: %s: %s\n", r.Image, what)
		fmt.Fprintf(stdout, "%s@%s\n", r.Image, r.Digest)
	}
	return err
}

// read reads the configuration, and says where to publish.
func (o options) read(env func(string) string) (config.Config, []config.Destination, error) {
	data, err := os.ReadFile(o.config)
	if err != nil {
		return config.Config{}, nil, err
	}
	c, err := config.Parse(o.config, data)
	if err != nil {
		return config.Config{}, nil, err
	}
	dests, err := o.destinations(env, c)
	if err == nil && len(dests) == 0 {
		err = fmt.Errorf("%s names no destination: say where to publish with --to or FACTORY_PUBLISH", o.config)
	}
	return c, dests, err
}

// places opens the repositories of the own image, and beside each that of its
// base where every destination has one.
func (o options) places(dests []config.Destination, bases string) ([]ownimage.Place, error) {
	places := make([]ownimage.Place, len(dests))
	for i, d := range dests {
		var err error
		if places[i].Repository, err = open(d, o.name); err != nil {
			return nil, err
		}
		if bases == "" {
			continue
		}
		if places[i].Bases, err = open(d, bases); err != nil {
			return nil, err
		}
	}
	return places, nil
}

func (o options) destinations(env func(string) string, c config.Config) ([]config.Destination, error) {
	wanted := o.to
	if len(wanted) == 0 {
		wanted = strings.Fields(env("FACTORY_PUBLISH"))
	}
	if len(wanted) == 0 {
		return c.Publish, nil
	}
	dests := make([]config.Destination, len(wanted))
	for i, to := range wanted {
		var err error
		if dests[i], err = config.ParseDestination(to, "."); err != nil {
			return nil, err
		}
	}
	return dests, nil
}

// base is the image to build on.
type base struct {
	repository registry.Repository
	tag        string
	everywhere string // name of its repository below every destination, if it has one
}

// name is the reference for others. A folder of this machine means nothing to them.
func (b base) name() string {
	if _, ok := b.repository.(registry.Folder); ok {
		return ""
	}
	return b.repository.Ref(b.tag)
}

// findBase takes the image that was named, else the first one of the first channel
// that has a moving tag.
func (o options) findBase(c config.Config, dests []config.Destination) (base, error) {
	if o.base != "" {
		repo, tag, err := reference(o.base)
		return base{repository: repo, tag: tag}, err
	}
	for _, ch := range c.Channels {
		for _, i := range c.ImagesOf(ch) {
			tag := i.TagsOf(ch).Fixed()
			if tag == "" {
				continue
			}
			name := i.RepositoryOf(ch.Name)
			repo, err := open(dests[0], name)
			return base{repo, tag, name}, err
		}
	}
	return base{}, fmt.Errorf("%s: no channel has a tag such as latest: say which image to build on with --base", o.config)
}

// reference takes apart a reference to an image: repository and tag or digest.
func reference(ref string) (registry.Repository, string, error) {
	parsed, err := registry.ParseReference(ref)
	switch {
	case err != nil && strings.HasPrefix(ref, "oci:"):
		return nil, "", fmt.Errorf("--base %q: %w", ref, err)
	case err != nil:
		return nil, "", fmt.Errorf("--base: %w", err)
	case parsed.Dir != "":
		return registry.Layout(parsed.Dir, parsed.Name), parsed.Tag, nil
	}
	repo, err := remote(parsed.Remote)
	return repo, parsed.Tag, err
}

// open opens a repository by its name below a destination.
func open(d config.Destination, under string) (registry.Repository, error) {
	if d.Layout != "" {
		dir, err := filepath.Abs(d.Layout)
		return registry.Layout(dir, under), err
	}
	repo, err := d.Remote(under)
	if err != nil {
		return nil, err
	}
	return remote(repo)
}

func remote(repo name.Repository) (registry.Repository, error) {
	return registry.Remote(repo, registry.Options{
		Keychain:     authn.DefaultKeychain,
		UserAgent:    "nixpkgs-factory (+https://github.com/nixpkgs-factory/factory)",
		TrustedHosts: registry.ParseHosts(os.Getenv("REGISTRY_TRUSTED_HOSTS")),
		Push:         true,
	})
}
