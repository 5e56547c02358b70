package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/page"
)

type pageOptions struct{ url, registry string }

func (a *app) pageCommand() *cobra.Command {
	var o pageOptions
	cmd := &cobra.Command{
		Use:   "page DIR",
		Short: "Write a web site about the images into a folder",
		Long: `Writes static pages into DIR, for GitHub Pages or any web server: for each channel and
image the head, what is published, its age and lag, charts of lag and of bytes moved
over 90 days, systems, size, tools, what changed last, why something failed, and texts to
copy that pin the image or its nixpkgs. For programs there are channels.json, described
by channels.schema.json, and an Atom feed for each channel.

It shows what the state file remembers. What is not in there, images and their contents,
the registries are asked for; where they cannot be, the pages have less. The pages need
no JavaScript and load nothing from elsewhere. factory serve shows the same.

DIR is made, or empty, or has been written by this command before. Its list of files is
.factory-page.json: files of channels that are gone are removed, and what somebody else
has put there or changed is left alone; where such a file is in the way, nothing is
written.`,
		Example: `  factory page site
  factory page site --url https://my-org.github.io/factory/`,
		Args: oneArgument("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.page(cmd.Context(), args[0], o) },
	}
	cmd.Flags().StringVar(&o.url, "url", "", "where the folder will be found: feeds name their pages in full then")
	cmd.Flags().StringVar(&o.registry, "registry", "", "HOST[:PORT] by which factory serve is reached, for images that are in a layout only")
	return cmd
}

func (a *app) page(ctx context.Context, dir string, o pageOptions) error {
	if o.url != "" {
		u, err := url.Parse(o.url)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return usageError{fmt.Errorf("--url %q: want an address such as https://my-org.github.io/factory/", o.url)}
		}
		o.url = strings.TrimSuffix(o.url, "/") + "/"
	}
	c, err := a.config(false)
	if err != nil {
		return err
	}
	repository, err := a.repositories(c)
	if err != nil {
		return err
	}
	data, err := a.pageData(ctx, c, repository, time.Now())
	if err != nil {
		return err
	}
	files, err := page.Make(data, page.Options{URL: o.url, Registry: o.registry})
	if err != nil {
		return err
	}
	written, removed, err := writePages(dir, files)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "factory: %s: %s written, %d removed\n", dir, plural(written, "file"), removed)
	return nil
}
