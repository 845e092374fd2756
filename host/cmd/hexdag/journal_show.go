package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
)

// previewed is how much of a value show prints, in bytes.
const previewed = 100

func journalShow(with withJournal) *cobra.Command {
	var lane string
	var events, asJSON bool
	cmd := &cobra.Command{
		Use: "show RUN", Short: "Print what a run has done, step by step", Args: cobra.ExactArgs(1),
		Long: `Print what a run has done, step by step: the number of each entry, when it was written since the run began, what did it
(a node, or the nodes of a composite below it; - is the run itself), and what that was. 'hexdag journal export' has the values whole.`,
		Example: `hexdag journal show 01J... --lane 'loop/*'`,
		RunE: with(func(ctx context.Context, w io.Writer, j *host.Journal, args []string) error {
			if _, err := path.Match(lane, ""); err != nil {
				return &kernel.Error{Code: kernel.CodeArguments, What: "--lane is no pattern", Why: kernel.Quote(lane), Fix: "write a lane, with * for anything but a slash", Err: err}
			}
			read, err := journal.Read(ctx, j.Store, j.Tenant, args[0])
			if err != nil {
				return err
			}
			shown := func(e *journal.Entry) bool {
				matches, _ := path.Match(lane, e.Lane)
				return (lane == "" || matches) && (events || asJSON || e.Kind != journal.Told)
			}
			if asJSON {
				return showJSON(ctx, w, read, shown)
			}
			return showTimeline(ctx, w, read, shown)
		}),
	}
	cmd.Flags().StringVar(&lane, "lane", "", "of lanes that match alone: * stands for anything but a slash")
	cmd.Flags().BoolVar(&events, "events", false, "the events that observers were told of, too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func showJSON(ctx context.Context, w io.Writer, j *journal.Journal, shown func(*journal.Entry) bool) error {
	entries := []json.RawMessage{}
	for e, err := range j.Entries(ctx) {
		if err != nil {
			return err
		}
		if shown(e) {
			raw, err := e.AppendJSON(nil)
			if err != nil {
				return err
			}
			entries = append(entries, raw)
		}
	}
	all := map[string]any{"head": headOf(j.Head), "entries": entries}
	if j.Torn != nil {
		all["damage"] = j.Torn.String()
	}
	return writeJSONValue(w, all)
}

func showTimeline(ctx context.Context, out io.Writer, j *journal.Journal, shown func(*journal.Entry) bool) error {
	w := bufio.NewWriter(out)
	r := j.Head
	fmt.Fprintf(w, "run       %s\nstatus    %s\npipeline  %s\nbegun     %s\nhost      %s, epoch %d\nentries   %d, %s\n",
		kernel.Quote(r.ID), statusOf(r), named(kernel.Quote(r.Pipeline), kernel.Quote(r.Version)), r.Begun.UTC().Format(time.RFC3339), kernel.Quote(r.Owner), r.Epoch, r.Entries, sizeOf(r.Bytes))
	if r.Parent != "" {
		fmt.Fprintf(w, "parent    %s\n", kernel.Quote(r.Parent))
	}
	fmt.Fprintln(w)
	var begun time.Time
	for e, err := range j.Entries(ctx) {
		if err != nil {
			return err
		}
		if begun.IsZero() {
			begun = e.Time
		}
		if !shown(e) {
			continue
		}
		lane := kernel.Quote(e.Lane)
		if lane == "" {
			lane = "-"
		}
		if _, err := fmt.Fprintf(w, "%5d  %+9.3fs  %-20s  %-8s  %s\n", e.Seq, e.Time.Sub(begun).Seconds(), lane, kernel.Quote(string(e.Kind)), told(e)); err != nil {
			return err
		}
	}
	if j.Torn != nil {
		fmt.Fprintf(w, "\n%s\n", kernel.Quote(j.Torn.String()))
	}
	return w.Flush()
}

// told says on one line what an entry is about.
func told(e *journal.Entry) string {
	text := named(kernel.Quote(e.Op), kernel.Quote(e.Module), kernel.Quote(e.Point), kernel.Quote(string(e.State)), kernel.Quote(e.Status), kernel.Quote(e.Verdict))
	switch {
	case e.Head != nil:
		h := e.Head
		text = named(text, fmt.Sprintf("%s for %s of %s on %s, %d modules, input", kernel.Quote(h.Pipeline), kernel.Quote(h.Principal), kernel.Quote(h.Tenant), kernel.Quote(h.Host), len(h.Modules)), preview(h.Input))
	case e.Decided != nil:
		text = named(kernel.Quote(string(e.Decided.Effect)), text)
		for _, reason := range e.Decided.Reasons {
			text += ", " + kernel.Quote(reason.ID)
		}
	case e.Event != nil:
		text = named(text, kernel.Quote(string(e.Event.Type)), kernel.Quote(e.Event.Node), kernel.Quote(e.Event.Op))
	}
	text = named(text, preview(e.Args), preview(e.Value))
	for _, call := range e.InFlight {
		text += fmt.Sprintf("; in flight: %s %s", kernel.Quote(call.Lane), kernel.Quote(call.Op))
	}
	return named(text, details(e))
}

// details are the members that few entries have.
func details(e *journal.Entry) string {
	text := ""
	add := func(set bool, format string, args ...any) {
		if set {
			text = named(text, fmt.Sprintf(format, args...))
		}
	}
	add(len(e.Body) > 0, "(%d bytes)", len(e.Body))
	add(e.Host != "", "host %s", kernel.Quote(e.Host))
	add(e.Key != "", "key %s", kernel.Quote(e.Key))
	add(e.Fuel > 0, "fuel %d", e.Fuel)
	add(e.Cached != nil, "from the cache")
	add(e.Failed != nil, "failed: %s", whatFailed(e.Failed))
	add(e.Labels.OrNil() != nil, "[%s]", kernel.Quote(e.Labels.String()))
	add(e.Redacted, "redacted")
	return text
}

func whatFailed(e *kernel.Error) string {
	if e == nil {
		return ""
	}
	return kernel.Quote(string(e.Code) + ": " + e.Error())
}

// preview is a value's JSON, cut.
func preview(v kernel.Value) string {
	if v == nil {
		return ""
	}
	text, err := kernel.EncodeJSON(v)
	if err != nil {
		return "?"
	}
	if len(text) > previewed {
		end := previewed
		for !utf8.RuneStart(text[end]) {
			end--
		}
		return kernel.Quote(string(text[:end])) + fmt.Sprintf("… (%d bytes)", len(text))
	}
	return kernel.Quote(string(text))
}
