package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

func journalCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "journal", Short: "See what runs have done, and keep their journals in order", Args: cobra.NoArgs, RunE: help,
		Long: `See what runs have done, and keep their journals in order. 'hexdag run --durable' records runs. The host may run meanwhile.`,
	}
	var config string
	cmd.PersistentFlags().StringVar(&config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	with := func(do func(ctx context.Context, w io.Writer, j *host.Journal, args []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) (err error) {
			cfg, err := configFor("hexdag.yaml", config)
			if err != nil {
				return err
			}
			j, err := host.OpenJournal(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, j.Close()) }()
			return do(cmd.Context(), cmd.OutOrStdout(), j, args)
		}
	}
	cmd.AddCommand(journalList(with), journalShow(with), journalExport(with), journalVerify(with), journalGC(with), journalRedact(with))
	return cmd
}

// withJournal makes a command's function of one that has the journals.
type withJournal func(do func(ctx context.Context, w io.Writer, j *host.Journal, args []string) error) func(*cobra.Command, []string) error

// journalHead is a journal's head as JSON.
type journalHead struct {
	Run      string        `json:"run"`
	Parent   string        `json:"parent,omitempty"`
	Pipeline string        `json:"pipeline"`
	Version  string        `json:"version"`
	Status   driver.Status `json:"status"`
	Free     bool          `json:"free"` // it runs nowhere: its host has died
	Owner    string        `json:"owner"`
	Epoch    uint64        `json:"epoch"`
	Begun    time.Time     `json:"begun"`
	Touched  time.Time     `json:"touched"`
	Entries  uint64        `json:"entries"`
	Bytes    int64         `json:"bytes"`
}

func headOf(r *driver.Run) journalHead {
	return journalHead{r.ID, r.Parent, r.Pipeline, r.Version, r.Status, r.Free, r.Owner, r.Epoch, r.Begun.UTC(), r.Touched.UTC(), r.Entries, r.Bytes}
}

// statusOf is how a run stands, for a person.
func statusOf(r *driver.Run) string {
	if r.Free {
		return "free"
	}
	return kernel.Quote(string(r.Status))
}

func journalList(with withJournal) *cobra.Command {
	var q driver.Query
	var status string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the runs that are recorded, the latest first", Args: cobra.NoArgs,
		Long: `List the runs that are recorded, the latest first. A run is free where its host has died: another, or
that host when it starts again, takes it up.`,
		Example: `hexdag journal list --status failed --limit 20`,
		RunE: with(func(ctx context.Context, w io.Writer, j *host.Journal, _ []string) error {
			q.Status = driver.Status(status)
			if status == "free" {
				q.Status, q.Free = "", true
			}
			runs, err := j.Runs(ctx, j.Tenant, q)
			if err != nil {
				return err
			}
			if asJSON {
				heads := make([]journalHead, len(runs))
				for i, r := range runs {
					heads[i] = headOf(r)
				}
				return writeJSONValue(w, heads)
			}
			return writeRuns(w, runs)
		}),
	}
	cmd.Flags().StringVar(&q.Pipeline, "pipeline", "", "those of a pipeline alone")
	cmd.Flags().StringVar(&status, "status", "", "those that stand so alone: running, free, suspended, completed, failed, denied or cancelled")
	cmd.Flags().IntVar(&q.Limit, "limit", 0, "how many at most (default all)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func writeRuns(w io.Writer, runs []*driver.Run) error {
	if len(runs) == 0 {
		_, err := fmt.Fprintln(w, "no runs are recorded")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RUN\tSTATUS\tPIPELINE\tBEGUN\tENTRIES\tSIZE\tHOST")
	for _, r := range runs {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", kernel.Quote(r.ID), statusOf(r), kernel.Quote(r.Pipeline), r.Begun.UTC().Format(time.RFC3339), r.Entries, sizeOf(r.Bytes), kernel.Quote(r.Owner))
	}
	return table.Flush()
}

// sizeOf is a number of bytes, for a person.
func sizeOf(bytes int64) string {
	if bytes < 1000 {
		return fmt.Sprintf("%d B", bytes)
	}
	n, units := float64(bytes)/1000, "kMGT"
	for n >= 1000 && len(units) > 1 {
		n, units = n/1000, units[1:]
	}
	return fmt.Sprintf("%.1f %cB", n, units[0])
}

func journalExport(with withJournal) *cobra.Command {
	return &cobra.Command{
		Use: "export RUN", Short: "Print a run's journal as JSON, an entry a line", Args: cobra.ExactArgs(1),
		Long: `Print a run's journal as JSON, an entry a line. The members of entries are specified in host/journal/README.md, and stay
as they are within a version of the format. What is masked or redacted is so here, too.`,
		Example: `hexdag journal export 01J... | jq 'select(.kind == "call") | .op'`,
		RunE: with(func(ctx context.Context, w io.Writer, j *host.Journal, args []string) error {
			read, err := journal.Read(ctx, j.Store, j.Tenant, args[0])
			if err != nil {
				return err
			}
			var line []byte
			for e, err := range read.Entries(ctx) {
				if err == nil {
					line, err = e.AppendJSON(line[:0])
				}
				if err == nil {
					_, err = w.Write(append(line, '\n'))
				}
				if err != nil {
					return err
				}
			}
			return tornError(read)
		}),
	}
}

// tornError is the error of a journal that could not be read to its end.
func tornError(j *journal.Journal) error {
	if j.Torn == nil {
		return nil
	}
	return &kernel.Error{
		Code: kernel.CodeJournal, What: "the run's journal is damaged", Where: kernel.Where{Run: j.Head.ID}, Why: kernel.Quote(j.Torn.String()),
		Fix: "check the disk, and restore a backup if those entries matter; a run that is resumed goes on from what is whole",
	}
}

// verified is what verify says of a run.
type verified struct {
	Run     string `json:"run"`
	Entries uint64 `json:"entries"` // that are whole
	Bytes   int64  `json:"bytes"`
	Damage  string `json:"damage,omitempty"`
}

func journalVerify(with withJournal) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "verify [RUN...]", Short: "Check that journals are whole",
		Long: `Check that journals, or those of some runs, are whole: the checksums of all their chunks, and that no
entry is missing. A run that goes on is checked as far as it has come.`,
		RunE: with(func(ctx context.Context, w io.Writer, j *host.Journal, args []string) error {
			if len(args) == 0 {
				runs, err := j.Runs(ctx, j.Tenant, driver.Query{})
				if err != nil {
					return err
				}
				for _, r := range runs {
					args = append(args, r.ID)
				}
			}
			var all []verified
			var errs []error
			for _, run := range args {
				v, err := verify(ctx, j, run)
				if err != nil && v == nil {
					return err
				}
				all, errs = append(all, *v), append(errs, err)
			}
			return errors.Join(writeVerified(w, all, asJSON), errors.Join(errs...))
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// verify reads a journal to its end. What is wrong with it is in both.
func verify(ctx context.Context, j *host.Journal, run string) (*verified, error) {
	read, err := journal.Read(ctx, j.Store, j.Tenant, run)
	if err != nil {
		return nil, err
	}
	v := &verified{Run: run, Bytes: read.Head.Bytes}
	for _, err := range read.Entries(ctx) {
		switch {
		case kernel.CodeOf(err) == kernel.CodeJournal:
			v.Damage = err.Error()
			return v, err
		case err != nil:
			return nil, err
		}
		v.Entries++
	}
	if read.Torn != nil {
		v.Damage = read.Torn.String()
	}
	return v, tornError(read)
}

func writeVerified(w io.Writer, all []verified, asJSON bool) error {
	if asJSON {
		return writeJSONValue(w, all)
	}
	var entries uint64
	damaged := 0
	for _, v := range all {
		if entries += v.Entries; v.Damage != "" {
			damaged++
			if _, err := fmt.Fprintf(w, "%s  %s\n", kernel.Quote(v.Run), kernel.Quote(v.Damage)); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintf(w, "%d journals with %d whole entries, %d damaged\n", len(all), entries, damaged)
	return err
}

func journalGC(with withJournal) *cobra.Command {
	var dry, asJSON bool
	cmd := &cobra.Command{
		Use: "gc", Short: "Remove the journals that the configuration does not keep", Args: cobra.NoArgs,
		Long: `Remove the journals that the configuration does not keep (spec.journal: keep, keep_failed and max_runs), the files of
pipelines and modules that no other journal needs, and give the room back. Runs that have not ended are kept.`,
		RunE: with(func(ctx context.Context, w io.Writer, j *host.Journal, _ []string) error {
			policy := j.Policy
			policy.Dry = dry
			pruned, err := journal.Prune(ctx, j.Store, j.Tenant, policy)
			if err == nil && !dry {
				err = j.Compact(ctx)
			}
			if pruned == nil {
				return err
			}
			return errors.Join(err, writePruned(w, pruned, dry, asJSON))
		}),
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would be removed, and leave it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func writePruned(w io.Writer, p *journal.Pruned, dry, asJSON bool) error {
	size := int64(0)
	names := []string{}
	for _, r := range p.Runs {
		size += r.Bytes
		names = append(names, r.ID)
	}
	if asJSON {
		return writeJSONValue(w, map[string]any{"runs": names, "bytes": size, "files": p.Blobs, "dry_run": dry})
	}
	if dry {
		_, err := fmt.Fprintf(w, "%d journals, %s, would be removed\n", len(p.Runs), sizeOf(size))
		return err
	}
	_, err := fmt.Fprintf(w, "%d journals, %s, and %d files of pipelines and modules were removed\n", len(p.Runs), sizeOf(size), p.Blobs)
	return err
}

func journalRedact(with withJournal) *cobra.Command {
	var r journal.Redaction
	cmd := &cobra.Command{
		Use: "redact RUN", Short: "Take values out of a run's journal, for good", Args: cobra.ExactArgs(1),
		Long: `Take values out of the journal of a run that has ended, for good: arguments, results, bodies, the run's input and the words of
errors, of all entries or of those that are picked. What was done stays, and in which order; the run can be shown, and
replayed as far as nothing is missing.`,
		Example: `hexdag journal redact 01J... --op 'http.*' --path /args/headers --path /body`,
		RunE: with(func(ctx context.Context, w io.Writer, j *host.Journal, args []string) error {
			n, torn, err := journal.Redact(ctx, j.Store, j.Tenant, args[0], r)
			if err != nil {
				return err
			}
			text := fmt.Sprintf("%d entries were redacted", n)
			if torn != nil {
				text += "; the journal was " + kernel.Quote(torn.String())
			}
			_, err = fmt.Fprintln(w, text)
			return err
		}),
	}
	cmd.Flags().StringArrayVar(&r.Lanes, "lane", nil, "entries of lanes that match, such as fetch, loop/**")
	cmd.Flags().StringArrayVar(&r.Ops, "op", nil, "entries of operations that match, such as http.*")
	cmd.Flags().StringArrayVar(&r.Paths, "path", nil, "what is at a path of entries, as 'hexdag journal export' has them: /value/customer/email, with * for any member (default all values)")
	return cmd
}

// named joins what there is of parts.
func named(parts ...string) string {
	var there []string
	for _, part := range parts {
		if part != "" {
			there = append(there, part)
		}
	}
	return strings.Join(there, " ")
}
