package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/recipe"
)

type doctorOptions struct{ output }

// finding is one thing that the doctor looked at. The JSON form is part of the
// command's contract.
type finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check Nix, upstream, caches, registries, keys and state, and say what to do",
		Long: `Looks at everything a cycle needs and says what is wrong and what to do about it:
the configuration, the image folder, Nix, the API and its rate limit, the binary
caches, push access to the registries; whether files can be written where the state,
unfinished work and layouts go; the key that images are signed by, and the binary
caches that are filled. Publishes nothing and leaves nothing behind: an upload to a
registry is begun and called off, files are removed again. An Attic server is asked
whether the token may push; of Cachix and other stores it looks for what a push needs
on this machine, for these cannot be asked without a change.

JSON: [{check, ok, detail, advice}]. Exit code 1 if anything is wrong.`,
		Example: `  factory doctor`,
		Args:    noArguments,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context(), o) },
	}
	o.addFlag(cmd)
	return cmd
}

func (a *app) doctor(ctx context.Context, o doctorOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := a.config(false)
	if err != nil {
		return err
	}
	a.doing = "examining what a cycle needs"
	findings := a.examine(ctx, c)
	if ctx.Err() != nil {
		return ctx.Err() // what was cut off looks like what is wrong
	}
	if o.format == "json" {
		err = writeJSON(a.stdout, findings)
	} else {
		rows := [][]string{}
		for _, f := range findings {
			mark := "ok"
			if !f.OK {
				mark = "WRONG"
			}
			rows = append(rows, []string{mark, f.Check, f.Detail})
			if f.Advice != "" {
				rows = append(rows, []string{"", "", "→ " + f.Advice})
			}
		}
		err = a.facts(rows)
	}
	for _, f := range findings {
		if !f.OK && err == nil {
			err = errReported
		}
	}
	return err
}

func (a *app) examine(ctx context.Context, c config.Config) []finding {
	findings := []finding{
		{Check: "configuration", OK: true, Detail: fmt.Sprintf("%s: %s, %s", a.configPath(), plural(len(c.Channels), "channel"), plural(len(c.Publish), "destination"))},
	}
	for _, i := range c.Images {
		findings = append(findings, examineImage(i))
	}
	findings = append(findings, examineNix(ctx, c)...)
	findings = append(findings, examineState(c), examineDir(c))
	findings = append(findings, a.examineUpstream(ctx, c)...)
	for _, sub := range c.Substituters {
		findings = append(findings, a.examineCache(ctx, sub))
	}
	if err := a.somewhere(c); err != nil {
		findings = append(findings, judge("destination", "", err, "FACTORY_PUBLISH, --publish or publish: in the configuration"))
	}
	for _, dest := range c.Publish {
		findings = append(findings, a.examineDestination(ctx, c, dest))
	}
	findings = append(findings, a.examineSigning(c)...)
	return append(findings, a.examineUploads(ctx, c)...)
}

// judge makes a finding of an error and of what to do about it.
func judge(check, detail string, err error, advice string) finding {
	if err != nil {
		return finding{Check: check, Detail: err.Error(), Advice: advice}
	}
	return finding{Check: check, OK: true, Detail: detail}
}

func examineImage(i config.Image) finding {
	id, err := recipe.Identify(i.Folder, recipe.Settings{})
	return judge("image folder", i.Folder+" "+brief(string(id)), err, "images: in the configuration names a folder with an image.nix: images/README.md shows how to write one")
}

func (a *app) examineUpstream(ctx context.Context, c config.Config) []finding {
	client, err := a.heads(c, a.fetch(), nil)
	if err != nil {
		return []finding{judge("upstream", "", err, "")}
	}
	var findings []finding
	for _, ch := range c.Channels {
		if ch.Frozen {
			continue
		}
		head, err := client.Head(ctx, ch.Name)
		findings = append(findings, judge("channel "+ch.Name, "at "+short(head.Rev)+" of "+head.Date.Format(time.DateOnly), err, "channels and upstream: in the configuration; a network that reaches the API"))
		if err != nil && ctx.Err() != nil {
			return findings
		}
	}
	rate := client.Rate()
	if rate.Limit == 0 {
		return findings
	}
	cost := "a channel that has not changed costs none of them"
	if a.env("GITHUB_TOKEN") == "" {
		cost = "without a token every look at a channel costs one, changed or not"
	}
	limit := finding{Check: "rate limit", OK: rate.Remaining > len(c.Channels), Detail: fmt.Sprintf("%d of %d requests left until %s; %s", rate.Remaining, rate.Limit, rate.Reset.UTC().Format(time.RFC3339), cost)}
	if a.env("GITHUB_TOKEN") == "" {
		limit.Advice = "set GITHUB_TOKEN: with it there are 5,000 an hour, and a channel that has not changed costs none of them"
	}
	return append(findings, limit)
}

func (a *app) examineCache(ctx context.Context, sub config.Substituter) finding {
	_, err := a.fetch().Get(ctx, sub.URL+"/nix-cache-info", 64<<10)
	return judge("binary cache", sub.URL, err, "substituters: in the configuration; a network that reaches it")
}
