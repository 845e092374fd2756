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
}

func resumeCommand() *cobra.Command {
	var f resumeFlags
	cmd := &cobra.Command{
		Use:   "resume [RUN_ID]",
		Short: "Go on with runs that wait for an event",
		Long: `Go on with runs that wait for an event: one run by its id, all that wait for the
key --event, or, with --expired, all whose time to wait is over. --data becomes the
result of the node that waits.

The configuration is the one that the run was started with.`,
		Example: `hexdag resume --list
hexdag resume 0197-... --data '{"approved": true}'
hexdag resume --event approval:T-1 --data '{"approved": true}'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return resume(cmd, args, f) },
	}
	cmd.Flags().StringVar(&f.config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	cmd.Flags().StringVar(&f.event, "event", "", "the key that runs wait for")
	cmd.Flags().StringVar(&f.data, "data", "", "the event's data: JSON, @file, or @- for standard input")
	cmd.Flags().BoolVar(&f.list, "list", false, "list the runs that wait")
	cmd.Flags().BoolVar(&f.expired, "expired", false, "go on with the runs whose time to wait is over")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("list", "expired", "data")
	return cmd
}

func resume(cmd *cobra.Command, args []string, f resumeFlags) (err error) {
	ctx := cmd.Context()
	if len(args) == 0 && f.event == "" && !f.list && !f.expired {
		return &kernel.Error{Code: kernel.CodeInput, What: "it is not said which run goes on", Fix: "give its RUN_ID, --event KEY, --expired, or see them with --list"}
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
	results, err := goOn(ctx, cmd, h, args, f)
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
