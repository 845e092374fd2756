package main

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

func approvalsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "approvals", Short: "See and answer what waits for an approval", Args: cobra.NoArgs, RunE: help,
		Long: `See and answer what waits for an approval: calls that governance allows only once a
person has approved exactly this call. The host may run meanwhile.`,
	}
	cmd.AddCommand(approvalsListCommand(), answerCommand("approve", "Approve a call, once", true), answerCommand("deny", "Refuse a call", false))
	return cmd
}

// approvalsOf opens the approvals of a configuration's host.
func approvalsOf(ctx context.Context, config string) (*host.Approvals, error) {
	cfg, err := configFor("hexdag.yaml", config)
	if err != nil {
		return nil, err
	}
	return host.OpenApprovals(ctx, cfg)
}

func approvalsListCommand() *cobra.Command {
	var config string
	var all, asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List what waits for an answer", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			store, err := approvalsOf(cmd.Context(), config)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			states := []host.ApprovalState{host.ApprovalPending}
			if all {
				states = nil
			}
			list, err := store.List(cmd.Context(), states...)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), list)
			}
			for i := range list {
				if _, err := fmt.Fprint(cmd.OutOrStdout(), describe(&list[i])); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	cmd.Flags().BoolVar(&all, "all", false, "list those that are over, too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// describe says of an approval all that a person has to know to answer.
func describe(a *host.Approval) string {
	var b strings.Builder
	who := a.Request.Subject.Type + ":" + a.Request.Subject.ID
	if len(a.Request.Subject.Chain) > 0 {
		who += " on behalf of " + strings.Join(a.Request.Subject.Chain, ", ")
	}
	fmt.Fprintf(&b, "%s  %s  %s on %s\n", a.ID, a.State, kernel.Quote(a.Request.Action.Name), kernel.Quote(a.Request.Resource.Type+":"+a.Request.Resource.ID))
	line := func(name, text string) { fmt.Fprintf(&b, "  %-9s %s\n", name, text) }
	line("asked by", kernel.Quote(who)+", tenant "+kernel.Quote(a.Request.Subject.Tenant))
	line("run", kernel.Quote(a.Request.Context.RunID)+", "+kernel.Quote(a.Request.Context.Pipeline)+", node "+kernel.Quote(a.Request.Context.Node))
	if args, err := kernel.EncodeJSON(a.Request.Action.Args); err == nil {
		line("arguments", kernel.Quote(string(args)))
	}
	if a.Body != "" {
		line("body", a.Body)
	}
	c := a.Request.Context
	if labels, err := kernel.NewLabels(kernel.Integrity(c.Labels[kernel.LabelIntegrity]), kernel.Confidentiality(c.Labels[kernel.LabelConfidentiality]), c.Sources...); err == nil && labels != nil {
		line("made of", "what is "+labels.String())
	}
	for _, r := range a.Reasons {
		line("because", kernel.Quote(r.Msg)+" ["+kernel.Quote(r.ID)+"]")
	}
	if len(a.By) > 0 || a.Count > 1 {
		line("needs", fmt.Sprintf("%d of %s", a.Count, kernel.Quote(orAnyone(a.By))))
	}
	for _, answer := range a.Answers {
		said := "denied"
		if answer.Approve {
			said = "approved"
		}
		line(said, strings.TrimSuffix(fmt.Sprintf("by %s at %s: %s", kernel.Quote(answer.By), answer.At.Format(time.RFC3339), kernel.Quote(answer.Note)), ": "))
	}
	line("until", a.Expires.Format(time.RFC3339))
	return b.String()
}

func orAnyone(by []string) string {
	if len(by) == 0 {
		return "anyone else"
	}
	return strings.Join(by, ", ")
}

func answerCommand(use, short string, approve bool) *cobra.Command {
	var config, as, note string
	cmd := &cobra.Command{
		Use: use + " ID", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			store, err := approvalsOf(cmd.Context(), config)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			if as == "" {
				if me, err := user.Current(); err == nil {
					as = me.Username
				}
			}
			a, err := store.Answer(cmd.Context(), args[0], as, approve, note)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%sa run that waits for it goes on with: hexdag resume --event %s%s\n", describe(a), kernel.ApprovalKey, a.ID)
			return err
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	cmd.Flags().StringVar(&as, "as", "", "who answers (default the user of this machine)")
	cmd.Flags().StringVar(&note, "note", "", "why, for whoever asked")
	return cmd
}
