package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

func listenCommand() *cobra.Command {
	var config string
	var idle time.Duration
	var asJSON, durable bool
	cmd := &cobra.Command{
		Use:   "listen",
		Short: "Run pipelines as events ask for them",
		Long: `Start runs, and tell modules, of events, as the configuration's triggers and
subscriptions say, until interrupted or, with --until-idle, until nothing happens any more. Runs under way
are waited for. What was published while nobody listened is dealt with first. With --durable, a run whose host
dies goes on here, or elsewhere, and its event starts no second one.

The event bus has to be one that processes share: ports: {eventbus: {adapter: nats}}. On one in
memory, 'hexdag run' deals with the triggers of what it runs itself.`,
		Example: `hexdag listen --config hexdag.yaml
hexdag listen --until-idle 5s --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			cfg, err := configFor("hexdag.yaml", config)
			if err != nil {
				return err
			}
			opts := hostOptions(cmd)
			opts.Durable = durable
			h, err := host.New(ctx, cfg, opts)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, h.Close(context.WithoutCancel(ctx))) }()
			switch {
			case !h.Listens() && cfg.Libraries.Pipelines == "":
				return &kernel.Error{Code: kernel.CodeConfig, What: "there is nothing to listen for", Where: kernel.Where{File: cfg.File}, Why: "the configuration has no triggers, no subscriptions and no libraries.pipelines", Fix: "add triggers: [{name: ..., on: ..., pipeline: ...}]"}
			case !h.Bus().Capabilities().Shared && h.Listens():
				return &kernel.Error{Code: kernel.CodeConfig, What: "nobody could publish to this process", Where: kernel.Where{File: cfg.File}, Why: "the event bus is in its memory", Fix: "add ports: {eventbus: {adapter: nats}} to spec"}
			}
			out := triggeredLines(cmd.OutOrStdout(), asJSON)
			l, err := h.Listen(ctx, host.ListenOptions{Told: out})
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "listening")
			stop := func() {}
			if durable {
				stop = recovering(ctx, cmd, h)
			}
			l.Wait(ctx, idle)
			stop()
			return l.Close(context.WithoutCancel(ctx))
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	cmd.Flags().DurationVar(&idle, "until-idle", 0, "end when nothing has happened for so long")
	cmd.Flags().BoolVar(&durable, "durable", false, "keep a journal of every run, and go on first with those whose host has died")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for every event that was dealt with")
	return cmd
}

// recoverEvery is how often it is seen whether a durable run has lost its host.
const recoverEvery = 15 * time.Second

// recovering goes on with durable runs whose hosts have died, until stop is called, which waits for those that are under way.
func recovering(ctx context.Context, cmd *cobra.Command, h *host.Host) (stop func()) {
	stopped := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for {
			err := h.Recover(ctx, host.RunOptions{}, func(r *host.Recovered) {
				if r.Err != nil {
					fmt.Fprintf(cmd.ErrOrStderr(), "run %s cannot go on: %s\n", r.RunID, r.Err)
					return
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "run %s went on: %s\n", r.RunID, r.Result.Status)
			})
			if err != nil && ctx.Err() == nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "runs that have lost their host: %s\n", err)
			}
			select {
			case <-time.After(recoverEvery):
			case <-stopped:
				return
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { close(stopped); work.Wait() }
}

// triggeredLines returns what writes a line for what came of an event. Events that a trigger's
// when: leaves out are in the JSON alone.
func triggeredLines(w io.Writer, asJSON bool) func(*host.Triggered) {
	var mu sync.Mutex
	return func(t *host.Triggered) {
		mu.Lock()
		defer mu.Unlock()
		by := "trigger " + kernel.Quote(t.Trigger)
		if t.Trigger == "" {
			by = "module " + kernel.Quote(t.Module)
		}
		if asJSON {
			doc := map[string]any{"topic": t.Event.Topic, "event": t.Event.ID, "trigger": t.Trigger, "module": t.Module, "skipped": t.Skipped}
			if t.Result != nil {
				doc["run_id"], doc["status"] = t.Result.RunID, string(t.Result.Status)
			}
			if t.Err != nil {
				doc["error"] = t.Err.Error()
			}
			writeJSON(w, doc) //nolint:errcheck // a broken pipe ends nothing that was asked for
			return
		}
		switch {
		case t.Result != nil && t.Result.Err != nil:
			fmt.Fprintf(w, "%s: %s: run %s %s: %s\n", t.Event.Topic, by, t.Result.RunID, t.Result.Status, t.Result.Err)
		case t.Result != nil:
			fmt.Fprintf(w, "%s: %s: run %s %s\n", t.Event.Topic, by, t.Result.RunID, t.Result.Status)
		case t.Err != nil:
			fmt.Fprintf(w, "%s: %s: %s\n", t.Event.Topic, by, t.Err)
		case t.Skipped != "when":
			fmt.Fprintf(w, "%s: %s: %s\n", t.Event.Topic, by, orElse(t.Skipped, "done"))
		}
	}
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// settled is how long nothing has happened when what a run has triggered is over: on a bus in
// memory events are delivered at once.
const settled = 200 * time.Millisecond

// listening deals with the triggers of what a command runs itself, where nobody else could: the
// event bus is in this process. after waits for what the run has triggered, and ends it.
func listening(ctx context.Context, cmd *cobra.Command, h *host.Host) (after func() error, err error) {
	if !h.Listens() || h.Bus().Capabilities().Shared {
		return func() error { return nil }, nil
	}
	l, err := h.Listen(ctx, host.ListenOptions{Told: triggeredLines(cmd.ErrOrStderr(), false), Unscheduled: true})
	if err != nil {
		return nil, err
	}
	return func() error {
		l.Wait(ctx, settled)
		return l.Close(context.WithoutCancel(ctx))
	}, nil
}
