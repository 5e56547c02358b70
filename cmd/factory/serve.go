package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/serve"
)

type serveOptions struct{ listen, layout string }

func (a *app) serveCommand() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Offer the OCI layout as a read-only registry, and pages about the images",
		Long: `Serves the first oci: destination of the configuration, or the layout that --layout
names, as a registry that can be pulled from, until interrupted. Container engines
take a registry on 127.0.0.1 without TLS. The folder has to be there: it is made
when the first image is published.

At the same address, for browsers, are the pages of factory page, with channels.json
and a feed for each channel. They are made anew when the state has changed, and once a
minute. With --layout and without a configuration there are none.`,
		Example: `  factory serve &
  docker pull 127.0.0.1:5000/nixpkgs-nixos-26.05:latest`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), o) },
	}
	cmd.Flags().StringVar(&o.listen, "listen", "127.0.0.1:5000", "address to listen on")
	cmd.Flags().StringVar(&o.layout, "layout", "", "folder of an OCI layout")
	return cmd
}

func (a *app) serve(ctx context.Context, o serveOptions) error {
	listener, err := listen(o.listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	if o.layout != "" {
		if err := serve.Check(o.layout); err != nil {
			return usageError{fmt.Errorf("--layout: %w", err)}
		}
	} else if err := a.findLayout(&o); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "factory: serving %s on http://%s\n", o.layout, listener.Addr())
	handler := serve.Handler(o.layout)
	if c, err := a.config(false); err == nil {
		handler = serve.With(handler, a.site(c, o.layout, listener.Addr()))
	} else {
		a.logger().Info("there are no pages about the images without a configuration", "error", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		stopped <- server.Shutdown(grace)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// findLayout takes the layout of the configuration.
func (a *app) findLayout(o *serveOptions) error {
	c, err := a.config(false)
	if err != nil {
		return err
	}
	if o.layout = firstLayout(c); o.layout == "" {
		return usageError{errors.New("the configuration publishes to no OCI layout: name one with --layout")}
	}
	err = serve.Check(o.layout)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not there: nothing has been published yet (factory run --once makes it)", o.layout)
	}
	return err
}

func firstLayout(c config.Config) string {
	for _, d := range c.Publish {
		if d.Layout != "" {
			return d.Layout
		}
	}
	return ""
}
