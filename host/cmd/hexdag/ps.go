package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/processregistry"
)

func psCommand() *cobra.Command {
	var config, status string
	var f processregistry.Filter
	var asJSON bool
	cmd := &cobra.Command{
		Use: "ps", Short: "List the runs that there are and were, the latest first", Args: cobra.NoArgs,
		Long: `List the runs that there are and were, the latest first. The host may run meanwhile. A run is lost where it was
running when its host died.`,
		Example: `hexdag ps --status running
hexdag ps --ref order-17`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			cfg, err := configFor("hexdag.yaml", config)
			if err != nil {
				return err
			}
			p, err := host.OpenProcesses(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, p.Close(context.WithoutCancel(cmd.Context()))) }()
			f.Status = processregistry.Status(status)
			runs, err := p.List(cmd.Context(), p.Tenant, f)
			if err != nil {
				return err
			}
			if asJSON {
				list := make([]map[string]any, len(runs))
				for i, r := range runs {
					list[i] = r.Summary()
				}
				return writeJSONValue(cmd.OutOrStdout(), list)
			}
			return writeProcesses(cmd.OutOrStdout(), runs)
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	cmd.Flags().StringVar(&status, "status", "", "those that stand so alone: running, completed, suspended, failed, denied, cancelled or lost")
	cmd.Flags().StringVar(&f.Pipeline, "pipeline", "", "those of a pipeline alone")
	cmd.Flags().StringVar(&f.Parent, "parent", "", "those that this run has started alone")
	cmd.Flags().StringVar(&f.RefID, "ref", "", "those that are about this alone")
	cmd.Flags().IntVar(&f.Limit, "limit", 0, "how many at most (default 50)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func writeProcesses(w io.Writer, runs []*processregistry.Process) error {
	if len(runs) == 0 {
		_, err := fmt.Fprintln(w, "there are no such runs")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RUN\tSTATUS\tPIPELINE\tSTARTED\tTOOK\tPARENT\tREF")
	for _, r := range runs {
		took := ""
		if !r.Ended.IsZero() {
			took = r.Ended.Sub(r.Started).Round(time.Millisecond).String()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", kernel.Quote(r.RunID), kernel.Quote(string(r.Status)), kernel.Quote(r.Pipeline), r.Started.UTC().Format(time.RFC3339), took, kernel.Quote(r.Parent), kernel.Quote(r.Origin.RefID))
	}
	return table.Flush()
}
