package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus"
)

func busCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bus",
		Short: "Publish, subscribe to and look at events",
		Long: `Publish, subscribe to and look at the events of the configuration's tenant.

The event bus is that of --config, or else of hexdag.yaml in this folder; it has to be
one that processes share: ports: {eventbus: {adapter: nats}}. In a pattern * stands for
one part of a topic, and > at the end for one or more.`,
		Args: cobra.NoArgs,
		RunE: help,
	}
	config := cmd.PersistentFlags().String("config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	cmd.AddCommand(busPubCommand(config), busSubCommand(config), busReplayCommand(config), busTopicsCommand(config), busRedriveCommand(config))
	return cmd
}

// withBus opens the configuration's bus for one command.
func withBus(cmd *cobra.Command, config string, use func(ctx context.Context, b *eventbus.Bus, tenant string) error) error {
	cfg, err := configFor("hexdag.yaml", config)
	if err != nil {
		return err
	}
	b, tenant, closeBus, err := host.OpenBus(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	return errors.Join(use(cmd.Context(), b, tenant), closeBus())
}

func busPubCommand(config *string) *cobra.Command {
	var data string
	var labels map[string]string
	e := &eventbus.Event{Source: "/cli"}
	cmd := &cobra.Command{
		Use: "pub TOPIC", Short: "Publish an event", Args: cobra.ExactArgs(1),
		Example: `hexdag bus pub orders.paid --data '{"order": "4711"}' --key 4711`,
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := readValue(cmd, "data", data)
			if err != nil {
				return err
			}
			if v != nil {
				if e.Data, err = kernel.EncodeJSON(v); err != nil {
					return err
				}
			}
			return withBus(cmd, *config, func(ctx context.Context, b *eventbus.Bus, tenant string) error {
				e.Topic, e.Tenant, e.Labels = args[0], tenant, labels
				r, err := b.Publish(ctx, e)
				if err != nil {
					return err
				}
				return writeJSON(cmd.OutOrStdout(), map[string]any{"id": e.ID, "sequence": r.Sequence, "duplicate": r.Duplicate})
			})
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the event's data: JSON, @file, or @- for standard input")
	cmd.Flags().StringVar(&e.Key, "key", "", "events of one key are delivered in their order")
	cmd.Flags().StringVar(&e.ID, "id", "", "the event's id: a second event of an id is dropped")
	cmd.Flags().StringVar(&e.Type, "type", "", "the event's type (default the topic)")
	cmd.Flags().StringToStringVar(&labels, "label", nil, "name=value, any number of times")
	return cmd
}

type subFlags struct {
	group, from string
	count       int
	idle        time.Duration
}

func busSubCommand(config *string) *cobra.Command {
	var f subFlags
	cmd := &cobra.Command{
		Use: "sub PATTERN...", Short: "Print events as they come, a line of JSON each", Args: cobra.MinimumNArgs(1),
		Long: `Print events as they come, each as a CloudEvent on a line, until interrupted. With
--group the events are shared among all of the group, and the next of it goes on where this one ends.`,
		Example: `hexdag bus sub 'orders.>'
hexdag bus sub 'hexdag.pipeline.*.failed' --from beginning --count 10`,
		RunE: func(cmd *cobra.Command, args []string) error {
			start, err := parseStart(f.from)
			if err != nil {
				return err
			}
			return withBus(cmd, *config, func(ctx context.Context, b *eventbus.Bus, tenant string) error {
				return printEvents(ctx, cmd, b, tenant, args, start, f)
			})
		},
	}
	cmd.Flags().StringVar(&f.group, "group", "", "share the events with all of this group, and keep the place")
	cmd.Flags().StringVar(&f.from, "from", "new", "new, beginning, a sequence, or a time as 2026-11-20T12:00:00Z")
	cmd.Flags().IntVar(&f.count, "count", 0, "end after so many events")
	cmd.Flags().DurationVar(&f.idle, "idle", 0, "end when there was none for so long")
	return cmd
}

// printEvents prints what is delivered. What could not be printed is not acknowledged.
func printEvents(ctx context.Context, cmd *cobra.Command, b *eventbus.Bus, tenant string, patterns []string, start eventbus.Start, f subFlags) error {
	var mu sync.Mutex
	printed, failed := 0, error(nil)
	came, done := make(chan struct{}, 1), make(chan struct{})
	s, err := b.Subscribe(ctx, tenant, patterns, func(_ context.Context, d *eventbus.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		if failed != nil || f.count > 0 && printed == f.count {
			return eventbus.NakAfter(time.Millisecond, errors.New("enough")) // for whoever comes next
		}
		if failed = printEvent(cmd, d.Event); failed == nil {
			printed++
		}
		if failed != nil || printed == f.count {
			close(done)
			return failed
		}
		select {
		case came <- struct{}{}:
		default:
		}
		return nil
	}, eventbus.SubscribeOptions{Group: f.group, Start: start, MaxDeliveries: 1 << 30})
	if err != nil {
		return err
	}
	wait(ctx, came, done, f.idle)
	err = b.Unsubscribe(context.WithoutCancel(ctx), s.ID)
	mu.Lock()
	defer mu.Unlock()
	return errors.Join(failed, err)
}

// wait returns when it is done, or nothing came for idle, or ctx ends.
func wait(ctx context.Context, came, done <-chan struct{}, idle time.Duration) {
	var still <-chan time.Time
	for {
		if idle > 0 {
			still = time.After(idle)
		}
		select {
		case <-came:
			continue
		case <-done:
		case <-still:
		case <-ctx.Done():
		}
		return
	}
}

func printEvent(cmd *cobra.Command, e *eventbus.Event) error {
	v, err := eventbus.EventValue(e)
	if err != nil {
		return err
	}
	return writeJSON(cmd.OutOrStdout(), v)
}

func busReplayCommand(config *string) *cobra.Command {
	var from string
	var limit int
	cmd := &cobra.Command{
		Use: "replay PATTERN...", Short: "Print the events that are kept, a line of JSON each", Args: cobra.MinimumNArgs(1),
		Example: `hexdag bus replay 'orders.>' --from 2026-11-20T12:00:00Z`,
		RunE: func(cmd *cobra.Command, args []string) error {
			start, err := parseStart(from)
			if err != nil {
				return err
			}
			return withBus(cmd, *config, func(ctx context.Context, b *eventbus.Bus, tenant string) error {
				events, err := b.Read(ctx, tenant, args, start, limit)
				if err != nil {
					return err
				}
				for _, e := range events {
					if err := printEvent(cmd, e); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "beginning", "beginning, a sequence, or a time as 2026-11-20T12:00:00Z")
	cmd.Flags().IntVar(&limit, "limit", 1000, "at most so many")
	return cmd
}

func busTopicsCommand(config *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "topics [PATTERN...]", Short: "List the topics of the events that are kept",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{">"}
			}
			return withBus(cmd, *config, func(ctx context.Context, b *eventbus.Bus, tenant string) error {
				topics, err := b.Topics(ctx, tenant, args)
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), topics)
				}
				table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				for _, t := range topics {
					fmt.Fprintf(table, "%s\t%d\n", t.Name, t.Events)
				}
				return table.Flush()
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func busRedriveCommand(config *string) *cobra.Command {
	return &cobra.Command{
		Use: "redrive PATTERN", Short: "Publish dead letters again, each once", Args: cobra.ExactArgs(1),
		Long: `Publish the events again whose dead letters are kept and whose topics, the ones they
had, match. Each is published once: a second redrive of the pattern takes those that came since.`,
		Example: `hexdag bus redrive 'orders.>'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBus(cmd, *config, func(ctx context.Context, b *eventbus.Bus, tenant string) error {
				n, err := b.Redrive(ctx, tenant, args[0], 2*time.Second)
				fmt.Fprintf(cmd.OutOrStdout(), "%d published again\n", n)
				return err
			})
		},
	}
}

// parseStart reads a position.
func parseStart(text string) (eventbus.Start, error) {
	switch strings.ToLower(text) {
	case "new", "":
		return eventbus.Start{}, nil
	case "beginning":
		return eventbus.Start{Beginning: true}, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil && n > 0 {
		return eventbus.Start{Sequence: n}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return eventbus.Start{Time: at}, nil
	}
	return eventbus.Start{}, &kernel.Error{Code: kernel.CodeInput, What: "--from " + kernel.Quote(text) + " is no position", Fix: "write new, beginning, a sequence, or a time as 2026-11-20T12:00:00Z"}
}
