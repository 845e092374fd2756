package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

func explainCommand() *cobra.Command {
	var env, config string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain FILE",
		Short: "Say what a pipeline or a system would do",
		Long: `Say what a pipeline or a system would do: its nodes, what each waits for and why,
the hooks around them, the operations that they call and what serves these, the
capabilities and modules that they need, and what a run may spend.

Nothing of the file runs, and nothing is opened: what --config says is read, and
its modules and ports are not. Without --config, hexdag.yaml beside FILE is read
where it is there.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := host.Validate(args[0], host.LoadOptions{Environment: env})
			if err != nil {
				return err
			}
			var cfg *host.Config
			if _, missing := os.Stat(filepath.Join(filepath.Dir(args[0]), "hexdag.yaml")); config != "" || missing == nil {
				if cfg, err = configFor(args[0], config); err != nil {
					return err
				}
			}
			if f.System == nil {
				plan := host.Explain(f.Pipeline, cfg)
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), plan)
				}
				return plan.Write(cmd.OutOrStdout())
			}
			plans := host.ExplainSystem(f.System, cfg)
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), map[string]any{"system": f.System.Name, "processes": plans})
			}
			for _, p := range plans {
				fmt.Fprintf(cmd.OutOrStdout(), "process %s\n", kernel.Quote(p.Process))
				if err := p.Write(cmd.OutOrStdout()); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout())
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&env, "env", "", "of several pipelines in FILE, the one with this metadata.namespace")
	cmd.Flags().StringVar(&config, "config", "", "the operator's configuration")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
