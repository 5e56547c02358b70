package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/diff"
	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/notify"
	"github.com/nixpkgs-factory/factory/internal/plan"
)

// webhooks returns the configured webhooks, with the addresses that the
// environment has for them.
func (a *app) webhooks(c config.Config) (*notify.Webhooks, error) {
	var hooks []notify.Hook
	for _, n := range c.Notify {
		forget(n.URLFrom, n.SecretFrom)
		if strings.TrimSpace(a.env(n.URLFrom)) == "" {
			a.logger().Info("no webhook: "+n.URLFrom+" is not set", "on", strings.Join(n.On, ", "))
			continue
		}
		h := notify.Hook{Name: n.URLFrom, URL: a.env(n.URLFrom), On: n.On}
		if n.SecretFrom != "" {
			if h.Secret = strings.TrimSpace(a.env(n.SecretFrom)); h.Secret == "" {
				return nil, fmt.Errorf("notify: %s is not set: it has the secret that events to %s are signed with", n.SecretFrom, n.URLFrom)
			}
		}
		hooks = append(hooks, h)
	}
	return notify.New(hooks, fetch.Options{UserAgent: userAgent})
}

// lateness is how long webhooks may keep a command that was interrupted.
const lateness = 5 * time.Second

// tell tells the webhooks what was published, with what changed in it, and what failed.
func tell(ctx context.Context, f *cycle.Factory, hooks *notify.Webhooks, results []cycle.Result, changes []*diff.Diff) {
	var events []notify.Event
	for i, r := range results {
		if r.Err != nil && interrupted(ctx, r.Failed) {
			continue
		}
		e := notify.Event{Event: notify.Published, Channel: r.Channel, ImageName: r.ImageName, Rev: r.Rev.String(), Reason: string(r.Reason), Images: []notify.Image{}, Time: time.Now().UTC()}
		for _, p := range r.Published {
			e.Images = append(e.Images, notify.Image{Image: p.Image, Digest: p.Digest.String()})
		}
		switch {
		case r.Err != nil:
			e.Event, e.Error, e.Count = notify.Failed, r.Error, r.Failed
		case r.Action == plan.None || len(r.Published) == 0:
			continue
		default:
			e.Changed = changed(changes[i])
		}
		events = append(events, e)
	}
	if len(events) > 0 && ctx.Err() != nil {
		// What was done before the interrupt is told, if that is quick.
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), lateness)
		defer cancel()
		ctx = late
	}
	if err := hooks.Send(ctx, events...); err != nil {
		f.Log.Error("webhooks", "error", err)
	}
}
