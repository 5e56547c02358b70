package main

import (
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/record"
)

type statusOptions struct {
	channel, image string
	output
}

// channelStatus is the JSON form of the state of an image of a channel.
type channelStatus struct {
	Channel   string           `json:"channel"`
	ImageName string           `json:"imageName"`
	Head      git.Rev          `json:"head"`
	Published *publishedStatus `json:"published"`
	UpToDate  bool             `json:"upToDate"`
	Lag       *int64           `json:"lag"`
	Failure   *failureStatus   `json:"failure"`
	GoneSince *time.Time       `json:"goneSince,omitempty"`
}

type publishedStatus struct {
	Rev    git.Rev   `json:"rev"`
	Image  string    `json:"image"`
	Digest v1.Hash   `json:"digest"`
	Nix    string    `json:"nix,omitempty"` // that evaluated it
	Time   time.Time `json:"time"`
}

type failureStatus struct {
	Error string     `json:"error"`
	Count int        `json:"count"`
	Time  time.Time  `json:"time"`
	Next  *time.Time `json:"next"`
}

func (a *app) statusCommand() *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what is published, what is behind and what failed",
		Long: `Shows the images of each channel as the last cycle left them: the channel's head, the
newest image that was published for it, and the last failure since. Reads the state
file only; factory plan asks upstream and the registries.

LAG is the time from the channel's move to its head until the image was published, or
until now if it has not been.

JSON: [{channel, imageName, head, published: {rev, image, digest, nix, time},
upToDate, lag, failure: {error, count, time, next}, goneSince}]; lag is in seconds.
published, lag and failure are null where there is none. goneSince is there only where
upstream has no branch of the channel any more: when that was first seen.`,
		Example: `  factory status
  factory status --output json | jq -r '.[] | select(.upToDate | not) | .channel'`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return a.status(o) },
	}
	cmd.Flags().StringVar(&o.channel, "channel", "", "only this channel")
	cmd.Flags().StringVar(&o.image, "image", "", "only this image")
	o.addFlag(cmd)
	return cmd
}

func (a *app) status(o statusOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := a.config(false)
	if err != nil {
		return err
	}
	if o.channel != "" {
		ch, err := findChannel(c, o.channel)
		if err != nil {
			return err
		}
		c.Channels = []config.Channel{ch}
	}
	if o.image != "" {
		if err := known(c, o.channel, o.image); err != nil {
			return err
		}
	}
	store, err := snapshot(c)
	if err != nil {
		return err
	}
	defer store.Close()
	list := []channelStatus{}
	for _, ch := range c.Channels {
		for _, i := range c.ImagesOf(ch) {
			if o.image != "" && i.Name() != o.image {
				continue
			}
			s, err := statusOf(store, record.Subject{Channel: ch.Name, ImageName: i.Name()}, time.Now())
			if err != nil {
				return fmt.Errorf("%s: %w", ch.Name, err)
			}
			list = append(list, s)
		}
	}
	if o.format == "json" {
		return writeJSON(a.stdout, list)
	}
	return a.statusTable(list)
}

func statusOf(store *record.Store, of record.Subject, now time.Time) (channelStatus, error) {
	s := channelStatus{Channel: of.Channel, ImageName: of.ImageName}
	head, err := store.Head(of.Channel)
	if err != nil {
		return s, err
	}
	if head != nil {
		s.Head = head.Rev
	}
	publications, err := store.Publications()
	if err != nil {
		return s, err
	}
	published := record.Newest(publications, of, head)
	if p := published; p != nil {
		s.Published = &publishedStatus{Rev: p.Rev, Image: p.Image, Digest: p.Digest, Nix: p.Nix, Time: p.Time.UTC()}
	}
	if since, err := store.Gone(of.Channel); err != nil {
		return s, err
	} else if !since.IsZero() {
		s.GoneSince = &since
	}
	failures, err := store.Failures()
	if err != nil {
		return s, err
	}
	if failure := record.Foremost(failures, of, s.Head); failure != nil {
		s.Failure = &failureStatus{Error: failure.Error, Count: failure.Count, Time: failure.Time.UTC()}
		if !failure.Next.IsZero() {
			next := failure.Next.UTC()
			s.Failure.Next = &next
		}
	}
	s.UpToDate = s.Published != nil && s.Published.Rev == s.Head && s.Failure == nil
	if lag, known := record.Lag(head, published, now); known {
		seconds := int64(lag / time.Second)
		s.Lag = &seconds
	}
	return s, nil
}

func (a *app) statusTable(list []channelStatus) error {
	rows := [][]string{{"CHANNEL", "NAME", "HEAD", "PUBLISHED", "WHEN", "LAG", "STATE"}}
	for _, s := range list {
		row := []string{s.Channel, s.ImageName, dash(short(s.Head)), "-", "-", "-", "never published"}
		if s.Published != nil {
			row[3], row[4], row[6] = short(s.Published.Rev), since(s.Published.Time), "behind"
		}
		if s.Lag != nil {
			row[5] = roughly(time.Duration(*s.Lag) * time.Second)
		}
		switch {
		case s.Failure != nil:
			row[6] = fmt.Sprintf("failed %s, last %s: %s", plural(s.Failure.Count, "time"), since(s.Failure.Time), s.Failure.Error)
		case s.GoneSince != nil:
			row[6] = "frozen: upstream has no such branch any more, seen " + since(*s.GoneSince)
		case s.UpToDate:
			row[6] = "up to date"
		}
		rows = append(rows, row)
	}
	return a.table(a.named(rows, 1))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
