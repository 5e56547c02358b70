package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/push"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/upload"
	"github.com/nixpkgs-factory/factory/internal/workdir"
)

type pushOptions struct {
	to          string
	tags, like  []string
	platforms   []string
	selected    string
	single, dry bool
	zstd        bool
	stdin       io.Reader
	build       buildFlags
	caches      cacheFlags
	output
}

func (a *app) pushCommand() *cobra.Command {
	var o pushOptions
	cmd := &cobra.Command{
		Use:   "push SOURCE… --to IMAGE",
		Short: "Push images that Nix, Bazel or a Dockerfile built, and only what changed of them",
		Long: `Pushes an image that was built elsewhere to a registry, without a container engine.
Layers that the image under the tag has already (or one that --like names) are neither
compressed nor sent, so the second push of a small change is small.

SOURCE is an output of a flake, such as .#image, which Nix builds first, or what a build
has left, such as ./result. What that is can be seen, or is said by a prefix:

  flake:OUTPUT          output of a flake
  attr:ATTRIBUTE        attribute of default.nix, or of --file
  docker-archive:FILE   of dockerTools, docker save, podman save; may be compressed
  oci:FOLDER or FILE    OCI layout, or an archive of one: buildx, buildah, Bazel;
                        :NAME may stand behind it
  stream:FILE           executable of streamLayeredImage, which is run
  nix2container:FILE    JSON of nix2container, with its store paths in /nix/store
  -                     an archive on standard input

Several sources for different platforms become one index.

IMAGE is HOST/PATH:TAG, behind http:// for a registry without encryption, or
oci:DIR:NAME:TAG. Tags may have {digest:12} in them (of the image's content: what
docker calls its ID), {rev} or {rev:12} (of the git checkout in this folder) and
{date}. Tags made of such are set first, latest is set last. If a tag with {digest} is
there already, nothing is sent, and the other tags are set to what it leads to.

What Nix has built, and what that needs, can go to binary caches: --attic, --cachix,
--store. What cache.nixos.org has does not, nor do archives of images. A cache that
cannot be filled is reported, and fails nothing unless --cache-required says so.

JSON: [{image, digest, platform, layers: [{digest, diffID, size, state}], sent}]; a
layer is sent, present in the repository, reused from the image under the tag, or
mounted from another repository. Of an index there is an entry without platform first.`,
		Example: `  factory push .#dojo-image --to git.example.org/toph/dojo:main --attic https://cache.example.org/ci
  factory push --file default.nix --attr image --to ghcr.io/org/app:1.2
  factory push ./result --to registry.gitlab.com/group/app:latest --tag '{digest:12}'
  factory push amd64.tar.gz oci:./bazel-bin/app/image --to ghcr.io/org/app:1.2
  docker save app | factory push - --to ghcr.io/org/app:1.2 --like ghcr.io/org/app:1.1`,
		Args: func(_ *cobra.Command, args []string) error {
			return o.build.check(args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.stdin = cmd.InOrStdin()
			return a.push(cmd.Context(), args, o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.to, "to", "", "image to push to, with its first tag (required); latest, if none is named")
	flags.StringArrayVar(&o.tags, "tag", nil, "another tag; may be repeated")
	flags.StringArrayVar(&o.like, "like", nil, "image in the same registry that may have layers of this one; may be repeated")
	flags.StringArrayVar(&o.platforms, "platform", nil, "platform of a source that does not say it, such as linux/arm64; one for all sources, or one for each")
	flags.StringVar(&o.selected, "select", "", "name or digest of the image that is meant where a source has several")
	flags.BoolVar(&o.single, "single", false, "replace an index with several platforms by an image for one")
	flags.BoolVar(&o.dry, "dry-run", false, "say what would be sent; send nothing, and set no tag")
	flags.BoolVar(&o.zstd, "zstd", false, "compress layers by zstd: smaller; Docker reads them since version 23")
	o.build.addFlags(cmd)
	o.caches.addFlags(cmd)
	o.addFlag(cmd)
	return cmd
}

func (a *app) push(ctx context.Context, args []string, o pushOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	inputs := o.build.inputs(args)
	caches, err := a.targets(o.caches)
	if err != nil {
		return err
	}
	p, err := a.pusher(ctx, len(inputs), o)
	if err != nil {
		return err
	}
	remove, err := a.workIn(ctx, &p)
	if err != nil {
		return err
	}
	defer remove()
	result, err := a.buildAndPush(ctx, p, inputs, caches, o)
	if err != nil {
		return err
	}
	a.close()
	if err := a.tellPushed(result[0]); err != nil {
		return err
	}
	if o.format == "json" {
		return writeJSON(a.stdout, result)
	}
	return a.pushTable(result)
}

func (a *app) buildAndPush(ctx context.Context, p push.Pusher, inputs []input, caches []upload.Target, o pushOptions) (push.Result, error) {
	files, builds, err := a.buildAll(ctx, inputs, len(caches) > 0)
	if err != nil {
		return nil, err
	}
	sources, err := a.sources(ctx, files, o)
	if err != nil {
		return nil, err
	}
	defer closeAll(sources)
	a.doing = "pushing to " + o.to
	result, err := p.Push(ctx, sources)
	if !o.dry && ctx.Err() == nil { // what was built is good, even if it could not be pushed
		err = errors.Join(err, a.fillCaches(ctx, o.caches, caches, builds))
	}
	return result, err
}

// workIn makes a folder for the push's unfinished work, which remove removes.
// There need not be a configuration.
func (a *app) workIn(ctx context.Context, p *push.Pusher) (remove func() error, err error) {
	c, err := a.config(true)
	if err != nil {
		return nil, err
	}
	if err := workdir.Sweep(ctx, c.Cache); err != nil && ctx.Err() == nil {
		p.Log.Warn("what a killed build has left cannot be removed", "error", err)
	}
	if p.Dir, remove, err = workdir.Make(ctx, c.Cache); err != nil {
		return nil, fmt.Errorf("working folder: %w", err)
	}
	return remove, nil
}

// pusher is what the flags ask for.
func (a *app) pusher(ctx context.Context, sources int, o pushOptions) (push.Pusher, error) {
	p := push.Pusher{Single: o.single, DryRun: o.dry, Encoding: layers.Gzip, Date: time.Now(), Progress: a.bars(), Log: a.logger()}
	if o.zstd {
		p.Encoding = layers.Zstd
	}
	var err error
	if p.Platforms, err = parsePlatforms(o.platforms, sources); err != nil {
		return p, usageError{err}
	}
	if o.to == "" {
		return p, usageError{errors.New("say where to push to: --to HOST/PATH:TAG")}
	}
	at, tag, err := cutTag(o.to)
	if err != nil {
		return p, usageError{fmt.Errorf("--to: %w", err)}
	}
	if p.Tags = o.tags; tag != "" {
		p.Tags = append([]string{tag}, o.tags...)
	}
	if len(p.Tags) == 0 {
		p.Tags = []string{"latest"}
		p.Log.Info("no tag was named, so it is latest")
	}
	needRev, err := push.CheckTags(p.Tags)
	if err != nil {
		return p, usageError{err}
	}
	if needRev {
		if p.Rev, err = a.checkout(ctx); err != nil {
			return p, usageError{fmt.Errorf("{rev}: %w", err)}
		}
	}
	return p, a.destination(&p, at, o.like)
}

func parsePlatforms(names []string, sources int) ([]v1.Platform, error) {
	if len(names) > 1 && len(names) != sources {
		return nil, fmt.Errorf("--platform: there are %d for %s: want one for all, or one for each", len(names), plural(sources, "source"))
	}
	var platforms []v1.Platform
	for _, name := range names {
		p, err := v1.ParsePlatform(name)
		if err != nil || p.OS == "" || p.Architecture == "" {
			return nil, fmt.Errorf("--platform %q: want OS/ARCHITECTURE, such as linux/arm64", name)
		}
		platforms = append(platforms, *p)
	}
	return platforms, nil
}

// cutTag takes a reference apart whose tag may be a template.
func cutTag(ref string) (at, tag string, err error) {
	head, template := ref, ""
	if i := strings.Index(ref, "{"); i >= 0 {
		head, template = ref[:i], ref[i:]
	}
	if host, _, _ := strings.Cut(strings.TrimPrefix(head, "http://"), "/"); strings.Contains(host, "@") {
		return "", "", errors.New("a user and a password do not belong there: see docker login, or set REGISTRY_USER and REGISTRY_PASSWORD")
	}
	if strings.Contains(head, "@") {
		return "", "", errors.New("has a digest, which nothing can be pushed to: name a tag")
	}
	i := strings.LastIndex(head, ":")
	if i <= strings.LastIndex(head, "/") {
		if template != "" {
			return "", "", errors.New("only a tag may be a template")
		}
		return head, "", nil
	}
	return head[:i], head[i+1:] + template, nil
}

func (a *app) pushTable(result push.Result) error {
	rows := [][]string{{"IMAGE", "PLATFORM", "DIGEST", "LAYERS", "SENT"}}
	for _, img := range result {
		rows = append(rows, []string{img.Image, dash(img.Platform), img.Digest, dash(states(img.Layers)), humanize.IBytes(uint64(img.Sent))})
	}
	return a.facts(rows)
}

// states counts layers: 10 reused, 1 sent.
func states(list []push.Layer) string {
	count := map[registry.Outcome]int{}
	for _, l := range list {
		count[l.State]++
	}
	var parts []string
	for _, state := range []registry.Outcome{push.Reused, registry.Present, registry.Mounted, registry.Sent} {
		if n := count[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	return strings.Join(parts, ", ")
}
