package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

// maxHolders is how many holders are listed at most.
const maxHolders = 10_000

func locksCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "locks", Short: "See who holds which locks", Args: cobra.NoArgs, RunE: help,
		Long: `See who holds which locks, as far as processes share them: the configuration's lock port is
anything but memory. What is shown may be over already.`,
	}
	cmd.AddCommand(
		holdersCommand("list", "List the locks that are held", cobra.NoArgs),
		holdersCommand("who NAME", "Say who holds a lock", cobra.ExactArgs(1)),
	)
	return cmd
}

func holdersCommand(use, short string, args cobra.PositionalArgs) *cobra.Command {
	var config string
	var asJSON bool
	cmd := &cobra.Command{
		Use: use, Short: short, Args: args,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			cfg, err := configFor("hexdag.yaml", config)
			if err != nil {
				return err
			}
			locks, tenant, err := host.OpenLocks(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, locks.Close()) }()
			name := strings.Join(args, "")
			list, err := locks.Holders(cmd.Context(), tenant, name, maxHolders)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), holdersAsJSON(list))
			}
			return writeHolders(cmd.OutOrStdout(), name, list)
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// heldLock is a holder as JSON.
type heldLock struct {
	Name string `json:"name"`
	host.LockOwner
	Token     uint64  `json:"token"`
	Permits   int     `json:"permits"`
	ExpiresIn float64 `json:"expires_in"` // seconds
}

func holdersAsJSON(list []host.LockHolder) []heldLock {
	out := make([]heldLock, len(list))
	for i, h := range list {
		out[i] = heldLock{Name: h.Name, LockOwner: h.Owner, Token: h.Fence, Permits: h.Permits, ExpiresIn: h.Left.Seconds()}
	}
	return out
}

func writeHolders(w io.Writer, name string, list []host.LockHolder) error {
	if len(list) == 0 {
		what := "no lock is held"
		if name != "" {
			what = "nobody holds " + kernel.Quote(name)
		}
		_, err := fmt.Fprintln(w, what)
		return err
	}
	for _, h := range list {
		o := h.Owner
		text := kernel.Quote(h.Name) + "  held by " + kernel.Quote(o.Principal)
		for _, part := range []struct{ name, value string }{{"run", o.Run}, {"pipeline", o.Pipeline}, {"node", o.Node}, {"module", o.Module}} {
			if part.value != "" {
				text += ", " + part.name + " " + kernel.Quote(part.value)
			}
		}
		text += fmt.Sprintf("\n  since %s, token %d, ends in %s unless it is renewed", o.Since.UTC().Format(time.RFC3339), h.Fence, h.Left.Round(time.Second/10))
		if h.Permits > 1 {
			text += fmt.Sprintf(", one of %d permits", h.Permits)
		}
		if _, err := fmt.Fprintln(w, text); err != nil {
			return err
		}
	}
	return nil
}
