// Command factory follows NixOS channels and publishes, for every new commit, a
// container image to build on with Nix.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // schedules name time zones; minimal machines have none

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/cycle"
	"github.com/nixpkgs-factory/factory/internal/evaluator"
	programs "github.com/nixpkgs-factory/factory/internal/run"
)

func main() {
	environment, forget = programs.TakeSecrets(), programs.Forget
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// memoryLimit makes the garbage collector work harder before the process takes
// more than the 512 MiB that it is to stay under.
const memoryLimit = 400 << 20

// Exit codes, as the help text has them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// usageError is wrong usage or configuration: nothing was done.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// environment has the variables that the factory was started with, and forget
// takes some out of the process's own environment. The main program does that to
// all that are secret.
var (
	environment = os.Getenv
	forget      = func(...string) {}
)

// run carries out one command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := &app{stdout: stdout, stderr: stderr, env: environment}
	root := app.rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	app.close()
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil {
		app.stopped()
		return exitInterrupted
	}
	if !errors.Is(err, errReported) {
		app.report(err)
	}
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

// app holds what every command shares.
type app struct {
	stdout, stderr io.Writer
	env            func(string) string

	publish    []string
	configFile string
	stateFile  string
	cacheDir   string
	nixChoice  string
	logFormat  string
	quiet      bool
	verbose    bool

	several bool // the configuration has more images than one

	progress *bars  // once something long began on a terminal
	doing    string // for whoever interrupts it: "building …"
	moved    cycle.Moved
}

// Commands are shown in the order in which one meets them.
func init() { cobra.EnableCommandSorting = false }

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "factory",
		Short: "Base images for Nix, one for every commit of a NixOS channel",
		Long: `factory follows channels of NixOS/nixpkgs. For every new commit it builds a base
image with Nix, Cachix, Attic and that very nixpkgs already in its store, and
publishes it as <org>/nixpkgs-<channel>:<commit>.

It needs a network; no Nix, no Docker, no root, no KVM. What evaluates a nixpkgs
is the Nix that it names itself, out of the binary cache. Nothing is written to
/nix. Only a tool that is in no binary cache is built, by the Nix of this machine.

channels.yaml says what to follow and where to publish.

Exit codes: 0 done or nothing to do, 1 something failed, 2 wrong usage or
configuration (nothing was done), 130 interrupted.`,
		Example: `  factory init                              a channels.yaml and an image folder to begin with
  factory plan                              what a cycle would do, and why
  factory run --once                        one cycle: build and publish what is new
  factory rebuild --channel nixos-26.05     build again, whatever the plan says
  factory inspect oci:./registry:nixpkgs-nixos-26.05:latest`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       thisBuild.Version,
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		PersistentPreRunE: func(*cobra.Command, []string) error { return a.checkFlags() },
	}
	root.SetVersionTemplate(thisBuild.String() + "\n")
	flags := root.PersistentFlags()
	flags.StringVarP(&a.configFile, "config", "c", "", "configuration file (FACTORY_CONFIG; default channels.yaml)")
	flags.StringVar(&a.stateFile, "state", "", "state file (FACTORY_STATE; default: what the configuration says)")
	flags.StringVar(&a.cacheDir, "cache-dir", "", "folder for unfinished work (FACTORY_CACHE_DIR; default: what the configuration says)")
	flags.StringArrayVar(&a.publish, "publish", nil, "publish here instead of where the configuration says; may be repeated (FACTORY_PUBLISH, separated by spaces)")
	flags.StringVar(&a.nixChoice, "nix", "", "Nix that evaluates: auto, tree (the one that the nixpkgs names) or path (the one on PATH) (FACTORY_NIX; default: what the configuration says)")
	root.RegisterFlagCompletionFunc("nix", cobra.FixedCompletions(evaluator.Choices, nothingElse))
	flags.StringVar(&a.logFormat, "log-format", "text", "log on stderr: text (for people on a terminal, key=value elsewhere) or json")
	root.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{logText, logJSON}, nothingElse))
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "log errors only")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "log details")
	root.SetFlagErrorFunc(wrongFlag)
	addGroup(root, "Begin:", a.initCommand(), a.doctorCommand(), a.loginCommand())
	addGroup(root, "Make images of channels:", a.planCommand(), a.runCommand(), a.rebuildCommand(), a.buildCommand(), a.publishIndexCommand())
	addGroup(root, "See what became of them:", a.statusCommand(), a.historyCommand(), a.pageCommand(), a.serveCommand())
	addGroup(root, "Look at any image:", a.inspectCommand(), a.diffCommand(), a.verifyCommand())
	addGroup(root, "In a project of your own:", a.pinCommand(), a.prefetchCommand(), a.pushCommand())
	root.AddCommand(a.versionCommand())
	for _, cmd := range root.Commands() {
		a.completeFlags(cmd)
	}
	strict(root)
	wrapArgs(root)
	return root
}

// addGroup adds commands that the help shows together, in this order.
func addGroup(root *cobra.Command, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: title, Title: title})
	for _, cmd := range commands {
		cmd.GroupID = title
	}
	root.AddCommand(commands...)
}

// wrapArgs makes wrong arguments of every command usage errors.
func wrapArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		wrapArgs(sub)
	}
}

// setting returns a flag's value, or else that of an environment variable.
func (a *app) setting(flag, variable string) string {
	if flag != "" {
		return flag
	}
	return a.env(variable)
}

func (a *app) close() {
	if a.progress != nil {
		a.progress.stop()
	}
}
