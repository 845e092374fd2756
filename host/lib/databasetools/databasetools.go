// Package databasetools lets agents and pipelines look into a database with SQL: what tables there are, what columns they have, and what a
// statement finds. That nothing changes is enforced by the database: SQLite's file is open for reading alone, Postgres has a read-only
// transaction and a role that reaches nothing else. Who may call it sees all that the role may, which is why it is no part of the database port,
// whose capabilities are per table, and is there only where the operator configures it.
package databasetools

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/arguments"
	"github.com/hexdag/hexdag/host/ports/database"
	"github.com/hexdag/hexdag/host/ports/database/driver"
)

// Tools are the operations on a database.
type Tools struct {
	port    *database.Port
	reader  driver.Reader
	limits  driver.Limits
	timeout time.Duration
}

// The bounds of a statement.
const (
	maxStatement  = 64 << 10 // bytes
	maxParameters = 100
	defaultRows   = 100
)

// New returns tools on a database, which Close closes. timeout bounds a statement; 30 seconds if 0.
func New(d driver.Database, timeout time.Duration) (*Tools, error) {
	reader, ok := d.(driver.Reader)
	if !ok || !d.Limits().ReadOnly {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the database cannot serve database_tools", Why: "it takes no SQL, or is not read-only", Fix: "use the adapter sqlite or postgres"}
	}
	if timeout <= 0 {
		timeout = 30 * time.Second
	}
	return &Tools{port: database.New(d), reader: reader, limits: d.Limits(), timeout: timeout}, nil
}

// Close releases the database.
func (t *Tools) Close() error { return t.port.Close() }

// Ops returns the operations for the door:
//
//	database_tools.list_tables {} -> {tables: [name]}
//	database_tools.describe_table {table} -> {table, columns: [{name, type, nullable, primary_key}]}
//	database_tools.query {sql, params?: [null, boolean, number or text], limit?} -> {columns, rows: [object], truncated, row_count}
//
// A statement's parameters are written ? in SQLite, and $1, $2 in Postgres. What comes back is untrusted: it is whatever somebody has stored.
func (t *Tools) Ops() []ports.Op {
	untrusted, _ := kernel.NewLabels(kernel.Untrusted, kernel.Public, "") // both are known
	labels := ports.LabelRules{Port: untrusted}
	table := map[string]any{"table": ports.Param("string", "its name")}
	found := ports.Answer(map[string]any{"columns": ports.ListOf(ports.Of("string")), "rows": ports.ListOf(ports.Of("object")), "truncated": ports.Of("boolean"), "row_count": ports.Of("integer")})
	column := ports.Answer(map[string]any{"name": ports.Of("string"), "type": ports.Of("string"), "nullable": ports.Of("boolean"), "primary_key": ports.Of("boolean")})
	list := []ports.Op{{Name: "database_tools.query", Labels: labels, Func: t.query, Output: found, Tool: &ports.Tool{Description: "The rows that a SELECT finds; nothing can be changed.", Input: ports.Parameters(map[string]any{
		"sql": ports.Param("string", "one SELECT"), "params": map[string]any{"type": "array", "description": "what stands for its parameters, in their order"}, "limit": ports.Param("integer", "how many rows at most"),
	}, "sql")}}}
	for _, op := range t.port.Ops() {
		switch op.Name {
		case "database.list_tables", "database.describe_table":
			op.Tool = &ports.Tool{Description: "The names of the tables.", Input: ports.Parameters(map[string]any{})}
			op.Output = ports.Answer(map[string]any{"tables": ports.ListOf(ports.Of("string"))})
			if op.Name == "database.describe_table" {
				op.Tool = &ports.Tool{Description: "The columns of a table.", Input: ports.Parameters(table, "table")}
				op.Output = ports.Answer(map[string]any{"table": ports.Of("string"), "columns": ports.ListOf(column)})
			}
			op.Name, op.Labels = "database_tools."+op.Name[len("database."):], labels
			list = append(list, op)
		}
	}
	return ports.Held(list)
}

// Told returns the operations as they are told of, without a database: none of them may be called.
func Told() []ports.Op { return (&Tools{port: &database.Port{}}).Ops() }

func (t *Tools) query(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	statement, params, limit := a.Text("sql"), a.List("params", ""), int(a.Whole("limit", 1, int64(t.limits.MaxRows), int64(min(defaultRows, t.limits.MaxRows))))
	if len(statement) > maxStatement {
		a.Fail("sql has at most %d bytes", maxStatement)
	}
	if len(params) > maxParameters {
		a.Fail("params has at most %d values", maxParameters)
	}
	values := make([]driver.Value, len(params))
	for i, p := range params {
		var err error
		if values[i], err = driver.Scalar(p); err != nil {
			a.Fail("parameter %d: %v", i+1, err)
		}
	}
	if err := a.End(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.timeout, fmt.Errorf("a statement of database_tools has %s", t.timeout))
	defer cancel()
	found, err := t.selected(ctx, statement, values, limit)
	if err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: found}, nil
}

// selected returns what a statement finds, as far as an answer has room for it.
func (t *Tools) selected(ctx context.Context, statement string, values []driver.Value, limit int) (map[string]any, error) {
	rows, names, size, truncated := []any{}, []any{}, 0, false
	var failure error
	err := t.reader.Select(ctx, statement, values, limit+1, func(columns []string, row []kernel.Value) bool {
		if len(names) == 0 {
			for _, c := range columns {
				names = append(names, c)
			}
		}
		object := make(map[string]any, len(row))
		for i, v := range row {
			object[columns[i]] = v
		}
		text, err := kernel.EncodeJSON(object)
		size += len(text)
		switch {
		case err != nil:
			failure = err
		case len(rows) == limit, size > t.limits.MaxBytes && len(rows) > 0:
			truncated = true
		case size > t.limits.MaxBytes:
			failure = &kernel.Error{Code: kernel.CodeLimit, What: "a row is too large", Why: fmt.Sprintf("an answer has at most %d bytes", t.limits.MaxBytes), Fix: "select fewer columns, or have the operator raise max_bytes"}
		default:
			rows = append(rows, object)
			return true
		}
		return false
	})
	switch {
	case ctx.Err() != nil:
		return nil, kernel.ContextError(ctx)
	case failure != nil:
		return nil, failure
	case err != nil:
		return nil, err
	}
	return map[string]any{"columns": names, "rows": rows, "truncated": truncated, "row_count": json.Number(fmt.Sprint(len(rows)))}, nil
}
