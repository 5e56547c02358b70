package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// output is the --output flag of a command.
type output struct {
	format string
	known  []string
}

func (o *output) addFlag(cmd *cobra.Command, known ...string) {
	o.known = append([]string{"text", "json"}, known...)
	cmd.Flags().StringVarP(&o.format, "output", "o", "text", "what goes to stdout: "+strings.Join(o.known, ", "))
	cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(o.known, cobra.ShellCompDirectiveNoFileComp))
}

func (o *output) check() error {
	if slices.Contains(o.known, o.format) {
		return nil
	}
	return usageError{fmt.Errorf("--output %q: want one of %s", o.format, strings.Join(o.known, ", "))}
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
