package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/server"
	"github.com/hexdag/hexdag/host/server/httpapi"
)

func serveCommand() *cobra.Command {
	var config, address string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run pipelines for the members of tenants, over HTTP",
		Long: `Serve the configuration's pipelines over HTTP, until interrupted, as spec.server says. Every run is durable: one
whose server dies goes on when it is back, or on another that shares the journal. Told to end (SIGTERM), it lets runs end for as long
as spec.server.grace says, and leaves the others to whoever serves next.

Its tokens, pipelines, modules and policies are read again when their files change, on SIGHUP, or at POST /v1/reload;
runs that are under way keep the pipelines and modules that they began with, and the new policies decide what they ask from then on.

Who calls is known by a bearer token, of server.tokens or of the provider of server.oidc. Without either, the server listens
at this machine alone, and whoever calls is the configuration's principal. What is offered is described at /openapi.json.`,
		Example: `hexdag serve --config hexdag.yaml
curl -d '{"input": {}}' -H 'Content-Type: application/json' 'localhost:8480/v1/pipelines/NAME/runs?wait=30'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			cfg, err := configFor("hexdag.yaml", config)
			if err != nil {
				return err
			}
			opts := hostOptions(cmd)
			again := make(chan os.Signal, 1)
			signal.Notify(again, syscall.SIGHUP)
			defer signal.Stop(again)
			s, err := server.Open(ctx, cfg, server.Options{Host: opts, Version: version(), Log: opts.Log, Again: again})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
			at := cmp.Or(address, cfg.Server.Address, server.DefaultAddress)
			var listener net.ListenConfig
			l, err := listener.Listen(ctx, "tcp", at)
			if err != nil {
				return &kernel.Error{Code: kernel.CodeConfig, What: "the server cannot listen at " + kernel.Quote(at), Why: err.Error(), Fix: "name a free address, such as 127.0.0.1:8480", Err: err}
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "serving at http://%s\n", l.Addr())
			defer collectSeldom()()
			return s.Serve(ctx, l)
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "the operator's configuration (default hexdag.yaml in this folder)")
	cmd.Flags().StringVar(&address, "address", "", "where it listens (default spec.server.address, or "+server.DefaultAddress+")")
	cmd.AddCommand(serveTokenCommand())
	return cmd
}

func serveTokenCommand() *cobra.Command {
	var tenant, principal string
	var lasts time.Duration
	cmd := &cobra.Command{
		Use:     "token",
		Short:   "Make a token, and the entry of the file of tokens for it",
		Long:    "Make a token from a random source. It is written to standard error, once; the entry of server.tokens, to standard output.",
		Example: "hexdag serve token --tenant acme --principal ada --for 720h >> tokens.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			token := "hxd_" + rand.Text()
			entry := fmt.Sprintf("  - {sha256: %q, tenant: %q, principal: %q", httpapi.TokenDigest(token), tenant, principal)
			if lasts > 0 {
				entry += ", expires: " + time.Now().Add(lasts).UTC().Format(time.RFC3339)
			}
			fmt.Fprintln(cmd.ErrOrStderr(), token)
			_, err := fmt.Fprintln(cmd.OutOrStdout(), entry+"}")
			return err
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "default", "whose member the token is of")
	cmd.Flags().StringVar(&principal, "principal", "", "who it is")
	cmd.Flags().DurationVar(&lasts, "for", 0, "for how long it is taken (default for ever)")
	_ = cmd.MarkFlagRequired("principal")
	return cmd
}
