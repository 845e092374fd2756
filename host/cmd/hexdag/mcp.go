package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/server/mcpserver"
)

type mcpFlags struct {
	config, state, http, tokens, principal, approver string
	origins                                          []string
	durable, asJSON                                  bool
}

func mcpCommand() *cobra.Command {
	var f mcpFlags
	cmd := &cobra.Command{
		Use:   "mcp [PIPELINE...]",
		Short: "Offer tools and pipelines to any agent, through MCP",
		Long: `Offer the tools of the configuration's modules, and the pipelines of these files and folders, to
an agent that speaks the Model Context Protocol: over standard input and output or, with --http, at http://ADDR/mcp.

A call is a run: governed, held to its limits and on record. A tool that the caller may not call is not shown, nor is one
whose definition has changed since it was first offered, until 'hexdag mcp approve' takes the new one.`,
		Example: `hexdag mcp --config hexdag.yaml
hexdag mcp --http 127.0.0.1:8765 pipelines/
claude mcp add hexdag -- hexdag mcp --config /path/to/hexdag.yaml`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withMCP(cmd, args, f, func(ctx context.Context, s *mcpserver.Server) error { return serveMCP(ctx, cmd, s, f) })
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.http, "http", "", "serve streamable HTTP at this address, such as 127.0.0.1:8765, instead of standard input and output")
	cmd.Flags().StringVar(&f.tokens, "tokens", "", "with --http, the file of who may call: lines TOKEN PRINCIPAL")
	cmd.Flags().StringSliceVar(&f.origins, "origin", nil, "with --http, the origin of web pages that may call: https://host")
	cmd.Flags().StringVar(&f.approver, "approver", "", "the name by which the person at the client answers approvals (default the user of this machine; with --http, nobody is asked)")
	cmd.Flags().BoolVar(&f.durable, "durable", false, "keep a journal of each call's run")
	cmd.AddCommand(mcpToolsCommand(), mcpApproveCommand())
	return cmd
}

func (f *mcpFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	cmd.Flags().StringVar(&f.state, "state", "", "the folder of what is this process's alone (default the configuration's state)")
	cmd.Flags().StringVar(&f.principal, "principal", "", "who calls (default the configuration's principal)")
}

// withMCP opens a host, and a server of it.
func withMCP(cmd *cobra.Command, paths []string, f mcpFlags, use func(context.Context, *mcpserver.Server) error) (err error) {
	ctx := cmd.Context()
	cfg, err := configFor("hexdag.yaml", f.config)
	if err != nil {
		return err
	}
	opts := hostOptions(cmd)
	opts.State = f.state
	h, err := host.New(ctx, cfg, opts)
	if err != nil {
		return err
	}
	ending := context.WithoutCancel(ctx)
	defer func() { err = errors.Join(err, h.Close(ending)) }()
	pipelines, err := h.LoadAll(ctx, paths)
	if err != nil {
		return err
	}
	defer func() {
		for _, p := range pipelines {
			err = errors.Join(err, p.Close(ending))
		}
	}()
	for _, p := range pipelines {
		printWarnings(cmd.ErrOrStderr(), p.Warnings)
	}
	s, err := mcpserver.New(h, mcpserver.Options{Pipelines: pipelines, Version: version(), Principal: f.principal, Approver: f.approverOf(), Durable: f.durable, Log: opts.Log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(ending)) }()
	return use(ctx, s)
}

// approverOf is who is at the client: over standard input and output, whoever has started this process.
func (f *mcpFlags) approverOf() string {
	if f.approver != "" || f.http != "" {
		return f.approver
	}
	if me, err := user.Current(); err == nil {
		return me.Username
	}
	return ""
}

func serveMCP(ctx context.Context, cmd *cobra.Command, s *mcpserver.Server, f mcpFlags) error {
	defer collectSeldom()()
	if f.http == "" {
		return s.ServeStdio(ctx, reader(cmd.InOrStdin()), writer{cmd.OutOrStdout()})
	}
	opts := mcpserver.HTTPOptions{Origins: f.origins}
	if f.tokens != "" {
		text, err := os.ReadFile(f.tokens)
		if err != nil {
			return &kernel.Error{Code: kernel.CodeConfig, What: "the file of tokens cannot be read", Where: kernel.Where{File: f.tokens}, Why: err.Error(), Fix: "correct its path", Err: err}
		}
		if opts.Tokens, err = mcpserver.ParseTokens(string(text)); err != nil {
			return kernel.At(err, kernel.Where{File: f.tokens})
		}
	}
	var listener net.ListenConfig
	l, err := listener.Listen(ctx, "tcp", f.http)
	if err != nil {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the MCP server cannot listen at " + kernel.Quote(f.http), Why: err.Error(), Fix: "name a free address, such as 127.0.0.1:8765", Err: err}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "serving MCP at http://%s/mcp\n", l.Addr())
	return s.ServeHTTP(ctx, l, opts)
}

func reader(in io.Reader) io.ReadCloser {
	if file, ok := in.(io.ReadCloser); ok {
		return file
	}
	return io.NopCloser(in)
}

// writer is standard output, which is not a client's to close.
type writer struct{ io.Writer }

func (writer) Close() error { return nil }

func mcpToolsCommand() *cobra.Command {
	var f mcpFlags
	cmd := &cobra.Command{
		Use: "tools [PIPELINE...]", Short: "List what is offered, what is not and why, and what has changed", Args: cobra.ArbitraryArgs,
		Long: `List the tools that an agent is offered, those that are hidden and why, and, of those whose definition has changed, what it
was and is. While a server has the configuration's state, what was pinned is listed alone.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			offered, hidden, err := offeredTools(cmd, args, f)
			if err != nil {
				return err
			}
			pins, err := pinsOf(f.config)
			if err != nil {
				return err
			}
			list, err := pins.List(cmd.Context())
			if err != nil {
				return err
			}
			if f.asJSON {
				return writeJSON(cmd.OutOrStdout(), map[string]any{"offered": textsOf(offered), "hidden": hidden, "pinned": list})
			}
			return describeTools(cmd.OutOrStdout(), offered, hidden, list)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

// offeredTools returns what is offered; nil, where a server has the state.
func offeredTools(cmd *cobra.Command, args []string, f mcpFlags) (offered map[string]string, hidden []mcpserver.Hidden, err error) {
	err = withMCP(cmd, args, f, func(_ context.Context, s *mcpserver.Server) error {
		offered, hidden, err = s.Offered()
		return err
	})
	if kernel.CodeOf(err) == kernel.CodeUnavailable {
		fmt.Fprintln(cmd.ErrOrStderr(), "another process has the state: listed is what was pinned")
		return nil, nil, nil
	}
	return offered, hidden, err
}

func pinsOf(config string) (*host.ToolPins, error) {
	cfg, err := configFor("hexdag.yaml", config)
	if err != nil {
		return nil, err
	}
	return host.OpenToolPins(cfg), nil
}

func textsOf(names map[string]string) map[string]any {
	fields := make(map[string]any, len(names))
	for id, name := range names {
		fields[id] = name
	}
	return fields
}

func mcpApproveCommand() *cobra.Command {
	var config, as, hash string
	cmd := &cobra.Command{
		Use: "approve TOOL", Short: "Take a tool's changed definition", Args: cobra.ExactArgs(1),
		Long: `Take the changed definition of a tool, as 'hexdag mcp tools' shows it: module.tool, pipeline:name or, of a
server of the mcp port, mcp:server.tool. It is offered, or can be called, from then on, by servers that run, too.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			pins, err := pinsOf(config)
			if err != nil {
				return err
			}
			if as == "" {
				if me, err := user.Current(); err == nil {
					as = me.Username
				}
			}
			t, err := pins.Approve(cmd.Context(), args[0], hash, as)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is pinned as %s\n", kernel.Quote(t.ID), t.Pinned.Hash)
			return err
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	cmd.Flags().StringVar(&as, "as", "", "who approves (default the user of this machine)")
	cmd.Flags().StringVar(&hash, "hash", "", "the definition that was looked at; one that has changed since is not taken")
	return cmd
}
