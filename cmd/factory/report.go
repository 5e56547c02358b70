package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/said"
)

// Every failure is said once: those of a command that ends by its report on
// stderr, those of a daemon, which goes on, by its log.

// errReported ends a command whose failures were shown where they happened.
var errReported = errors.New("see above")

// jobError is the failure of one job.
type jobError struct {
	job string
	err error
}

func (e jobError) Error() string { return e.job + ": " + e.err.Error() }
func (e jobError) Unwrap() error { return e.err }

// report prints errors, a line for each, and then, once each, what to do about
// them. Where logs are JSON they are records of the log, and in a job of GitHub
// Actions annotations of the run.
func (a *app) report(errs ...error) {
	say, advise := a.reporter()
	var hints []string
	for _, err := range errs {
		say(err)
		if advice := hint(err); advice != "" && !slices.Contains(hints, advice) {
			hints = append(hints, advice)
		}
	}
	for _, advice := range hints {
		advise(advice)
	}
}

func (a *app) reporter() (say func(error), advise func(string)) {
	advise = func(advice string) { fmt.Fprintln(a.stderr, "factory: hint:", advice) }
	switch {
	case a.inActions():
		return a.annotate, advise
	case a.logFormat == logJSON:
		log := a.logger()
		return func(err error) { log.Error("failed", "error", err) }, func(advice string) { log.Info("hint", "hint", advice) }
	}
	s := a.screen(a.stderr)
	return func(err error) {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintln(a.stderr, paint(s != nil && s.colour, red, "factory:"), said.Visible(line))
		}
	}, advise
}

// reported reports the failures of jobs, and makes the command fail if there are
// any.
func (a *app) reported(failures []error) error {
	if len(failures) == 0 {
		return nil
	}
	a.report(failures...)
	return errReported
}

// stopped says in one line that an interrupt ended the command, and what it was
// doing.
func (a *app) stopped() {
	text := "stopped: interrupted"
	if a.doing != "" {
		text += " while " + a.doing
	}
	if a.logFormat == logJSON {
		a.logger().Warn(text)
		return
	}
	fmt.Fprintln(a.stderr, "factory:", text)
}

// interrupted tells whether a job has no other failure than that it was told to
// stop: those are not counted as failures of the channel.
func interrupted(ctx context.Context, failed int) bool { return ctx.Err() != nil && failed == 0 }
