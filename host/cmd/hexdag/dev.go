package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/moduledev"
)

func devCommand() *cobra.Command {
	var point, input, config string
	cmd := &cobra.Command{
		Use:   "dev DIR",
		Short: "Build a module and run it again whenever its source changes",
		Long: `Build the module in DIR and run its cases, *.case.json, now and whenever a file
changes, and say what is different: verdicts, results, fuel, calls of the host, logs.

With --point it is one call with --input and --config instead, with all that the
manifest asks for granted, and in-memory ports that start empty. ^C ends it.`,
		Example: "hexdag dev guests/redact\nhexdag dev guests/redact --point node_before --input @message.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if point == "" && (cmd.Flags().Changed("input") || config != "") {
				return &kernel.Error{Code: kernel.CodeInput, What: "--input and --config are of a call of an extension point", Why: "without --point the cases are run", Fix: "name the extension point with --point"}
			}
			dev := host.ModuleDev{Dir: args[0], Point: point, Log: cmd.ErrOrStderr(), Report: func(r *moduledev.Round, changes []moduledev.Change) { printRound(cmd, r, changes) }}
			var err error
			if dev.Input, err = readValue(cmd, "input", input); err != nil {
				return err
			}
			if dev.Config, err = readValue(cmd, "config", config); err != nil {
				return err
			}
			return host.DevModule(cmd.Context(), dev, hostOptions(cmd))
		},
	}
	cmd.Flags().StringVar(&point, "point", "", "an extension point to call instead of running the cases")
	cmd.Flags().StringVar(&input, "input", "{}", "with --point, the message: JSON, @file, or @- for standard input")
	cmd.Flags().StringVar(&config, "config", "", "with --point, the module's configuration: JSON or @file")
	return cmd
}

// printRound writes what came of a round: each call on a line, what is wrong with it,
// and what is different.
func printRound(cmd *cobra.Command, r *moduledev.Round, changes []moduledev.Change) {
	w := cmd.OutOrStdout()
	if r.Err != nil {
		printError(cmd.ErrOrStderr(), r.Err)
		fmt.Fprintln(w, "waiting for a change")
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "built in %s, ran in %s\n", r.Built.Round(time.Millisecond), r.Ran.Round(time.Millisecond))
	failed := 0
	for _, c := range r.Calls {
		state := "ok"
		if len(c.Problems) > 0 {
			state = "FAILED"
			failed++
		}
		fmt.Fprintf(&b, "  %-6s %s: %s, %d fuel, %d host calls\n", state, c.Name, c.Verdict, c.Fuel, len(c.HostCalls))
		for _, p := range c.Problems {
			fmt.Fprintf(&b, "         %s\n", p)
		}
	}
	if len(changes) > 0 {
		b.WriteString("changed\n")
	}
	for _, c := range changes {
		for _, line := range c.Lines {
			fmt.Fprintf(&b, "  %s: %s\n", c.Name, line)
		}
	}
	fmt.Fprintf(&b, "%d calls, %d failed; waiting for a change\n", len(r.Calls), failed)
	fmt.Fprint(w, b.String())
}
