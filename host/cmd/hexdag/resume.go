package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

type resumeFlags struct {
	config, event, data   string
	list, expired, asJSON bool
	crashed               bool
}

func resumeCommand() *cobra.Command {
	var f resumeFlags
	cmd := &cobra.Command{
		Use:   "resume [RUN_ID]",
		Short: "Go on with runs that wait for an event",
		Long: `Go on with runs that wait for an event: one run by its id, all that wait for the
key --event, or, with --expired, all whose time to wait is over. --data becomes the
result of the node that waits.

With --crashed, durable runs go on whose host has died: the one of RUN_ID, or all. What they had done they do not do
again. A call that was under way then, and may or may not have been done, is told, and is done again only
where its port can tell a repetition.

The configuration is the one that the run was started with.`,
		Example: `hexdag resume --list
hexdag resume 0197-... --data '{"approved": true}'
hexdag resume --crashed
hexdag resume --event approval:T-1 --data '{"approved": true}'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return resume(cmd, args, f) },
	}
	cmd.Flags().StringVar(&f.config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	cmd.Flags().StringVar(&f.event, "event", "", "the key that runs wait for")
	cmd.Flags().StringVar(&f.data, "data", "", "the event's data: JSON, @file, or @- for standard input")
	cmd.Flags().BoolVar(&f.list, "list", false, "list the runs that wait")
	cmd.Flags().BoolVar(&f.expired, "expired", false, "go on with the runs whose time to wait is over")
	cmd.Flags().BoolVar(&f.crashed, "crashed", false, "go on with durable runs whose host has died")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("list", "expired", "crashed", "data")
	return cmd
}

func resume(cmd *cobra.Command, args []string, f resumeFlags) (err error) {
	ctx := cmd.Context()
	if len(args) == 0 && f.event == "" && !f.list && !f.expired && !f.crashed {
		return &kernel.Error{Code: kernel.CodeInput, What: "it is not said which run goes on", Fix: "give its RUN_ID, --event KEY, --expired, --crashed, or see them with --list"}
	}
	cfg, err := configFor("hexdag.yaml", f.config)
	if err != nil {
		return err
	}
	h, err := host.New(ctx, cfg, hostOptions(cmd))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close(context.WithoutCancel(ctx))) }()
	if f.list {
		return listWaiting(cmd, h, f.asJSON)
	}
	if f.crashed {
		return recoverRuns(traced(ctx), cmd, h, args, f.asJSON)
	}
	results, err := goOn(traced(ctx), cmd, h, args, f)
	for _, r := range results {
		if f.asJSON {
			err = errors.Join(err, writeJSON(cmd.OutOrStdout(), r))
		} else {
			err = errors.Join(err, printResult(cmd.OutOrStdout(), r))
		}
		err = errors.Join(err, r.Err)
	}
	return err
}

// recoverRuns goes on with runs whose host has died.
func recoverRuns(ctx context.Context, cmd *cobra.Command, h *host.Host, args []string, asJSON bool) error {
	if len(args) > 0 {
		r, err := h.RecoverRun(ctx, args[0], host.RunOptions{})
		if err != nil {
			return err
		}
		return printRecovered(cmd, r, asJSON)
	}
	var problems []error
	n := 0
	err := h.Recover(ctx, host.RunOptions{}, func(r *host.Recovered) {
		n++
		problems = append(problems, printRecovered(cmd, r, asJSON))
	})
	if n == 0 && err == nil && !asJSON {
		fmt.Fprintln(cmd.OutOrStdout(), "no durable run has lost its host")
	}
	return errors.Join(append(problems, err)...)
}

func printRecovered(cmd *cobra.Command, r *host.Recovered, asJSON bool) error {
	for _, c := range r.InFlight {
		fmt.Fprintf(cmd.ErrOrStderr(), "run %s: %s of %s was under way when its host died\n", r.RunID, c.Op, kernel.Quote(c.Lane))
	}
	if r.Err != nil {
		return kernel.At(r.Err, kernel.Where{Run: r.RunID})
	}
	if asJSON {
		return errors.Join(writeJSON(cmd.OutOrStdout(), r.Result), r.Result.Err)
	}
	return errors.Join(printResult(cmd.OutOrStdout(), r.Result), r.Result.Err)
}

func goOn(ctx context.Context, cmd *cobra.Command, h *host.Host, args []string, f resumeFlags) ([]*host.Result, error) {
	if f.expired {
		return h.Expire(ctx, time.Now(), host.RunOptions{})
	}
	data, err := readValue(cmd, "data", f.data)
	if err != nil {
		return nil, err
	}
	if len(args) == 0 {
		return h.Signal(ctx, f.event, data, host.RunOptions{})
	}
	result, err := h.Resume(ctx, args[0], f.event, data, host.RunOptions{})
	if result == nil {
		return nil, err
	}
	return []*host.Result{result}, err
}

func listWaiting(cmd *cobra.Command, h *host.Host, asJSON bool) error {
	runs, err := h.Waiting()
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), runs)
	}
	for _, r := range runs {
		var waits []string
		for _, w := range r.Waits {
			text := kernel.Quote(w.EventKey)
			if w.Timeout > 0 {
				text += " until " + w.Since.Add(w.Timeout).Format(time.RFC3339)
			}
			waits = append(waits, text)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  waits for %s\n", r.RunID, kernel.Quote(r.Pipeline), strings.Join(waits, ", "))
	}
	return nil
}
