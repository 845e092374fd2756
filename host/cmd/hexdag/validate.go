package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

func validateCommand() *cobra.Command {
	var env string
	cmd := &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a pipeline's or a system's file and print its graph",
		Long: `Check a pipeline's or a system's file and print its graph: nodes, waves and
dependencies.

Nothing of the file runs, and nothing is opened: whether its modules and ports
exist is checked by run.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := host.Validate(args[0], host.LoadOptions{Environment: env})
			if err != nil {
				return err
			}
			if f.System == nil {
				printWarnings(cmd.ErrOrStderr(), f.Pipeline.Warnings)
				_, err = fmt.Fprint(cmd.OutOrStdout(), f.Pipeline)
				return err
			}
			printWarnings(cmd.ErrOrStderr(), f.System.Warnings)
			for _, p := range f.System.Processes {
				fmt.Fprintf(cmd.OutOrStdout(), "process %s\n%s", kernel.Quote(p.Name), p.Pipeline)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&env, "env", "", "of several pipelines in FILE, the one with this metadata.namespace")
	return cmd
}
