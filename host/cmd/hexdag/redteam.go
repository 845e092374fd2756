package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

func redteamCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "redteam",
		Short: "Have hostile modules attack a host on this machine",
		Long: `Have hostile modules attack a host on this machine, one after the other. For each it is
checked that the host lives, gives the right error in time and within its memory,
leaves a record, and that another tenant's calls go on.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "%-5s %-66s %-34s %8s %8s\n", "case", "the guest", "the host", "time", "memory")
			failed := 0
			results, err := host.RedTeam(cmd.Context(), hostOptions(cmd), func(r host.RedTeamResult) {
				fmt.Fprintf(w, "%-5s %-66s %-34s %8s %6dMiB\n", r.ID, r.What, kernel.Quote(r.Got), r.Took.Round(time.Millisecond), r.Grown>>20)
				for _, p := range r.Problems {
					fmt.Fprintf(w, "      FAILED: %s\n", p)
				}
				if !r.Pass() {
					failed++
				}
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%d attacks, the host held against %d\n", len(results), len(results)-failed)
			if failed > 0 {
				return shown{&kernel.Error{Code: kernel.CodeFailed, What: fmt.Sprintf("%d attacks got through a bound", failed)}}
			}
			return nil
		},
	}
}
