package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/diff"
	"github.com/nixpkgs-factory/factory/internal/plan"
	"github.com/nixpkgs-factory/factory/internal/push"
)

// inActions tells whether GitHub Actions runs this.
func (a *app) inActions() bool { return a.env("GITHUB_ACTIONS") == "true" }

// tellActions tells GitHub Actions what became of the jobs, where that is what
// runs this: a table and what changed in the step's summary, and the output "published" with the
// images in JSON. Failures are annotations, see annotate.
func (a *app) tellActions(results []cycle.Result, changes []*diff.Diff) error {
	if !a.inActions() {
		return nil
	}
	published := []cycle.Published{}
	for _, r := range results {
		if r.Err == nil && r.Action != plan.None {
			published = append(published, r.Published...)
		}
	}
	if err := appendTo(a.env("GITHUB_STEP_SUMMARY"), func(w io.Writer) error { return summarise(w, results, changes) }); err != nil {
		return fmt.Errorf("step summary: %w", err)
	}
	err := appendTo(a.env("GITHUB_OUTPUT"), func(w io.Writer) error {
		data, err := json.Marshal(published)
		if err == nil {
			_, err = fmt.Fprintf(w, "published=%s\n", data)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("step output: %w", err)
	}
	return nil
}

// tellPushed gives GitHub Actions, where that is what runs this, the digest of what
// was pushed, and the image by it.
func (a *app) tellPushed(img push.Image) error {
	if !a.inActions() {
		return nil
	}
	at, _, err := cutTag(img.Image)
	if err != nil {
		return err
	}
	err = appendTo(a.env("GITHUB_OUTPUT"), func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "digest=%s\nimage=%s@%s\n", img.Digest, at, img.Digest)
		return err
	})
	if err != nil {
		return fmt.Errorf("step output: %w", err)
	}
	return nil
}

// annotate shows an error among the annotations of a run in GitHub Actions. See
// https://docs.github.com/actions/reference/workflow-commands-for-github-actions.
func (a *app) annotate(err error) {
	var failed jobError
	if errors.As(err, &failed) {
		fmt.Fprintf(a.stderr, "::error title=%s::%s\n", escape(failed.job, true), escape(failed.err.Error(), false))
		return
	}
	fmt.Fprintf(a.stderr, "::error::%s\n", escape(err.Error(), false))
}

func appendTo(file string, write func(io.Writer) error) error {
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := write(f); err != nil {
		return err
	}
	return f.Close()
}

// escape makes a text fit for a workflow command, or for a property of one.
func escape(s string, property bool) string {
	s = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
	if property {
		s = strings.NewReplacer(":", "%3A", ",", "%2C").Replace(s)
	}
	return s
}

// summarise writes the results as a Markdown table, and what changed below it.
func summarise(w io.Writer, results []cycle.Result, changes []*diff.Diff) error {
	var b strings.Builder
	b.WriteString("| channel | name | revision | what changed | image | digest | bytes moved | time |\n|---|---|---|---|---|---|---|---|\n")
	for _, r := range results {
		what := string(r.Reason)
		if r.Err != nil {
			what = "**failed**: " + r.Error
		}
		moved, took := "", ""
		if r.Err == nil && r.Stats.Layers > 0 { // publish-index makes none
			moved = fmt.Sprintf("%s in, %s out; %d of %d layers made", humanize.IBytes(uint64(r.Stats.Fetched)), humanize.IBytes(uint64(r.Stats.Pushed)),
				r.Stats.Layers-r.Stats.ReusedLayers, r.Stats.Layers)
			took = r.Stats.Took.Round(time.Second).String()
		}
		var images, digest []string
		for _, p := range r.Published {
			images = append(images, "`"+p.Image+"`")
			digest = []string{"`" + p.Digest.String() + "`"}
		}
		cells := []string{r.Channel, r.ImageName, "`" + dash(short(r.Rev)) + "`", what, strings.Join(images, "<br>"), strings.Join(digest, ""), moved, took}
		for i, c := range cells {
			cells[i] = strings.NewReplacer("|", "\\|", "\n", " ").Replace(c)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	_, err := io.WriteString(w, b.String()+changesSummary(results, changes)+"\n")
	return err
}
