package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
)

func validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a pipeline file and print its graph",
		Long: `Check a pipeline file and print its graph: nodes, waves and dependencies.

Nothing of the file runs, and nothing is opened: whether its modules and ports
exist is checked by run.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := host.Validate(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), p)
			return err
		},
	}
}
