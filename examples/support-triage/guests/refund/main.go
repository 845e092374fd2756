// Command refund is a node's body that proposes a refund. Its input is
//
//	{classification: {category, wanted?}, order: what lookup_order gives}
//
// and its output
//
//	{order_id, category, amount, currency, rule, explanation,
//	 order_total, days_since_delivery, prior_refunds, customer_risk}
//
// of which the last line is there if the order was found, for who decides. amount
// is 0 where no rule gives money back. Whether it is paid is governance's decision.
//
// The categories are damaged, late, wrong_item, changed_mind, billed_twice, fraud,
// question and praise; any other gives nothing. wanted "replacement" or
// "information" gives nothing either.
//
// Configuration: late_percent (20), restocking_fee ("5.00"), return_days (30).
package main

import (
	"strconv"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/noderun"
)

func init() { noderun.Handle(propose) }

func main() {}

func propose(c *hexdag.NodeCall) hexdag.Verdict {
	terms, err := readTerms(hexdag.Config())
	if err != nil {
		return hexdag.FailWith(err)
	}
	in, order := c.Input(), c.Input().At("/order")
	cs, err := readCase(in)
	if err != nil {
		return hexdag.FailWith(err)
	}
	p := terms.apply(cs)

	out := c.Result()
	out.SetString("/order_id", order.String("/order_id"))
	out.SetString("/category", cs.category)
	out.SetNumber("/amount", p.amount.String())
	out.SetString("/currency", cs.currency)
	out.SetString("/rule", p.rule)
	out.SetString("/explanation", p.explanation)
	if !cs.found {
		return hexdag.Continue()
	}
	out.SetNumber("/order_total", cs.total.String())
	for _, name := range [...]string{"/days_since_delivery", "/prior_refunds", "/customer_risk"} {
		v, err := order.Get(name)
		if err != nil {
			return hexdag.FailWith(err)
		}
		if v.Kind != hexdag.KindAbsent {
			out.SetValue(name, v)
		}
	}
	return hexdag.Continue()
}

// inputError says what is wrong with the node's input or configuration.
type inputError string

func (e inputError) Error() string { return string(e) }

func readCase(in hexdag.Doc) (ticketCase, error) {
	cs := ticketCase{
		category:  in.String("/classification/category"),
		wanted:    in.String("/classification/wanted"),
		found:     in.Bool("/order/found", false),
		currency:  in.String("/order/currency"),
		delivered: int(in.Int("/order/days_since_delivery", -1)),
	}
	if cs.category == "" {
		return cs, inputError("input /classification/category is no text")
	}
	if !cs.found {
		return cs, nil
	}
	total, ok := parseMoney(in.Raw("/order/total"))
	if !ok {
		return cs, inputError("input /order/total is no sum of money: " + strconv.Quote(in.Raw("/order/total")))
	}
	cs.total = total
	return cs, nil
}

func readTerms(config hexdag.Doc) (terms, error) {
	t := terms{latePercent: 20, restockingFee: 500, returnDays: 30}
	var ok bool
	if t.latePercent, ok = readInt(config, "/late_percent", t.latePercent, 100); !ok {
		return t, inputError("config: late_percent is not an integer from 0 to 100")
	}
	if t.returnDays, ok = readInt(config, "/return_days", t.returnDays, 1<<20); !ok {
		return t, inputError("config: return_days is not a number of days")
	}
	if config.Kind("/restocking_fee") != hexdag.KindAbsent {
		if t.restockingFee, ok = parseMoney(config.String("/restocking_fee")); !ok {
			return t, inputError("config: restocking_fee is no sum of money such as \"5.00\"")
		}
	}
	return t, nil
}

func readInt(config hexdag.Doc, path string, otherwise, most int) (int, bool) {
	if config.Kind(path) == hexdag.KindAbsent {
		return otherwise, true
	}
	n := config.Int(path, -1)
	return int(n), n >= 0 && n <= int64(most)
}
