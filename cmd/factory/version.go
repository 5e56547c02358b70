package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build says which factory this is. The JSON form is part of the command's
// contract.
type build struct {
	Version  string `json:"version"`  // of the module; "devel" where Go knows none
	Revision string `json:"revision"` // commit of the sources; "" where nobody says it
	Dirty    bool   `json:"dirty"`    // the sources were changed after that commit
	Time     string `json:"time"`     // of the commit; "" where it is not known
	Go       string `json:"go"`
	Platform string `json:"platform"`

	Modules []module `json:"modules"` // that it was compiled from, by path
}

// module is a Go module.
type module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Sum     string `json:"sum"` // as in go.sum; "" of a replaced one that is a folder
}

// thisBuild is the running program.
var thisBuild = readBuild(os.Getenv)

// userAgent is how the factory introduces itself to servers.
var userAgent = "nixpkgs-factory/" + thisBuild.Version + " (+https://github.com/nixpkgs-factory/factory)"

// readBuild reads what the Go linker has written into the program. The factory's
// own image is compiled without version control, so that equal sources give equal
// layers; there the image says the commit.
func readBuild(env func(string) string) build {
	b := build{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Revision: env("FACTORY_REVISION"), Modules: []module{}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		b.Modules = append(b.Modules, module{m.Path, m.Version, m.Sum})
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Dirty = s.Value == "true"
		case "vcs.time":
			b.Time = s.Value
		}
	}
	return b
}

func (b build) String() string {
	s := "factory " + b.Version
	if b.Revision != "" {
		s += " (commit " + brief(b.Revision)
		if b.Dirty {
			s += ", with changes"
		}
		s += ")"
	}
	return s + ", " + b.Go + ", " + b.Platform
}

type versionOptions struct {
	output
	modules bool
}

func (a *app) versionCommand() *cobra.Command {
	var o versionOptions
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show which factory this is",
		Long: `Shows the version of the factory, the commit that it was made from, and the Go that
it was compiled with. factory --version prints the same line. --modules adds the Go
modules that it was compiled from.

JSON: {version, revision, dirty, time, go, platform, modules: [{path, version, sum}]};
version is "devel" and revision is empty where the program was compiled without
them. The sum is that of go.sum.`,
		Example: `  factory version
  factory version --modules
  factory version --output json | jq -r .revision`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if o.format == "json" {
				return writeJSON(a.stdout, thisBuild)
			}
			if _, err := fmt.Fprintln(a.stdout, thisBuild); err != nil || !o.modules {
				return err
			}
			rows := [][]string{{"MODULE", "VERSION"}}
			for _, m := range thisBuild.Modules {
				rows = append(rows, []string{m.Path, m.Version})
			}
			return a.table(rows)
		},
	}
	cmd.Flags().BoolVar(&o.modules, "modules", false, "show the Go modules, too (JSON always has them)")
	o.addFlag(cmd)
	return cmd
}
