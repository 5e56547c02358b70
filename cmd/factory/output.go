package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

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
	for _, k := range o.known {
		if o.format == k {
			return nil
		}
	}
	return usageError{fmt.Errorf("--output %q: want one of %s", o.format, strings.Join(o.known, ", "))}
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table writes rows in aligned columns, the first row as the heading.
func table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	return t.Flush()
}
