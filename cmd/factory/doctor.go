package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/nixcli"
	"github.com/nixpkgs-factory/factory/internal/recipe"
	"github.com/nixpkgs-factory/factory/internal/record"
	"github.com/nixpkgs-factory/factory/internal/registry"
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
		Short: "Check Nix, upstream, caches, registries and state, and say what to do",
		Long: `Looks at everything a cycle needs and says what is wrong and what to do about it:
the configuration, the image folder, Nix, the API and its rate limit, the binary
caches, push access to the registries, the state file and the working folder.
Publishes nothing: an upload to a registry is begun and called off.

JSON: [{check, ok, detail, advice}]. Exit code 1 if anything is wrong.`,
		Example: `  factory doctor`,
		Args:    cobra.NoArgs,
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
	a.doing = "examining"
	findings := a.examine(ctx, c)
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
		examineImage(c), examineNix(ctx), examineState(c), examineDir(c),
	}
	findings = append(findings, a.examineUpstream(ctx, c)...)
	for _, sub := range c.Substituters {
		findings = append(findings, a.examineCache(ctx, sub))
	}
	for _, dest := range c.Publish {
		findings = append(findings, a.examineDestination(ctx, c, dest))
	}
	return findings
}

// judge makes a finding of an error and of what to do about it.
func judge(check, detail string, err error, advice string) finding {
	if err != nil {
		return finding{Check: check, Detail: err.Error(), Advice: advice}
	}
	return finding{Check: check, OK: true, Detail: detail}
}

func examineImage(c config.Config) finding {
	digest, err := recipe.Digest(c.Image, recipe.Settings{})
	return judge("image folder", c.Image+" "+digest[:min(len(digest), 19)], err, "image: in the configuration names a folder with image.nix, rootfs and bin")
}

func examineNix(ctx context.Context) finding {
	nix, err := nixcli.Find(ctx)
	return judge("Nix", "version "+nix.Version, err, getNix)
}

func examineState(c config.Config) finding {
	if _, err := os.Stat(c.State); errors.Is(err, os.ErrNotExist) {
		return finding{Check: "state", OK: true, Detail: c.State + ": not there, the first cycle makes it"}
	}
	store, err := record.Open(c.State)
	if err == nil {
		defer store.Close()
	}
	if locked := (*record.LockedError)(nil); errors.As(err, &locked) {
		return finding{Check: "state", OK: true, Detail: c.State + ": in use by a factory that is running"}
	}
	return judge("state", c.State, err, "")
}

func examineDir(c config.Config) finding {
	err := os.MkdirAll(c.Cache, 0o755)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(c.Cache, "doctor-*"); err == nil {
			f.Close()
			os.Remove(f.Name())
		}
	}
	return judge("working folder", c.Cache, err, "name another one with --cache-dir")
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
	limit := finding{Check: "rate limit", OK: rate.Remaining > len(c.Channels), Detail: fmt.Sprintf("%d of %d requests left until %s", rate.Remaining, rate.Limit, rate.Reset.UTC().Format(time.RFC3339))}
	if a.env("GITHUB_TOKEN") == "" {
		limit.Advice = "set GITHUB_TOKEN: with it there are 5,000 an hour"
	}
	return append(findings, limit)
}

func (a *app) examineCache(ctx context.Context, sub config.Substituter) finding {
	_, err := a.fetch().Get(ctx, sub.URL+"/nix-cache-info", 64<<10)
	return judge("binary cache", sub.URL, err, "substituters: in the configuration; a network that reaches it")
}

func (a *app) examineDestination(ctx context.Context, c config.Config, dest config.Destination) finding {
	check := "destination " + dest.To
	if dest.Layout != "" {
		dir := filepath.Dir(dest.Layout)
		if _, err := os.Stat(dest.Layout); err == nil {
			dir = dest.Layout
		}
		f, err := os.CreateTemp(dir, ".doctor-*")
		if err == nil {
			f.Close()
			os.Remove(f.Name())
		}
		return judge(check, "OCI layout, can be written", err, "make the folder writable")
	}
	keychain, err := a.keychain(c.Publish)
	if err != nil {
		return judge(check, "", err, "")
	}
	ref, err := name.NewTag(dest.Repository(c.Channels[0].Name) + ":doctor")
	if err != nil {
		return judge(check, "", err, "")
	}
	who := "somebody"
	if auth, err := keychain.Resolve(ref.Context()); err != nil || auth == authn.Anonymous {
		who = "nobody: no credentials for " + ref.RegistryStr()
	}
	err = remote.CheckPushPermission(ref, keychain, registry.Transport())
	var answer *transport.Error
	if errors.As(err, &answer) && (answer.StatusCode == 401 || answer.StatusCode == 403) {
		err = fmt.Errorf("may not push to %s (asked as %s): status %d", ref.Context(), who, answer.StatusCode)
	}
	return judge(check, "may push to "+ref.Context().String(), err, "docker login "+ref.RegistryStr()+", or REGISTRY_USER and REGISTRY_PASSWORD")
}
