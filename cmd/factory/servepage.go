package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/page"
	"github.com/nixpkgs-factory/factory/internal/registry"
	"github.com/nixpkgs-factory/factory/internal/serve"
)

// fresh is how long pages are shown again while the state is the same: ages and lags
// in them grow.
const fresh = time.Minute

// pages makes the pages of factory page, when somebody asks for them.
type pages struct {
	app      *app
	config   config.Config
	registry string // under which the layout is served; "" where the address does not say

	mu    sync.Mutex
	state string // which one the files were made of
	files serve.Files
}

// site offers the pages of a configuration beside the layout. What is not on record
// is read from the layout; registries are not asked because somebody looks at a page.
func (a *app) site(c config.Config, layout string, at net.Addr) http.Handler {
	for i, d := range c.Publish {
		if d.Layout != "" && c.Publish[i].Layout != layout {
			c.Publish[i].Layout = layout // it was named in the place of the configuration's
		}
	}
	p := &pages{app: a, config: c}
	if tcp, ok := at.(*net.TCPAddr); ok && !tcp.IP.IsUnspecified() {
		p.registry = at.String()
	}
	return serve.Site(p.load, serve.SecurityHeaders(page.Policy))
}

func (p *pages) load(ctx context.Context) (serve.Files, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, state := time.Now(), stateOf(p.config.State)
	if p.files.Content != nil && state == p.state && now.Sub(p.files.Modified) < fresh {
		return p.files, nil
	}
	repository := func(dest config.Destination, under string) (registry.Repository, error) {
		if dest.Layout == "" {
			return nil, errUnasked
		}
		return registry.Layout(dest.Layout, under), nil
	}
	data, err := p.app.pageData(context.WithoutCancel(ctx), p.config, repository, now)
	if err != nil {
		p.app.logger().Error("the pages cannot be made", "error", err)
		return serve.Files{}, err
	}
	files, err := page.Make(data, page.Options{Registry: p.registry})
	if err != nil {
		p.app.logger().Error("the pages cannot be made", "error", err)
		return serve.Files{}, err
	}
	made := serve.Files{Content: make(map[string][]byte, len(files)), Modified: now}
	for _, f := range files {
		made.Content[f.Name] = f.Content
	}
	p.state, p.files = state, made
	return made, nil
}

// stateOf tells states of a file apart.
func stateOf(file string) string {
	info, err := os.Stat(file)
	if err != nil {
		return ""
	}
	return info.ModTime().String()
}
