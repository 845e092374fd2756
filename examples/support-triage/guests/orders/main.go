// Command orders is the tool lookup_order {order_id}. It reaches the database
// only through the host, with the right to query one table:
//
//	{found, order_id, total, currency, status, days_since_delivery, prior_refunds, customer_risk}
//
// It expects a table orders whose columns are id and the last six of these. An
// order that is not there gives {found: false, order_id}.
package main

import (
	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/toolcall"
)

func init() { toolcall.Handle(lookupOrder) }

func main() {}

// maxOrderID bounds what is taken for an order's number.
const maxOrderID = 64

// columns are passed on as they are.
var columns = [...]string{"total", "currency", "status", "days_since_delivery", "prior_refunds", "customer_risk"}

func lookupOrder(c *hexdag.ToolCall) hexdag.Verdict {
	if tool := c.Tool(); tool != "lookup_order" {
		return hexdag.Fail("unknown_tool", "there is no tool "+tool)
	}
	id := c.Args().String("/order_id")
	if c.Args().Kind("/order_id") != hexdag.KindString || len(id) > maxOrderID {
		return hexdag.Fail("bad_arguments", "order_id is not an order's number")
	}
	if id == "" { // the ticket names none
		return notFound(c.Result(), id)
	}
	reply, err := hexdag.NewCall("database.query").
		String("/table", "orders").
		String("/where/id", id).
		Int("/limit", 1).
		Do()
	if err != nil {
		return hexdag.FailWith(err)
	}
	return answer(c.Result(), id, reply.At("/rows/0"))
}

func notFound(result hexdag.Doc, id string) hexdag.Verdict {
	result.SetBool("/found", false)
	result.SetString("/order_id", id)
	return hexdag.Continue()
}

func answer(result hexdag.Doc, id string, row hexdag.Doc) hexdag.Verdict {
	if row.Kind("") != hexdag.KindObject {
		return notFound(result, id)
	}
	result.SetBool("/found", true)
	result.SetString("/order_id", id)
	for _, column := range columns {
		v, err := row.Get("/" + column)
		if err != nil {
			return hexdag.FailWith(err)
		}
		if v.Kind == hexdag.KindAbsent {
			return hexdag.Fail("bad_table", "the table orders has no column "+column)
		}
		result.SetValue("/"+column, v)
	}
	return hexdag.Continue()
}
