package database

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// Ops returns the port's methods for the door:
//
//	database.query {table, columns?: [name], where?: {column: scalar}, order_by?, descending?, limit?}
//	  -> {rows: [{column: scalar}], truncated}
//	database.insert {table, row: {column: scalar}} -> {inserted: 1}
//	database.describe_table {table} -> {table, columns: [{name, type, nullable, primary_key}]}
//	database.list_tables {} -> {tables: [name]}
//
// A capability can restrict table. list_tables names every table: who may call
// it learns what there is, and no more.
func (p *Port) Ops() []ports.Op {
	table := []string{"table"}
	return []ports.Op{
		{Name: "database.query", Guards: table, Func: p.queryOp},
		{Name: "database.insert", Guards: table, Func: p.insertOp},
		{Name: "database.describe_table", Guards: table, Func: p.describeOp},
		{Name: "database.list_tables", Func: p.tablesOp},
	}
}

func (p *Port) queryOp(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	q, err := parseQuery(call)
	if err != nil {
		return nil, err
	}
	result, err := p.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	rows := make([]any, len(result.Rows))
	for i, row := range result.Rows {
		rows[i] = row
	}
	return reply(map[string]any{"rows": rows, "truncated": result.Truncated})
}

func (p *Port) insertOp(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments{call: call}
	table, row := a.name("table", true), a.object("row")
	if err := a.end(); err != nil {
		return nil, err
	}
	if err := p.Insert(ctx, table, row); err != nil {
		return nil, err
	}
	return reply(map[string]any{"inserted": kernel.Number(1)})
}

func (p *Port) describeOp(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments{call: call}
	name := a.name("table", true)
	if err := a.end(); err != nil {
		return nil, err
	}
	table, err := p.Describe(ctx, name)
	if err != nil {
		return nil, err
	}
	columns := make([]any, len(table.Columns))
	for i, c := range table.Columns {
		columns[i] = map[string]any{"name": c.Name, "type": string(c.Type), "nullable": c.Nullable, "primary_key": c.PrimaryKey}
	}
	return reply(map[string]any{"table": table.Name, "columns": columns})
}

func (p *Port) tablesOp(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments{call: call}
	if err := a.end(); err != nil {
		return nil, err
	}
	names, err := p.Tables(ctx)
	if err != nil {
		return nil, err
	}
	tables := make([]any, len(names))
	for i, name := range names {
		tables[i] = name
	}
	return reply(map[string]any{"tables": tables})
}

func reply(value map[string]any) (*kernel.PortReply, error) {
	return &kernel.PortReply{Value: value}, nil
}

func parseQuery(call *kernel.PortCall) (Query, error) {
	a := arguments{call: call}
	q := Query{
		Table:      a.name("table", true),
		Columns:    a.names("columns"),
		Where:      a.object("where"),
		OrderBy:    a.name("order_by", false),
		Descending: a.flag("descending"),
		Limit:      a.count("limit"),
	}
	return q, a.end()
}

// arguments reads a call's arguments one by one and keeps the first error.
type arguments struct {
	call  *kernel.PortCall
	known []string
	err   error
}

func (a *arguments) take(name string) (any, bool) {
	a.known = append(a.known, name)
	v, ok := a.call.Args[name]
	return v, ok
}

func (a *arguments) fail(format string, args ...any) {
	if a.err == nil {
		a.err = &kernel.Error{Code: kernel.CodeArguments, What: a.call.Op + ": " + fmt.Sprintf(format, args...)}
	}
}

func (a *arguments) name(name string, required bool) string {
	v, ok := a.take(name)
	text, isText := v.(string)
	if (ok || required) && (!isText || text == "") {
		a.fail("%s must be a name", name)
	}
	return text
}

func (a *arguments) names(name string) []string {
	v, ok := a.take(name)
	if !ok {
		return nil
	}
	list, isList := v.([]any)
	names := make([]string, len(list))
	for i, item := range list {
		var isText bool
		names[i], isText = item.(string)
		isList = isList && isText
	}
	if !isList {
		a.fail("%s must be a list of names", name)
	}
	return names
}

func (a *arguments) object(name string) map[string]any {
	v, ok := a.take(name)
	object, isObject := v.(map[string]any)
	if ok && !isObject {
		a.fail("%s must be an object of columns and values", name)
	}
	return object
}

func (a *arguments) flag(name string) bool {
	v, ok := a.take(name)
	flag, isFlag := v.(bool)
	if ok && !isFlag {
		a.fail("%s must be true or false", name)
	}
	return flag
}

func (a *arguments) count(name string) int {
	v, ok := a.take(name)
	if !ok {
		return 0
	}
	text, _ := v.(json.Number)
	n, err := strconv.ParseInt(string(text), 10, 32)
	if err != nil || n < 1 {
		a.fail("%s must be an integer from 1", name)
	}
	return int(n)
}

// end returns the first error, or one for an argument that was not taken.
func (a *arguments) end() error {
	for name := range a.call.Args {
		if !slices.Contains(a.known, name) {
			a.fail("unknown argument %q; it takes %s", kernel.Quote(name), cmp.Or(strings.Join(a.known, ", "), "none"))
		}
	}
	if len(a.call.Body) > 0 {
		a.fail("it takes no body")
	}
	return a.err
}
