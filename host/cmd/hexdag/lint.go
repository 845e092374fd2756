package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline/lint"
)

func lintCommand() *cobra.Command {
	var opts host.LintOptions
	var format, severity string
	cmd := &cobra.Command{
		Use:   "lint FILE",
		Short: "Find in a pipeline's or a system's file what is wrong or likely not meant",
		Long: `Find in a pipeline's or a system's file, and in what it includes, what is wrong,
likely not meant, or would be missed by a reader. Nothing of it runs.

E100  the dependencies go in a circle        W203  a secret is written into the file
E101  there is no such node kind             W204  what the loader warns of
E102  the file does not load                 I300  no description
W200  a node asks a model without timeout    I301  a name is not in snake_case
W201  ... without being tried again
W202  nothing uses a node's result

Exits with 0 where nothing worse than info is reported, and with 2 where errors or
warnings are. --severity error leaves the warnings out.`,
		Example: `hexdag lint pipeline.yaml --severity warning --disable W201`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "text" && format != "json" {
				return &kernel.Error{Code: kernel.CodeInput, What: "there is no format " + kernel.Quote(format), Fix: "write text or json"}
			}
			opts.Severity = lint.Severity(severity)
			report, err := host.Lint(args[0], opts)
			if err != nil {
				return err
			}
			if format == "json" {
				err = writeJSON(cmd.OutOrStdout(), report)
			} else {
				err = printFindings(cmd.OutOrStdout(), report)
			}
			if err == nil && report.Errors+report.Warnings > 0 {
				return exitWith(exitBadInput)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	cmd.Flags().StringVar(&severity, "severity", "info", "the least that is reported: error, warning or info")
	cmd.Flags().StringSliceVar(&opts.Disable, "disable", nil, "rules that are not reported, such as W201,I300")
	cmd.Flags().StringVar(&opts.Environment, "env", "", "of several pipelines in FILE, only the one with this metadata.namespace")
	return cmd
}

func printFindings(w io.Writer, r *host.LintReport) error {
	for _, f := range r.Findings {
		fix := ""
		if f.Fix != "" {
			fix = " (" + f.Fix + ")"
		}
		if _, err := fmt.Fprintf(w, "%s: %s %s: %s%s\n", f.Where(), f.Severity, f.Rule, f.Message, fix); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%s: errors %d, warnings %d, infos %d\n", kernel.Quote(r.File), r.Errors, r.Warnings, r.Infos)
	return err
}
