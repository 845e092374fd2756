package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/abi/tck"
	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

func tckCommand() *cobra.Command {
	var asJSON, all bool
	var engine string
	cmd := &cobra.Command{
		Use:   "tck FILE.wasm",
		Short: "Hold a probe, made with any SDK, to the vectors of the ABI's conformance kit",
		Long: `Hold a probe, made with any SDK, to the vectors of the ABI's conformance kit.

A probe is a module that does the steps of a vector and says in its log what it saw:
abi/tck/README.md has the steps, guests/sdk/*/probe the probes of the SDKs.`,
		Example: "hexdag build guests/sdk/c/probe -o probe.wasm && hexdag module tck probe.wasm",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts := hostOptions(cmd)
			opts.Engine = engine
			checks, err := host.CheckConformance(cmd.Context(), args[0], opts, nil)
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), checks)
			} else {
				err = printConformance(cmd.OutOrStdout(), checks, all)
			}
			if failed := len(checks) - tck.Passed(checks); err == nil && failed > 0 {
				return shown{&kernel.Error{Code: kernel.CodeFailed, What: fmt.Sprintf("the guest fails %d of %d vectors", failed, len(checks))}}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVarP(&all, "verbose", "v", false, "list the vectors that passed, too")
	cmd.Flags().StringVar(&engine, "engine", "", "wazero, or wasmtime in a program that is built with it (default: wazero)")
	return cmd
}

// printConformance prints a line for each group, and under it what failed.
func printConformance(w io.Writer, checks []host.Conformance, all bool) error {
	fmt.Fprintf(w, "%-14s %6s %6s\n", "group", "passed", "of")
	for _, g := range tck.Groups(checks) {
		fmt.Fprintf(w, "%-14s %6d %6d\n", g.Name, tck.Passed(g.Checks), len(g.Checks))
		for _, c := range g.Checks {
			if all && c.Pass() {
				fmt.Fprintf(w, "  ok      %s\n", c.Name)
			}
			for i, p := range c.Problems {
				fmt.Fprintf(w, "  %-7s %s: %s\n", []string{"FAILED", ""}[min(i, 1)], c.Name, kernel.Quote(p))
			}
		}
	}
	_, err := fmt.Fprintf(w, "%-14s %6d %6d\n", "total", tck.Passed(checks), len(checks))
	return err
}
