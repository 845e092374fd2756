package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/centralagent"
)

func goalCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "goal", Short: "Hand goals to central agents, have them worked on, and see what becomes of them", Args: cobra.NoArgs, RunE: help,
		Long: `Hand goals to central agents, have them worked on, and see what becomes of them. A goal is a run of a pipeline with a
central_agent_node, by its name in the folder of pipelines (libraries.pipelines).`,
	}
	cmd.AddCommand(goalSubmitCommand(), goalServeCommand(), goalListCommand(), goalShowCommand(), goalCancelCommand())
	return cmd
}

func goalSubmitCommand() *cobra.Command {
	var config, input, each string
	cmd := &cobra.Command{
		Use: "submit PIPELINE", Short: "Hand a goal to a central agent, and print its id", Args: cobra.ExactArgs(1),
		Long: `Hand a goal to the central agent of a pipeline, and print its id; with --each one for every line of a file. A process that does
'hexdag goal serve' works on it, or the next that does.`,
		Example: `hexdag goal submit complaint --input '{"text": "My lamp is broken", "order": "A-200"}'
hexdag goal submit complaint --each complaints.jsonl`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			cfg, err := configFor("hexdag.yaml", config)
			if err != nil {
				return err
			}
			inputs, err := goalInputs(cmd, input, each)
			if err != nil {
				return err
			}
			goals, err := host.OpenGoals(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, goals.Close()) }()
			for _, v := range inputs {
				g, err := goals.Hand(cmd.Context(), args[0], v)
				if err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), g.ID)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	cmd.Flags().StringVar(&input, "input", "", "the pipeline's input: JSON, @file or @-")
	cmd.Flags().StringVar(&each, "each", "", "a file of inputs, a JSON object on each line")
	cmd.MarkFlagsMutuallyExclusive("input", "each")
	return cmd
}

// goalInputs are the inputs that a command names.
func goalInputs(cmd *cobra.Command, input, each string) ([]kernel.Value, error) {
	if each == "" {
		v, err := readInput(cmd, runFlags{input: input})
		return []kernel.Value{v}, err
	}
	f, err := os.Open(each)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the file of inputs cannot be read", Where: kernel.Where{File: each}, Why: err.Error(), Fix: "name a file of JSON objects, one on each line", Err: err}
	}
	defer f.Close()
	var inputs []kernel.Value
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		v, err := kernel.DecodeJSON(lines.Bytes())
		if err != nil {
			return nil, &kernel.Error{Code: kernel.CodeInput, What: "the line cannot be an input", Where: kernel.Where{File: each, Line: n}, Why: err.Error(), Fix: "write one JSON object on the line", Err: err}
		}
		inputs = append(inputs, v)
	}
	if err := lines.Err(); err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the file of inputs cannot be read", Where: kernel.Where{File: each}, Why: err.Error(), Fix: "keep lines below 1 MiB", Err: err}
	}
	return inputs, nil
}

func goalServeCommand() *cobra.Command {
	var config string
	var untilIdle bool
	cmd := &cobra.Command{
		Use: "serve", Short: "Work on goals", Args: cobra.NoArgs,
		Long: `Work on goals until interrupted, or, with --until-idle, until none is left that could go on by itself. Of several processes that share
their stores one works on goals, and another takes over when it dies: what it had begun goes on where it was, and no model is asked again. A goal
that waits for an approval goes on when that is answered.`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			cfg, err := configFor("hexdag.yaml", config)
			if err != nil {
				return err
			}
			h, err := host.New(ctx, cfg, hostOptions(cmd))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, h.Close(context.WithoutCancel(ctx))) }()
			after, err := listening(ctx, cmd, h)
			if err != nil {
				return err
			}
			opts := host.GoalOptions{Told: goalLines(cmd.OutOrStdout())}
			if untilIdle {
				opts.Idle = cancel
			}
			err = h.ServeGoals(ctx, opts)
			return errors.Join(err, after())
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	cmd.Flags().BoolVar(&untilIdle, "until-idle", false, "end when no goal is left that could go on by itself")
	return cmd
}

// goalLines returns what writes a line for what becomes of a goal.
func goalLines(w io.Writer) func(*host.Goal) {
	var mu sync.Mutex
	return func(g *host.Goal) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(w, "goal %s: %s\n", kernel.Quote(g.ID), goalStands(g))
	}
}

// goalStands says how a goal stands.
func goalStands(g *host.Goal) string {
	text := string(g.Status)
	if g.Outcome != "" {
		text = g.Outcome
	}
	switch {
	case g.Error != "":
		text += ": " + kernel.Quote(g.Error)
	case g.Summary != "":
		text += ": " + kernel.Quote(g.Summary)
	case g.Status == centralagent.Waiting:
		for _, key := range g.Waits {
			if id, is := strings.CutPrefix(key, kernel.ApprovalKey); is {
				text += " for an approval: hexdag approvals approve " + kernel.Quote(id)
			} else {
				text += " for " + kernel.Quote(key)
			}
		}
	}
	return text
}

func goalListCommand() *cobra.Command {
	var config, status string
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the goals that there are and were, the latest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if status != "" && !slices.Contains(centralagent.Statuses(), host.GoalStatus(status)) {
				return &kernel.Error{Code: kernel.CodeInput, What: "there is no status " + kernel.Quote(status), Fix: "name queued, running, waiting, completed, failed, denied or cancelled"}
			}
			return withGoals(cmd, config, func(goals *host.OpenedGoals) error {
				list, err := goals.List(cmd.Context(), goals.Tenant, host.GoalStatus(status), limit)
				if err != nil {
					return err
				}
				if asJSON {
					views := make([]map[string]any, len(list))
					for i, g := range list {
						views[i] = g.View()
					}
					return writeJSONValue(cmd.OutOrStdout(), views)
				}
				return writeGoals(cmd.OutOrStdout(), list)
			})
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	cmd.Flags().StringVar(&status, "status", "", "those that stand so alone: queued, running, waiting, completed, failed, denied or cancelled")
	cmd.Flags().IntVar(&limit, "limit", 50, "how many at most, up to 1000")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func writeGoals(w io.Writer, goals []*host.Goal) error {
	if len(goals) == 0 {
		_, err := fmt.Fprintln(w, "there are no such goals")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "GOAL\tSTATUS\tPIPELINE\tSUBMITTED\tTOOK\tHOW IT STANDS")
	for _, g := range goals {
		took := ""
		if !g.Ended.IsZero() {
			took = g.Ended.Sub(g.Submitted).Round(time.Millisecond).String()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", kernel.Quote(g.ID), g.Status, kernel.Quote(g.Pipeline), g.Submitted.UTC().Format(time.RFC3339), took, goalStands(g))
	}
	return table.Flush()
}

// withGoals opens the goals of a configuration, whose host may run.
func withGoals(cmd *cobra.Command, config string, do func(*host.OpenedGoals) error) (err error) {
	cfg, err := configFor("hexdag.yaml", config)
	if err != nil {
		return err
	}
	goals, err := host.OpenGoals(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, goals.Close()) }()
	return do(goals)
}

func goalShowCommand() *cobra.Command {
	var config string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show GOAL", Short: "Tell what a central agent did for a goal, step by step", Args: cobra.ExactArgs(1),
		Long: `Tell what a central agent did for a goal, step by step: what it was to do (goal), what it saw (registry), what its model decided (route), what it
started (spawn), what events told it (events), and what was refused, asked of a person, noted and reported.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withGoals(cmd, config, func(goals *host.OpenedGoals) (err error) {
				g, err := goals.Get(cmd.Context(), goals.Tenant, args[0])
				if err != nil {
					return err
				}
				cfg, err := configFor("hexdag.yaml", config)
				if err != nil {
					return err
				}
				var steps []host.GoalStep
				if g.Run != "" {
					j, err := host.OpenJournal(cmd.Context(), cfg)
					if err != nil {
						return err
					}
					defer func() { err = errors.Join(err, j.Close()) }()
					if steps, err = host.TraceGoal(cmd.Context(), j, j.Tenant, g.Run); err != nil {
						return err
					}
				}
				if asJSON {
					view := g.View()
					view["steps"] = steps
					return writeJSONValue(cmd.OutOrStdout(), view)
				}
				return writeGoal(cmd.OutOrStdout(), g, steps)
			})
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func writeGoal(w io.Writer, g *host.Goal, steps []host.GoalStep) error {
	fmt.Fprintf(w, "goal      %s\npipeline  %s\nstatus    %s\nstands    %s\n\n", kernel.Quote(g.ID), kernel.Quote(g.Pipeline), g.Status, goalStands(g))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range steps {
		fmt.Fprintf(table, "%+9.3fs\t%s\t%s\n", s.At.Sub(steps[0].At).Seconds(), s.Kind, s.Text)
	}
	return table.Flush()
}

func goalCancelCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use: "cancel GOAL", Short: "Have nobody work on a goal any more", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withGoals(cmd, config, func(goals *host.OpenedGoals) error {
				cancelled, err := goals.Cancel(cmd.Context(), goals.Tenant, args[0])
				if err == nil && !cancelled {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), "the goal is over already")
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	return cmd
}
