package main

import (
	"errors"
	"maps"

	"github.com/spf13/cobra"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
)

func exprCommand() *cobra.Command {
	var data, state string
	cmd := &cobra.Command{
		Use:   "expr EXPRESSION",
		Short: "Evaluate an expression over JSON data, and print its value as JSON",
		Long: `Evaluate an expression, as a pipeline's when, condition or expressions would, and
print its value as one line of JSON. What begins with - comes after --.

The names in it are the members of --data, and state, which is --state. An
expression that is malformed or has no value for the data exits with 2.`,
		Example: `hexdag expr 'sum([l.price * l.qty for l in lines]) > 100' --data @order.json`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := evalExpression(cmd, args[0], data, state)
			var known *kernel.Error
			if errors.As(err, &known) {
				printError(cmd.ErrOrStderr(), err)
				return exitWith(exitBadInput)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "a JSON object: JSON, @file, or @- for standard input")
	cmd.Flags().StringVar(&state, "state", "", "what the name state stands for: JSON, @file, or @- for standard input")
	return cmd
}

func evalExpression(cmd *cobra.Command, source, data, state string) error {
	p, err := expr.Compile(source)
	if err != nil {
		return err
	}
	scope, err := expressionScope(cmd, data, state)
	if err != nil {
		return err
	}
	v, err := p.Eval(scope)
	if err != nil {
		return err
	}
	return writeJSON(cmd.OutOrStdout(), v)
}

func expressionScope(cmd *cobra.Command, data, state string) (expr.Map, error) {
	scope := expr.Map{}
	if data != "" {
		v, err := readValue(cmd, "data", data)
		if err != nil {
			return nil, err
		}
		members, ok := v.(map[string]any)
		if !ok {
			return nil, &kernel.Error{Code: kernel.CodeInput, What: "--data is no JSON object", Why: "its members are the names that the expression uses", Fix: `pass such as {"a": 1}`}
		}
		maps.Copy(scope, members)
	}
	if state != "" {
		v, err := readValue(cmd, "state", state)
		if err != nil {
			return nil, err
		}
		scope["state"] = v
	}
	return scope, nil
}
