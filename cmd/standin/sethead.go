package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/standin"
)

func setHeadCommand(stdout io.Writer) *cobra.Command {
	var addr string
	cmd := &cobra.Command{
		Use:   "set-head CHANNEL REV|next",
		Short: "Move a channel of a running stand-in",
		Long: `set-head moves a channel of a running stand-in to one of its commits, as if
somebody had pushed it, and prints the revision it is at then.
The word next moves it to the commit after the one it is at.`,
		Example: `  standin set-head nixos-unstable next
  standin set-head --addr 127.0.0.1:5000 nixos-26.05 "$rev"`,
		Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			state, err := setHead(cmd.Context(), addr, args[0], args[1])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(stdout, state.Head)
			return err
		},
	}
	cmd.Flags().StringVar(&addr, "addr", defaultAddr, "`HOST:PORT` that the stand-in listens on")
	return cmd
}

func setHead(ctx context.Context, addr, channel, rev string) (state standin.ChannelState, err error) {
	url := "http://" + addr + standin.ControlPath + "/" + channel
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader(rev))
	if err != nil {
		return state, &usageError{err}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return state, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return state, fmt.Errorf("%s: %s", addr, strings.TrimSpace(string(text)))
	}
	return state, json.NewDecoder(resp.Body).Decode(&state)
}
