package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
)

func workerCommand() *cobra.Command {
	var config, state string
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Work on nodes of runs that other processes start",
		Long: `Work on nodes of runs, as the configuration's spec.executor says where they come from, until interrupted. Nodes
under way then have spec.executor's drain to end; after that, another worker begins them anew.

A worker runs what its own configuration grants, and nothing else: a module by its name there, in the version that
the run began with, which is fetched where this worker has another. Pipelines are fetched, too, so that runs end on the version that
they began with.

What is this process's alone, such as its audit log, is in --state, or else in the first folder of
workers/1, workers/2 and so on below the configuration's state that no other worker uses.`,
		Example: `hexdag worker --config hexdag.yaml
hexdag worker --config hexdag.yaml --state /var/lib/hexdag/worker-a`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			cfg, err := configFor("hexdag.yaml", config)
			if err != nil {
				return err
			}
			opts := hostOptions(cmd)
			if opts.State = state; state == "" {
				var release func() error
				if opts.State, release, err = host.WorkerState(ctx, cfg); err != nil {
					return err
				}
				defer func() { err = errors.Join(err, release()) }()
			}
			h, err := host.New(ctx, cfg, opts)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, h.Close(context.WithoutCancel(ctx))) }()
			fmt.Fprintln(cmd.ErrOrStderr(), "working; state in "+h.StateDir())
			return h.Work(ctx)
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	cmd.Flags().StringVar(&state, "state", "", "the folder of what is this worker's alone (default workers/N below the configuration's state)")
	return cmd
}
