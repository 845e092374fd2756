package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

type impactFlags struct {
	decisions, entrypoint, key, known, failOn string
	live, asJSON, complete                    bool
}

func policyImpactCommand() *cobra.Command {
	var f impactFlags
	cmd := &cobra.Command{
		Use:   "impact NEW --decisions LOG",
		Short: "Replay recorded decisions against another policy, and print what would change",
		Long: `Replay the decisions of an audit log against NEW, a folder of Rego or a file that
'hexdag policy build' wrote, and print what would be decided otherwise, by effect and rules.
LOG is the log's folder, which is verified first, or what 'hexdag audit export' printed.

What a record does not tell of the request is not made up: arguments that the host was not told to
keep (audit: {arguments: true}), and what was masked. Of a folder of Rego it is told whether the
answer depends on them. What cannot be replayed is counted, with the reason.

Exit codes: 0 nothing changes, 1 something does, as --fail-on says, or, with --complete, could not be
replayed; 2 bad input.`,
		Example: "hexdag policy impact policies --decisions .hexdag/audit\nhexdag policy impact policies --decisions .hexdag/audit --fail-on looser --json",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return policyImpact(cmd, args[0], f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.decisions, "decisions", "", "an audit log's folder, or a file of exported records")
	flags.StringVarP(&f.entrypoint, "entrypoint", "e", "", "the rule that decides, where it is not hexdag/authz/decision")
	flags.StringVar(&f.key, "key", "", "the public key that the log must be signed with")
	flags.StringVar(&f.known, "known", "", "an earlier checkpoint of the log, which it must contain unchanged")
	flags.BoolVar(&f.live, "live", false, "the log is being written: leave records behind its checkpoint alone")
	flags.StringVar(&f.failOn, "fail-on", "any", "what exits with 1: any change, looser for what is denied no more or needs no approval, or none")
	flags.BoolVar(&f.complete, "complete", false, "exit with 1 also where a decision could not be replayed")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	cobra.CheckErr(cmd.MarkFlagRequired("decisions"))
	return cmd
}

func policyImpact(cmd *cobra.Command, file string, f impactFlags) error {
	if !slices.Contains([]string{"any", "looser", "none"}, f.failOn) {
		return &kernel.Error{Code: kernel.CodeInput, What: "--fail-on is " + kernel.Quote(f.failOn), Fix: "give any, looser or none"}
	}
	opts, err := auditOptions(f.key, f.known)
	if err != nil {
		return err
	}
	opts.Live = f.live
	report, err := host.ImpactOfPolicy(cmd.Context(), file, f.entrypoint, f.decisions, opts)
	if err != nil {
		return err
	}
	if f.asJSON {
		err = writeJSON(cmd.OutOrStdout(), report)
	} else {
		printImpact(cmd.OutOrStdout(), report)
	}
	changed := slices.ContainsFunc(report.Changes, func(c host.PolicyChange) bool { return f.failOn == "any" || f.failOn == "looser" && c.Looser() })
	if err == nil && (changed || f.complete && len(report.Unreplayed) > 0) {
		return exitWith(exitFailed)
	}
	return err
}

func printImpact(w io.Writer, r *host.PolicyImpact) {
	fmt.Fprintf(w, "%d decisions in %d records; %d replayed, %d of them the same\n", r.Decisions, r.Records, r.Replayed, r.Same)
	for _, c := range r.Changes {
		note := ""
		if c.Looser() {
			note = "  (looser)"
		}
		fmt.Fprintf(w, "\n%6d  %s -> %s  [%s] -> [%s]%s\n", c.Count, kernel.Quote(string(c.From)), c.To, strings.Join(c.OldRules, ", "), strings.Join(c.NewRules, ", "), note)
		for _, e := range c.Examples {
			printExample(w, e)
		}
	}
	for _, u := range r.Unreplayed {
		fmt.Fprintf(w, "\n%6d  not replayed: %s\n", u.Count, kernel.Quote(u.Why))
		for _, e := range u.Examples {
			printExample(w, e)
		}
	}
}

func printExample(w io.Writer, e host.PolicyExample) {
	fmt.Fprintf(w, "        record %d: %s on %s by %s\n", e.Record, kernel.Quote(e.Action), kernel.Quote(e.Resource), kernel.Quote(e.Principal))
}
