package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/binarycache"
	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/verify"
)

type verifyOptions struct {
	output
	platforms []string
	keys      []string
	offline   bool
	rebuild   bool
}

func (a *app) verifyCommand() *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify IMAGE",
		Short: "Prove that an image is what it says it is",
		Long: `Reads all of an image that the factory made, trusting nothing that it says, and exits
with 0 only if all of this fits:

  index       types, sizes, digests and platforms
  tag         where IMAGE is named by a commit, it is of that commit
  manifest    manifest and configuration of each platform
  labels      against annotations, configuration and the inventory in the image
  layers      digest and diffID of each, and its key
  files       names, modes and owners as a store has them; no layer hides what
              another one has
  database    knows every store object that has files, and no other
  contents    NAR hash and size of every store object, computed from its files
  closure     everything that a store object refers to is there
  gcroots     lead to store objects, and keep all of them
  links       into the store lead to what is there
  signatures  of every store object but nixpkgs, by a trusted key
  source      nixpkgs has the hash that the labels name
  commit      nixpkgs is the git tree of the commit, and that one of the channel:
              GitHub is asked
  rebuild     with --rebuild: made again, the image has the same digest

That says what the store objects are, and not that they are those which the commit asks
for: an older tool is signed, too. Nor is anything signed that lies beside the store, or
says how a container runs: scripts, settings, where links lead, environment, command.
"root" counts these, and only --rebuild proves it all. For an image without a Nix
database, binary caches are asked for signatures. What was not checked is listed as such.

IMAGE is a reference into a registry, or oci:DIR:NAME:TAG (or @DIGEST) for an OCI
layout. Nothing is unpacked; memory does not grow with the image. Trusted are the key
of cache.nixos.org, or the keys of channels.yaml where there is one, and those of
--trusted-key.

--rebuild needs channels.yaml and the image's folder as they were, takes what the image
is made of from upstream and the binary caches, and says where the two first differ.

JSON: {image, digest, channel, rev, images: [{system, digest}], seconds, bytes, checks:
[{system, check, result, text, problems, more}]}; result is passed, failed or not
checked; a check without a system is of all; more counts problems that are not shown.`,
		Example: `  factory verify ghcr.io/org/nixpkgs-nixos-26.05:COMMIT
  factory verify --platform linux/amd64 --rebuild ghcr.io/org/nixpkgs-nixos-26.05:latest
  factory verify --output json IMAGE | jq -r '.checks[] | select(.result != "passed")'`,
		Args:              oneArgument("IMAGE"),
		ValidArgsFunction: cobra.NoFileCompletions,

		RunE: func(cmd *cobra.Command, args []string) error { return a.verify(cmd.Context(), args[0], o) },
	}
	cmd.Flags().StringSliceVar(&o.platforms, "platform", nil, "only the image for this platform, such as linux/arm64 or aarch64-linux; several with commas")
	cmd.Flags().StringArrayVar(&o.keys, "trusted-key", nil, "public key, NAME:BASE64, whose signatures count, too; may be repeated")
	cmd.Flags().BoolVar(&o.offline, "offline", false, "ask neither GitHub nor binary caches; the report says what was not checked")
	cmd.Flags().BoolVar(&o.rebuild, "rebuild", false, "make the image again and compare")
	o.addFlag(cmd)
	return cmd
}

func (a *app) verify(ctx context.Context, ref string, o verifyOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := a.config(!o.rebuild)
	if err != nil {
		return err
	}
	options, err := a.verifyOptions(c, o)
	if err != nil {
		return err
	}
	repo, tag, err := a.reference(ref)
	if err != nil {
		return err
	}
	a.doing = "verifying " + ref
	target, err := verifyTarget(ctx, repo, tag)
	if err != nil {
		return named(ref, err)
	}
	begun := time.Now()
	options.Tag = tag
	report, err := a.verified(ctx, target, options)
	if err != nil {
		return named(ref, err)
	}
	if report.Image = ref; o.rebuild && report.Verified() {
		check, err := a.rebuilt(ctx, c, target, report)
		if err != nil {
			return fmt.Errorf("rebuild: %w", err)
		}
		report.Rebuilt(check)
		report.Seconds = time.Since(begun).Seconds()
	}
	a.close()
	return a.reportVerified(report, o)
}

// named says what an error is of; layouts do it themselves.
func named(ref string, err error) error {
	if strings.HasPrefix(err.Error(), ref+": ") {
		return err
	}
	return fmt.Errorf("%s: %w", ref, err)
}

// verifyOptions are what an image is held against.
func (a *app) verifyOptions(c config.Config, o verifyOptions) (verify.Options, error) {
	var options verify.Options
	for _, text := range o.keys {
		key, err := nix.ParsePublicKey(text)
		if err != nil {
			return options, usageError{fmt.Errorf("--trusted-key: %w", err)}
		}
		options.Keys = append(options.Keys, key)
	}
	var caches []binarycache.Substituter
	for _, s := range c.Substituters {
		caches = append(caches, binarycache.Substituter{URL: s.URL, Keys: slices.Concat(options.Keys, s.Keys)})
	}
	for _, s := range c.Substituters {
		options.Keys = append(options.Keys, s.Keys...)
	}
	if len(o.platforms) > 0 {
		var err error
		if options.Wanted, err = wantedPlatforms(o.platforms); err != nil {
			return options, usageError{err}
		}
	}
	if o.offline {
		return options, nil
	}
	f := a.fetch()
	client, err := a.heads(c, f, nil)
	options.Commits, options.Infos = client, binarycache.New(f, caches)
	return options, err
}

// wantedPlatforms are platforms by the name of Nix or of OCI.
func wantedPlatforms(names []string) (func(v1.Platform) bool, error) {
	names = slices.Clone(names)
	for i, name := range names {
		if system, err := config.ParseSystem(name); err == nil {
			names[i] = path.Join(system.OS, system.Arch)
		}
	}
	platforms, err := parsePlatforms(names, len(names))
	return func(p v1.Platform) bool {
		return slices.ContainsFunc(platforms, func(w v1.Platform) bool { return w.OS == p.OS && w.Architecture == p.Architecture })
	}, err
}

// verifyTarget opens the index or the image that a reference leads to.
func verifyTarget(ctx context.Context, repo registry.Repository, tag string) (verify.Target, error) {
	index, err := repo.Index(ctx, tag)
	if err == nil {
		return verify.Target{Index: index}, nil
	}
	if img, err := single(ctx, located{repo: repo, tag: tag}); err == nil {
		return verify.Target{Image: img}, nil
	}
	return verify.Target{}, err
}

// verified reads the image.
func (a *app) verified(ctx context.Context, target verify.Target, o verify.Options) (verify.Report, error) {
	scratch, err := os.MkdirTemp("", "factory-verify-*")
	if err != nil {
		return verify.Report{}, err
	}
	defer os.RemoveAll(scratch)
	o.Scratch = scratch
	task := a.bars().Start("reading layers", 0)
	defer task.Done()
	o.Progress = func(n int) { task.Add(int64(n)) }
	return verify.Image(ctx, target, o)
}

// reportVerified prints what was found, and fails where something is wrong.
func (a *app) reportVerified(r verify.Report, o verifyOptions) error {
	print := a.verifyTable
	if o.format == "json" {
		print = func(r verify.Report) error { return writeJSON(a.stdout, r) }
	}
	if err := print(r); err != nil || r.Verified() {
		return err
	}
	wrong := 0
	for _, c := range r.Checks {
		if c.Result == verify.Failed {
			wrong++
		}
	}
	return fmt.Errorf("%s: not what it says it is: %s of %d failed", r.Image, plural(wrong, "check"), len(r.Checks))
}

func (a *app) verifyTable(r verify.Report) error {
	facts := [][]string{{"image", r.Image}, {"digest", r.Digest.String()}}
	if r.Rev != "" {
		facts = append(facts, []string{"channel", r.Channel}, []string{"commit", r.Rev})
	}
	if err := a.facts(facts); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout)
	rows := [][]string{{"SYSTEM", "CHECK", "RESULT", "WHAT"}}
	for _, c := range r.Checks {
		rows = append(rows, []string{c.System, c.Name, string(c.Result), c.Text})
	}
	if err := a.facts(rows); err != nil {
		return err
	}
	for _, c := range r.Checks {
		for _, problem := range c.Problems {
			fmt.Fprintf(a.stdout, "\n%s: %s", strings.TrimSpace(c.System+" "+c.Name), problem)
		}
		if c.More > 0 {
			fmt.Fprintf(a.stdout, "\n%s: and %s more", strings.TrimSpace(c.System+" "+c.Name), plural(c.More, "problem"))
		}
	}
	took := time.Duration(r.Seconds * float64(time.Second))
	_, err := fmt.Fprintf(a.stdout, "\n%s of layers read, %s\n", humanize.IBytes(uint64(r.Bytes)), roughly(took))
	return err
}
