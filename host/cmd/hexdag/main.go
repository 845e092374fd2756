// Command hexdag runs pipelines of AI agents with sandboxed modules.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"syscall"

	"charm.land/fang/v2"
	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

// Exit codes; scripts rely on them.
const (
	exitDone     = 0
	exitFailed   = 1
	exitBadInput = 2
	exitDenied   = 3
)

func main() {
	os.Exit(execute(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// execute is main without the process, for tests.
func execute(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := fang.Execute(ctx, root,
		fang.WithVersion(version()), fang.WithNotifySignal(os.Interrupt, syscall.SIGTERM),
		fang.WithErrorHandler(func(w io.Writer, _ fang.Styles, err error) { printError(w, err) }))
	return exitCode(err)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "hexdag",
		Short: "Run pipelines of AI agents with sandboxed modules",
		Long: `hexdag runs pipelines of AI agents. What its users add - hooks, tools, policies -
runs as WebAssembly modules that can do nothing their operator did not grant.

Exit codes: 0 done, 1 failed, 2 bad input, 3 denied.`,
	}
	root.AddCommand(compileWorkerCommand(), runCommand(), resumeCommand(), replayCommand(), listenCommand(), mcpCommand(), serveCommand(), workerCommand(), busCommand(), validateCommand(), lintCommand(), explainCommand(), graphCommand(), schemaCommand(), moduleCommand(), policyCommand(), auditCommand(), approvalsCommand(), artifactsCommand(), locksCommand(), journalCommand(), psCommand(), goalCommand(), newCommand(), devCommand(), buildCommand(), redteamCommand(), exprCommand(), versionCommand())
	return root
}

// help is what a command that only groups others does: what it does not know is
// an error, not a page of help.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// shown is an error that the command has shown already, in its result.
type shown struct{ error }

func (s shown) Unwrap() error { return s.error }

func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	var known *kernel.Error
	var own exitWith
	if errors.As(err, &own) {
		return int(own)
	}
	if !errors.As(err, &known) {
		return exitBadInput // cobra's: unknown commands, flags and arguments
	}
	switch known.Code.Class() {
	case kernel.ClassBadInput:
		return exitBadInput
	case kernel.ClassDenied:
		return exitDenied
	}
	return exitFailed
}

// printError writes every error in err: what, then where, why and how to fix it.
func printError(w io.Writer, err error) {
	var already shown
	var own exitWith
	if errors.As(err, &already) || errors.As(err, &own) {
		return
	}
	for _, e := range flatten(err) {
		var known *kernel.Error
		if !errors.As(e, &known) {
			fmt.Fprintf(w, "error: %s\n  fix    see 'hexdag --help'\n", kernel.Quote(e.Error()))
			continue
		}
		fmt.Fprintf(w, "error: %s\n", known.What)
		for _, line := range []struct{ name, text string }{
			{"where", known.Where.String()}, {"why", known.Why}, {"fix", known.Fix}, {"code", string(known.Code)},
		} {
			if line.text != "" {
				fmt.Fprintf(w, "  %-6s %s\n", line.name, strings.ReplaceAll(line.text, "\n", "\n         "))
			}
		}
	}
}

// flatten returns the errors that errors.Join joined.
func flatten(err error) []error {
	joined, several := err.(interface{ Unwrap() []error }) // the outermost alone: below an Error, what is joined is its cause
	if !several {
		return []error{err}
	}
	var list []error
	for _, e := range joined.Unwrap() {
		list = append(list, flatten(e)...)
	}
	return list
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "0.1.0-dev"
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "hexdag %s, ABI hexdag_v1\n", version())
			return err
		},
	}
}

// hostOptions are the options that commands share: what modules log goes to
// standard error.
func hostOptions(cmd *cobra.Command) host.Options {
	opts := host.Options{Log: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))}
	if self, err := os.Executable(); err == nil {
		opts.CompileWorker = []string{self, compileWorkerName}
	}
	return opts
}

// traced is the context of what a command does within the trace of whoever has started it.
func traced(ctx context.Context) context.Context {
	return host.WithinTrace(ctx, os.Getenv("TRACEPARENT"), os.Getenv("TRACESTATE"))
}

// compileWorkerName is the command that this program starts itself as.
const compileWorkerName = "__compile"

func compileWorkerCommand() *cobra.Command {
	return &cobra.Command{
		Use: compileWorkerName + " CACHE_DIR", Hidden: true, Args: cobra.ExactArgs(1),
		Short: "Compile the module on standard input into the cache",
		RunE: func(cmd *cobra.Command, args []string) error {
			if code := host.CompileWorker(cmd.Context(), args[0], cmd.InOrStdin(), cmd.ErrOrStderr()); code != 0 {
				return exitWith(code)
			}
			return nil
		},
	}
}

// exitWith is an error that has been shown and has an exit code of its own.
type exitWith int

func (e exitWith) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// readValue reads JSON from an argument, or from a file where it begins with @.
func readValue(cmd *cobra.Command, flag, text string) (any, error) {
	if text == "" {
		return nil, nil
	}
	raw := []byte(text)
	where := kernel.Where{File: "--" + flag}
	if name, isFile := strings.CutPrefix(text, "@"); isFile {
		var err error
		where.File = name
		if name == "-" {
			raw, err = io.ReadAll(cmd.InOrStdin())
		} else {
			raw, err = os.ReadFile(name)
		}
		if err != nil {
			return nil, &kernel.Error{Code: kernel.CodeInput, What: "the file cannot be read", Where: where, Why: err.Error(), Fix: "correct its path", Err: err}
		}
	}
	v, err := kernel.DecodeJSON(raw)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "this is no JSON value", Where: where, Why: err.Error(), Fix: "pass JSON, or @file", Err: err}
	}
	return v, nil
}

// writeJSON writes v as one line of JSON.
func writeJSON(w io.Writer, v any) error {
	text, err := kernel.EncodeJSON(v)
	if err != nil {
		return &kernel.Error{Code: kernel.CodeInternal, What: "the result cannot be written as JSON", Why: err.Error(), Fix: "report it", Err: err}
	}
	_, err = w.Write(append(text, '\n'))
	return err
}
