package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host"
)

func newCommand() *cobra.Command {
	var lang, dir string
	var kinds strings.Builder
	for _, kind := range host.ProjectKinds() {
		fmt.Fprintf(&kinds, "  %-9s %s\n", kind, strings.Join(host.ProjectLanguages(kind), ", "))
	}
	cmd := &cobra.Command{
		Use:   "new KIND NAME",
		Short: "Make a project to begin with: a module, or a policy",
		Long: `Make a project that builds, with the SDK that it needs, a manifest, tests, cases
and a page. The kinds and their languages are

` + kinds.String() + `
hook is a hook around nodes, porthook one around calls of ports, tool a tool of an
agent, node the body of a node, port the operations of a port, observer is told of
events. ts is another name of assemblyscript, js of javascript.`,
		Example: "hexdag new hook guard\nhexdag new tool greeter --lang c",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir == "" {
				dir = args[1]
			}
			files, err := host.NewProject(host.Project{Kind: args[0], Lang: lang, Name: args[1], Dir: dir})
			if err != nil {
				return err
			}
			var b strings.Builder
			sdk := 0
			for _, name := range files {
				if strings.HasPrefix(name, "sdk/") {
					sdk++
					continue
				}
				fmt.Fprintln(&b, filepath.Join(dir, name))
			}
			if sdk > 0 {
				fmt.Fprintf(&b, "%s, %d files\n", filepath.Join(dir, "sdk"), sdk)
			}
			next := "hexdag module test " + dir
			if args[0] == "policy" {
				next = "hexdag policy test " + dir
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%snext: %s\n", &b, next)
			return err
		},
	}
	cmd.Flags().StringVar(&lang, "lang", "", "the language (default go, or rego for a policy)")
	cmd.Flags().StringVar(&dir, "dir", "", "the folder to make (default NAME)")
	return cmd
}
