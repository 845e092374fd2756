// Command sql is two tools over the database port, for models that speak SQL better
// than anything else:
//
//	sql_query    one SELECT; {rows, truncated}
//	sql_describe the columns of a table
//
// The port takes no SQL, and neither a model nor a guest can send any: the tool reads
//
//	SELECT * | column, ...  FROM table
//	[WHERE column = literal [AND column = literal] ...]
//	[ORDER BY column [ASC | DESC]] [LIMIT n] [;]
//
// and makes a call of database.query of it, whose tables the operator's grant names.
// Anything else is refused with a message that says what there is, for the model to
// try again. Literals are numbers, 'texts' (a quote in one is written twice), TRUE, FALSE; NULL equals
// nothing and is refused. Names may be in "double quotes".
package main

import (
	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/toolcall"
)

func init() { toolcall.Handle(tools) }

func main() {}

func tools(c *hexdag.ToolCall) hexdag.Verdict {
	switch c.Tool() {
	case "sql_query":
		return query(c)
	case "sql_describe":
		return describe(c)
	}
	return hexdag.Fail("no_tool", "the tools are sql_query and sql_describe")
}

func query(c *hexdag.ToolCall) hexdag.Verdict {
	q, err := parse(c.Args().String("/query"))
	if err != nil {
		return hexdag.Fail("sql_syntax", err.Error())
	}
	call := hexdag.NewCall("database.query").String("/table", q.table)
	for i, column := range q.columns {
		if i == 0 {
			call = call.JSON("/columns", "[]")
		}
		call = call.String("/columns/-", column)
	}
	for _, w := range q.where {
		call = call.Value("/where/"+hexdag.Escape(w.column), w.value)
	}
	if q.orderBy != "" {
		call = call.String("/order_by", q.orderBy).Bool("/descending", q.descending)
	}
	if q.limit > 0 {
		call = call.Int("/limit", q.limit)
	}
	return answer(c, call)
}

func describe(c *hexdag.ToolCall) hexdag.Verdict {
	return answer(c, hexdag.NewCall("database.describe_table").String("/table", c.Args().String("/table")))
}

func answer(c *hexdag.ToolCall, call *hexdag.Call) hexdag.Verdict {
	reply, err := call.Do()
	if err != nil {
		return hexdag.FailWith(err)
	}
	whole, err := reply.Get("")
	if err != nil {
		return hexdag.FailWith(err)
	}
	c.Result().SetValue("", whole)
	return hexdag.Continue()
}
