package main

import (
	"context"
	"encoding/json"
	"io"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/standin"
)

type serveOptions struct {
	addr, cache  string
	binaryCache  string
	channelsYAML string
	channels     channelsOptions
	grow         int
	largest      int64 // MiB
}

func serveCommand(stdout, stderr io.Writer) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "standin",
		Short: "Serve a miniature nixpkgs in place of GitHub and cache.nixos.org",
		Long: `standin serves what the factory asks of its upstreams: GitHub's API for the
channels of a miniature nixpkgs, archives of its commits, and a signed binary
cache of its packages. The packages are made by Nix from the files of this
machine's Debian packages, so images made from them work.

The first start makes all this, which takes some ten seconds; later ones find
it in the cache folder. Nothing of the machine's /nix is read or written.

Once it serves, it prints one JSON object with its addresses, the public key of
the binary cache and the channels with their commits, oldest first. It runs in
the foreground; an interrupt or SIGTERM stops it. "standin set-head" moves a
channel while it runs.

Needs the Debian packages nix-bin, patchelf, git, hello, curl, jq, less, tmate,
openssh-client, xz-utils and zstd, and root or unprivileged user namespaces.`,
		Example: `  # serve, and write a configuration that uses it
  standin --channels-yaml channels.yaml &
  factory run --once --config channels.yaml

  # let the channel advance, and see what the factory makes of it
  standin set-head nixos-26.05 next
  factory plan --config channels.yaml`,
		Args:              exactly(0),
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), o, stdout, stderr)
		},
	}
	cmd.SetFlagErrorFunc(flagError)
	f := cmd.Flags()
	f.StringVar(&o.addr, "addr", defaultAddr, "`HOST:PORT` to listen on; port 0 picks a free one")
	f.StringVar(&o.cache, "cache", "", "`DIR` to keep what is served (default $FACTORY_TEST_CACHE, or factory-standin in the user's cache folder)")
	f.StringVar(&o.binaryCache, "binary-cache", "", "serve this `DIR` as the binary cache, such as one that is compressed otherwise")
	f.IntVar(&o.grow, "grow", 0, "have jq need `N` store paths more, generated ones")
	f.Int64Var(&o.largest, "largest", 64, "size of the largest of these in `MIB`; the others have less than one")
	f.StringVar(&o.channelsYAML, "channels-yaml", "", "write to `FILE` a channels.yaml that names this server")
	f.StringVar(&o.channels.image, "image", "images/base", "image `DIR` for that file, from its folder")
	f.StringVar(&o.channels.publish, "publish", "oci:./registry", "where that file publishes `TO`")
	f.StringSliceVar(&o.channels.systems, "system", standin.Systems[:1], "`SYSTEM` for that file; may be repeated")
	return cmd
}

// addresses is what serve prints.
type addresses struct {
	URL       string                 `json:"url"`
	API       string                 `json:"api"`
	Archive   string                 `json:"archive"`
	Cache     string                 `json:"cache"`
	PublicKey string                 `json:"publicKey"`
	Control   string                 `json:"control"`
	Channels  []standin.ChannelState `json:"channels"`
}

func serve(ctx context.Context, o serveOptions, stdout, stderr io.Writer) error {
	fixture, err := standin.Prepare(ctx, standin.Options{CacheDir: o.cache, Log: stderr})
	if err != nil {
		return err
	}
	s, err := fixture.Start(ctx, standin.Options{Addr: o.addr, BinaryCache: o.binaryCache})
	if err != nil {
		return err
	}
	defer s.Close()
	if o.grow > 0 {
		if err := s.Grow(o.grow, o.largest<<20); err != nil {
			return err
		}
	}
	if o.channelsYAML != "" {
		if err := o.channels.write(o.channelsYAML, s); err != nil {
			return err
		}
	}
	e := json.NewEncoder(stdout)
	e.SetIndent("", "  ")
	err = e.Encode(addresses{
		URL: s.URL(), API: s.API(), Archive: s.Archive(), Cache: s.Cache(), PublicKey: s.PublicKey(),
		Control: s.URL() + standin.ControlPath, Channels: s.ChannelStates(),
	})
	if err != nil {
		return err
	}
	<-s.Done()
	return nil
}
