package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/pin"
	"github.com/nixpkgs-factory/factory/internal/registry"
)

type pinOptions struct {
	output
	image   string
	channel string
	rev     git.Rev
	check   bool
	dryRun  bool
}

func (a *app) pinCommand() *cobra.Command {
	var (
		o   pinOptions
		rev string
	)
	cmd := &cobra.Command{
		Use:   "pin [DIR]",
		Short: "Have everything in a folder name one commit of nixpkgs",
		Long: `Puts one commit of nixpkgs into all that names one in DIR (default: this folder):
images HOST/…/nixpkgs-CHANNEL to build on, in Dockerfiles, compose files, pipelines,
workflows, manifests and devcontainer.json, with their digests; the sources.json of
niv and of npins; flake.lock; and fetchTarball, fetchFromGitHub, fetchGit and
fetchTree in .nix files. flake.nix is not touched.

The commit is that of the image under the tag latest, of the image that the folder
names, and its hashes are those of the image's labels: nixpkgs is not downloaded.
No configuration is needed.

What follows another channel is left alone, and so is what is not understood; both
are listed. Everything is written, or the error says what was.

--check writes nothing, and fails unless everything names the commit that the
folder's first image names, with its hashes.

JSON: {image, channel, rev, sha256, narHash, lastModified, pins: [{file, line, what,
channel, rev, state, reason}]}, as the files were before; state is one of same,
pinned, differs (with --check and --dry-run) and left.`,
		Example: `  factory pin                                 the newest commit of the channel
  factory pin --channel nixos-26.11           move to another channel
  factory pin --rev COMMIT                    an image of this commit has to be there
  factory pin --check                         in CI: do all of them name one commit?
  factory pin --image ghcr.io/org/nixpkgs-nixos-26.05 --dry-run | git apply`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("want one folder, not %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("rev") {
				var err error
				if o.rev, err = git.ParseRev(rev); err != nil {
					return usageError{fmt.Errorf("--rev: %w", err)}
				}
			}
			return a.pin(cmd.Context(), append(args, ".")[0], o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.image, "image", "", "image that has the commit and its hashes (default: of the first one that the folder names, the tag latest)")
	flags.StringVar(&o.channel, "channel", "", "move to this channel")
	flags.StringVar(&rev, "rev", "", "commit, all 40 digits of it")
	flags.BoolVar(&o.check, "check", false, "write nothing, and fail if there is something to write")
	flags.BoolVar(&o.dryRun, "dry-run", false, "write nothing, and print a diff")
	cmd.RegisterFlagCompletionFunc("image", cobra.NoFileCompletions)
	o.addFlag(cmd)
	return cmd
}

func (a *app) pin(ctx context.Context, dir string, o pinOptions) error {
	if err := o.output.check(); err != nil {
		return err
	}
	if o.check && o.dryRun {
		return usageError{errors.New("--check and --dry-run go without each other")}
	}
	var options pin.Options
	if o.image != "" {
		if spot, ok := pin.Named(o.image); ok {
			options.Repository, _ = spot.Image("", git.Rev{})
		}
	}
	folder, err := openFolder(dir)
	if err != nil {
		return usageError{err}
	}
	defer folder.Close()
	files, err := folder.read(ctx, options)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s: nothing there names nixpkgs", dir)
	}
	ref, err := pinSource(files, o)
	if err != nil {
		return err
	}
	a.doing = "reading " + ref
	has, err := a.pinFacts(ctx, ref, o)
	if err != nil {
		return err
	}
	files = pin.LeaveOthers(files, has.channel, o.channel != "")
	if has.Digests, err = a.pinDigests(ctx, files, has.Target); err != nil {
		return err
	}
	pinned, err := pin.Pin(files, has.Target)
	if err != nil {
		return err
	}
	if !o.check && !o.dryRun {
		if err := folder.write(pinned); err != nil {
			return err
		}
	}
	return a.pinReport(has, pinned, o)
}

// pinSource chooses the image that has the commit and its hashes.
func pinSource(files []pin.File, o pinOptions) (ref string, err error) {
	from, ok := pin.Named(o.image)
	switch channels := pin.Channels(files); {
	case o.image != "" && (!ok || strings.Contains(o.image, "@") && o.channel == "" && o.rev.IsZero()):
		return o.image, nil // in a layout, by its digest, or an error there
	case o.image != "":
	case len(channels) > 1 && o.channel == "":
		return "", usageError{fmt.Errorf("the images in this folder are of %s and %s: --image says which of them is meant, --channel moves all of them to one", channels[0], plural(len(channels)-1, "other channel"))}
	default:
		if from, ok = firstImage(files); !ok {
			return "", usageError{errors.New("nothing here names an image HOST/…/nixpkgs-CHANNEL: say with --image where the images are")}
		}
	}
	repository, _ := from.Image(o.channel, git.Rev{})
	tag := "latest" + from.Suffix()
	switch first := pin.FirstRev(files); {
	case !o.rev.IsZero():
		tag = o.rev.String() + from.Suffix()
	case o.image != "" && from.Tag() != "" && o.channel == "":
		tag = from.Tag()
	case o.check && first != "" && o.channel == "":
		tag = first + from.Suffix()
	}
	return repository + ":" + tag, nil
}

// firstImage is one that can be changed; better one whose tag has no suffix, as it
// has a nixpkgs for sure.
func firstImage(files []pin.File) (found pin.Spot, ok bool) {
	for _, f := range files {
		for _, s := range f.Spots {
			if s.Left == "" && s.IsImage() && (!ok || found.Suffix() != "" && s.Suffix() == "") {
				found, ok = s, true
			}
		}
	}
	return found, ok
}

// pinFacts are what an image says of its nixpkgs.
type pinFacts struct {
	pin.Target
	ref     string
	channel string // of the image; the target's is that to move to
}

func (a *app) pinFacts(ctx context.Context, ref string, o pinOptions) (pinFacts, error) {
	repo, tag, err := a.reference(ref)
	if err != nil {
		return pinFacts{}, err
	}
	images, _, err := registry.Images(ctx, repo, tag)
	if errors.Is(err, registry.ErrNotFound) {
		return pinFacts{}, fmt.Errorf("%s: there is no such image: --image names another one, with the tag that follows the channel; --rev a commit", ref)
	}
	if err != nil {
		return pinFacts{}, fmt.Errorf("%s: %w", ref, err)
	}
	if len(images) == 0 {
		return pinFacts{}, fmt.Errorf("%s: an index without images", ref)
	}
	conf, err := images[0].ConfigFile()
	if err != nil {
		return pinFacts{}, fmt.Errorf("%s: %w", ref, err)
	}
	has, err := factsOfLabels(conf.Config.Labels)
	if err != nil {
		return pinFacts{}, fmt.Errorf("%s: %w", ref, err)
	}
	has.ref, has.Channel = ref, o.channel
	switch named, _ := pin.Named(ref); {
	case !o.rev.IsZero() && has.Rev != o.rev, named.Rev != "" && has.Rev.String() != named.Rev:
		return pinFacts{}, fmt.Errorf("%s: it says that it is of the commit %s", ref, has.Rev)
	case o.channel != "" && has.channel != o.channel:
		return pinFacts{}, fmt.Errorf("%s: it says that it is of the channel %q, not %s", ref, has.channel, o.channel)
	}
	return has, nil
}

func factsOfLabels(labels map[string]string) (has pinFacts, err error) {
	if labels[image.NarHashLabel] == "" {
		return has, errors.New("it is no image with a nixpkgs: it has no label " + image.NarHashLabel)
	}
	label := func(name string, parse func(string) error) {
		if e := parse(labels[name]); e != nil {
			err = cmp.Or(err, fmt.Errorf("label %s: %w", name, e))
		}
	}
	label(image.RevisionLabel, func(s string) (err error) { has.Rev, err = git.ParseRev(s); return err })
	label(image.NarHashLabel, func(s string) (err error) { has.NarHash, err = nix.ParseHash(s); return err })
	label(image.LastModifiedLabel, func(s string) (err error) {
		has.LastModified, err = strconv.ParseInt(s, 10, 64)
		return err
	})
	has.channel = labels[image.ChannelLabel]
	return has, err
}

// pinDigests asks for the digests of all images as they are to be named: those that
// are not there cannot be built on.
func (a *app) pinDigests(ctx context.Context, files []pin.File, t pin.Target) (map[string]string, error) {
	digests := map[string]string{}
	for _, f := range files {
		for _, s := range f.Spots {
			repository, tag := s.Image(t.Channel, t.Rev)
			ref := repository + ":" + tag
			if s.Left != "" || repository == "" || digests[ref] != "" {
				continue
			}
			repo, tag, err := a.reference(ref)
			if err != nil {
				return nil, err
			}
			digest, err := repo.Digest(ctx, tag)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %s: %w", f.Name, s.Line, ref, err)
			}
			digests[ref] = digest.String()
		}
	}
	return digests, nil
}
