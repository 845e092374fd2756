package main

import "strconv"

// ticketCase is what a proposal depends on.
type ticketCase struct {
	category  string
	wanted    string
	found     bool // the order
	total     money
	currency  string
	delivered int // days ago; negative if it has not been delivered
}

// proposal is the rule that applies and what it gives.
type proposal struct {
	rule        string
	amount      money
	explanation string
}

// terms are the shop's, from the configuration.
type terms struct {
	latePercent   int
	restockingFee money
	returnDays    int
}

func (t terms) apply(c ticketCase) proposal {
	switch {
	case c.category == "question" || c.category == "praise":
		return proposal{rule: "no_claim", explanation: "nothing is claimed"}
	case c.wanted == "replacement" || c.wanted == "information":
		return proposal{rule: "no_money_wanted", explanation: "the customer wants " + c.wanted + ", not money"}
	case !c.found:
		return proposal{rule: "no_order", explanation: "there is no such order"}
	}
	switch c.category {
	case "damaged":
		return proposal{"damaged", c.total, "arrived damaged: the full total"}
	case "wrong_item":
		return proposal{"wrong_item", c.total, "another item was sent: the full total"}
	case "billed_twice":
		return proposal{"billed_twice", c.total, "billed twice: the second charge"}
	case "fraud":
		return proposal{"fraud", c.total, "the customer disputes the charge: the full total"}
	case "late":
		return proposal{"late", c.total.percent(t.latePercent), "delivered late: " + strconv.Itoa(t.latePercent) + " % of the total"}
	case "changed_mind":
		return t.changedMind(c)
	}
	return proposal{rule: "no_rule", explanation: "no rule gives money back for this category"}
}

func (t terms) changedMind(c ticketCase) proposal {
	if c.delivered > t.returnDays {
		return proposal{rule: "return_too_late", explanation: "delivered " + strconv.Itoa(c.delivered) + " days ago, returns are taken for " + strconv.Itoa(t.returnDays)}
	}
	return proposal{"changed_mind", max(0, c.total-t.restockingFee), "returned: the total less a fee of " + t.restockingFee.String()}
}
