package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

type replayFlags struct {
	config, from, pipeline string
	modules                map[string]string
	policies               []string
	all, asJSON            bool
	last                   int
}

func replayCommand() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay [RUN_ID...]",
		Short: "Do recorded runs again, offline, as they were or with other modules and rules",
		Long: `Do durable runs again from their journals. No port is opened and nothing is called: each call is answered with
what it was answered then. Without further flags a run is reproduced bit for bit: the results, the fuel of each
module's call, and the order of all that it did; what is not the same is told.

--module NAME=FILE runs another module in the place of the run's, --policy DIR has the Rego in a folder decide, and
--from NODE takes what that node does not depend on as it was. It is told, node by node, what would have been otherwise. A call that
the recording does not hold is told, and never made. With several runs, or --all, it is summed up.

Exit codes: 0 all is as it was, 1 something is not, 2 bad input.`,
		Example: `hexdag replay 0197-...
hexdag replay 0197-... --module redact=redact-2.wasm
hexdag replay --all --last 1000 --policy policies-2`,
		RunE: func(cmd *cobra.Command, args []string) error { return replay(cmd, args, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	flags.StringToStringVar(&f.modules, "module", nil, "NAME=FILE, another module")
	flags.StringSliceVar(&f.policies, "policy", nil, "a folder of Rego that decides")
	flags.StringVar(&f.from, "from", "", "the node at which to begin")
	flags.BoolVar(&f.all, "all", false, "all runs that are recorded, the latest first")
	flags.StringVar(&f.pipeline, "pipeline", "", "with --all, those of a pipeline")
	flags.IntVar(&f.last, "last", 0, "with --all, so many")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

func replay(cmd *cobra.Command, args []string, f replayFlags) (err error) {
	ctx := cmd.Context()
	if f.all == (len(args) > 0) {
		return &kernel.Error{Code: kernel.CodeInput, What: "it is not said which run is done again", Fix: "give its RUN_ID, or --all; 'hexdag journal list' shows those that there are"}
	}
	cfg, err := configFor("hexdag.yaml", f.config)
	if err != nil {
		return err
	}
	r, err := host.OpenReplayer(ctx, cfg, hostOptions(cmd), host.ReplayOptions{Modules: f.modules, Policies: f.policies, From: f.from})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close(context.WithoutCancel(ctx))) }()
	if len(args) == 1 {
		replayed, err := r.Run(ctx, args[0])
		if err != nil {
			return err
		}
		if f.asJSON {
			err = writeJSON(cmd.OutOrStdout(), replayed)
		} else {
			printReplayed(cmd.OutOrStdout(), replayed)
		}
		if err == nil && !alike(replayed) {
			return exitWith(exitFailed)
		}
		return err
	}
	runs, err := runsToReplay(ctx, r, args, f)
	if err != nil {
		return err
	}
	impact, err := r.Impact(ctx, runs, nil)
	if err != nil {
		return err
	}
	if f.asJSON {
		err = writeJSON(cmd.OutOrStdout(), impact)
	} else {
		printReplayImpact(cmd.OutOrStdout(), impact)
	}
	if err == nil && impact.Same < impact.Runs {
		return exitWith(exitFailed)
	}
	return err
}

func alike(r *host.Replayed) bool { return r.Was == r.Is && len(r.Nodes)+len(r.Differences) == 0 }

func runsToReplay(ctx context.Context, r *host.Replayer, args []string, f replayFlags) ([]*driver.Run, error) {
	if f.all {
		return r.Runs(ctx, driver.Query{Pipeline: f.pipeline, Limit: f.last})
	}
	runs := make([]*driver.Run, len(args))
	for i, id := range args {
		runs[i] = &driver.Run{ID: id}
	}
	return runs, nil
}

func printReplayed(w io.Writer, r *host.Replayed) {
	verdict := "would have been otherwise"
	switch {
	case r.Same:
		verdict = fmt.Sprintf("the same to the bit: %d entries, %d fuel", r.Entries, r.FuelIs)
	case alike(r):
		verdict = "nothing would have been otherwise"
	}
	fmt.Fprintf(w, "run %s of %s: %s\n", kernel.Quote(r.RunID), kernel.Quote(r.Pipeline), verdict)
	for _, note := range r.Notes {
		fmt.Fprintf(w, "  note: %s\n", note)
	}
	if r.Was != r.Is {
		fmt.Fprintf(w, "  it was %s, and would be %s\n", r.Was, r.Is)
		if r.Result != nil && r.Result.Err != nil {
			fmt.Fprintf(w, "    %s\n", r.Result.Err)
		}
	}
	for _, n := range r.Nodes {
		fmt.Fprintf(w, "  node %s\n", kernel.Quote(n.Node))
		if n.Was != n.Is {
			fmt.Fprintf(w, "    was  %s\n    is   %s\n", n.Was, n.Is)
		}
		if n.FuelWas != n.FuelIs {
			fmt.Fprintf(w, "    fuel %d, was %d\n", n.FuelIs, n.FuelWas)
		}
	}
	for _, d := range r.Differences {
		where := "the run"
		if d.Lane != "" {
			where = kernel.Quote(d.Lane)
		}
		fmt.Fprintf(w, "  %s: %s", where, d.What)
		if d.Seq > 0 {
			fmt.Fprintf(w, ", entry %d", d.Seq)
		}
		fmt.Fprintln(w)
		if d.Was != "" {
			fmt.Fprintf(w, "    was  %s\n", d.Was)
		}
		if d.Is != "" {
			fmt.Fprintf(w, "    is   %s\n", d.Is)
		}
	}
	fmt.Fprintf(w, "  took %s, then %s\n", r.Took.Round(10_000), r.TookThen.Round(10_000))
}

func printReplayImpact(w io.Writer, i *host.ReplayImpact) {
	fmt.Fprintf(w, "%d runs, %d of them as they were\n", i.Runs, i.Same)
	for _, part := range []struct {
		title   string
		changes []host.ReplayChange
	}{
		{"runs that would have ended otherwise", i.Endings}, {"decisions that would have been otherwise", i.Decisions}, {"runs that were not as recorded, from a step on", i.Steps},
		{"nodes that would have answered otherwise", i.Nodes},
		{"calls that the recordings do not hold", i.Unrecorded}, {"runs that could not be done again", i.Unreplayed},
	} {
		if len(part.changes) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", part.title)
		for _, c := range part.changes {
			fmt.Fprintf(w, "%6d  %s", c.Count, c.What)
			if c.Was != "" || c.Is != "" {
				fmt.Fprintf(w, ": %s -> %s", c.Was, c.Is)
			}
			fmt.Fprintf(w, "  (run %s)\n", kernel.Quote(c.Example))
		}
	}
}
