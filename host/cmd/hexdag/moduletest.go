package main

import (
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2/table"
	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

func moduleTestCommand() *cobra.Command {
	var asJSON bool
	var cases string
	cmd := &cobra.Command{
		Use:   "test DIR|FILE.wasm...",
		Short: "Run the cases beside a module",
		Long: `Run the cases beside a module, files whose names end in .case.json: a call of an
extension point, what each of the module's own calls is answered, and what has to
come of it. A call that a case does not expect fails it, and so does one that is
not made. The module in a folder of source is built first.

'hexdag module call ... --record FILE' and 'hexdag run ... --record DIR' write cases.`,
		Example: `hexdag module test guests/breaker`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			failed := 0
			for _, path := range args {
				tested, err := host.TestModule(cmd.Context(), host.ModuleTest{Path: path, Cases: cases, Log: cmd.ErrOrStderr()}, hostOptions(cmd))
				if err != nil {
					return err
				}
				failed += tested.Failed()
				if err := printTested(cmd, tested, asJSON); err != nil {
					return err
				}
			}
			if failed > 0 {
				return shown{&kernel.Error{Code: kernel.CodeFailed, What: fmt.Sprintf("%d cases failed", failed)}}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&cases, "cases", "", "the folder of the cases (default: that of the module)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, a line for each module")
	return cmd
}

// testedCase is a result as --json prints it.
type testedCase struct {
	Case      string   `json:"case"`
	File      string   `json:"file"`
	Passed    bool     `json:"passed"`
	Verdict   string   `json:"verdict"`
	Fuel      int64    `json:"fuel"`
	HostCalls int      `json:"host_calls"`
	Problems  []string `json:"problems,omitempty"`
}

func printTested(cmd *cobra.Command, tested *host.TestedModule, asJSON bool) error {
	rows := make([]testedCase, len(tested.Results))
	for i, r := range tested.Results {
		rows[i] = testedCase{Case: r.Case.Name(), File: r.Case.File, Passed: r.Passed(), Verdict: r.Verdict, Fuel: r.Trace.Outcome.Usage.Fuel, HostCalls: len(r.Trace.Calls), Problems: r.Problems}
	}
	if asJSON {
		v, err := kernel.ToValue(map[string]any{"module": tested.Module, "cases": rows, "failed": tested.Failed()})
		if err != nil {
			return err
		}
		return writeJSON(cmd.OutOrStdout(), v)
	}
	t := table.New().Headers("case", "", "verdict", "fuel", "host calls")
	var problems strings.Builder
	for _, r := range rows {
		passed := "passed"
		if !r.Passed {
			passed = "FAILED"
			fmt.Fprintf(&problems, "%s\n", kernel.Quote(r.File))
			for _, p := range r.Problems {
				fmt.Fprintf(&problems, "  %s\n", p)
			}
		}
		t.Row(kernel.Quote(r.Case), passed, r.Verdict, fmt.Sprint(r.Fuel), fmt.Sprint(r.HostCalls))
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "module %s: %d cases, %d failed\n%s\n%s", tested.Module, len(rows), tested.Failed(), t, &problems)
	return err
}

func moduleBenchCommand() *cobra.Command {
	var n int
	var cases string
	cmd := &cobra.Command{
		Use:     "bench DIR|FILE.wasm",
		Short:   "Time the cases beside a module",
		Long:    "Make the call of each case beside a module many times, with the answers that the case\ngives, and tell the median and the slowest time, the fuel and the peak memory of one.",
		Example: `hexdag module bench guests/token-budget -n 10000`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if n < 1 {
				return &kernel.Error{Code: kernel.CodeConfig, What: "-n has to be positive", Fix: "name how many calls to make"}
			}
			timings, err := host.BenchModule(cmd.Context(), host.ModuleTest{Path: args[0], Cases: cases, Log: cmd.ErrOrStderr()}, n, hostOptions(cmd))
			if err != nil {
				return err
			}
			t := table.New().Headers("case", "calls", "median", "slowest", "fuel", "peak memory")
			for _, m := range timings {
				t.Row(kernel.Quote(m.Case.Name()), fmt.Sprint(m.Calls), m.Median.Round(10*time.Nanosecond).String(), m.Slowest.Round(time.Microsecond).String(), fmt.Sprint(m.Fuel), mebibytes(m.Memory))
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), t)
			return err
		},
	}
	cmd.Flags().IntVarP(&n, "count", "n", 1000, "how many calls of each case")
	cmd.Flags().StringVar(&cases, "cases", "", "the folder of the cases (default: that of the module)")
	return cmd
}
