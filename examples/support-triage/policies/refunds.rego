# METADATA
# title: Support triage
# description: |
#   What the support pipeline may do: the ports that it may call, and the refunds that
#   it may issue. The figures are in data.json. Whatever no rule allows is denied.
package hexdag.authz

import data.hexdag.ports

# METADATA
# title: The decision
# description: Denials override approvals, and these what is allowed.
# entrypoint: true
decision := document("deny", deny) if {
	count(deny) > 0
} else := document("approve", approve) if {
	count(approve) > 0
} else := document("allow", allow) if {
	count(allow) > 0
} else := document("deny", {{"id": "default.deny", "msg": "no rule allows this"}})

document(effect, reasons) := {"effect": effect, "reasons": sort(reasons)}

limits := data.refunds

refund := input.action.args if input.action.name == "refund.issue"

# Ports

allow contains reason if {
	known_principal
	ports.covered(data.ports.grants)
	reason := {
		"id": "ports.granted",
		"msg": sprintf("%s is granted for this %s", [input.action.name, ports.port]),
	}
}

known_principal if ports.principal in data.ports.principals

# Refunds. Rego orders values of different types, so that null <= 50 is true: no rule
# looks at a figure before it is known to be one.

deny contains reason if {
	refund
	not known_principal
	reason := {"id": "refunds.principal", "msg": sprintf("%v may not issue refunds", [ports.principal])}
}

# Nobody asks for money: there is nothing to deny.
nothing if refund.amount == 0

allow contains reason if {
	known_principal
	nothing
	reason := {"id": "refunds.nothing", "msg": "no refund is proposed"}
}

deny contains reason if {
	refund
	not nothing
	not well_formed
	reason := {"id": "refunds.malformed", "msg": "the request lacks a figure, or has one that cannot be"}
}

well_formed if {
	is_string(refund.order_id)
	is_number(refund.amount)
	refund.amount > 0
	is_string(refund.currency)
	refund.customer_risk in {"low", "medium", "high"}
	is_number(refund.prior_refunds)
	refund.prior_refunds >= 0
	is_string(refund.category)
}

ordered if {
	is_number(refund.order_total)
	refund.order_total > 0
}

delivered if {
	is_number(refund.days_since_delivery)
	refund.days_since_delivery >= 0
}

deny contains reason if {
	well_formed
	not ordered
	reason := {"id": "refunds.no_order", "msg": sprintf("there is no order %s", [refund.order_id])}
}

deny contains reason if {
	well_formed
	ordered
	not delivered
	reason := {"id": "refunds.not_delivered", "msg": sprintf("order %s has not been delivered", [refund.order_id])}
}

deny contains reason if {
	well_formed
	ordered
	refund.amount > refund.order_total
	reason := {
		"id": "refunds.over_total",
		"msg": sprintf("%s is more than the order's %s", [money(refund.amount), money(refund.order_total)]),
	}
}

deny contains reason if {
	well_formed
	refund.amount > limits.approve_up_to
	reason := {
		"id": "refunds.over_limit",
		"msg": sprintf("%s is more than %s, the most that can be approved", [money(refund.amount), money(limits.approve_up_to)]),
	}
}

deny contains reason if {
	well_formed
	delivered
	refund.days_since_delivery > limits.deny_days
	reason := {
		"id": "refunds.too_late",
		"msg": sprintf("delivered %v days ago, the limit is %v", [refund.days_since_delivery, limits.deny_days]),
	}
}

deny contains reason if {
	well_formed
	refund.customer_risk == "high"
	reason := {"id": "refunds.high_risk", "msg": "the customer's risk is high"}
}

deny contains reason if {
	well_formed
	contains(lower(refund.category), "fraud")
	reason := {"id": "refunds.fraud", "msg": sprintf("the ticket's category is %s", [refund.category])}
}

# A person decides.

approve contains reason if {
	well_formed
	refund.amount > limits.allow_up_to
	reason := {
		"id": "refunds.large",
		"msg": sprintf("%s is more than %s", [money(refund.amount), money(limits.allow_up_to)]),
	}
}

approve contains reason if {
	well_formed
	refund.currency != limits.currency
	reason := {
		"id": "refunds.currency",
		"msg": sprintf("the currency is %s, and the limits are in %s", [refund.currency, limits.currency]),
	}
}

approve contains reason if {
	well_formed
	refund.days_since_delivery > limits.allow_days
	reason := {
		"id": "refunds.late",
		"msg": sprintf("delivered %v days ago, more than %v", [refund.days_since_delivery, limits.allow_days]),
	}
}

approve contains reason if {
	well_formed
	refund.customer_risk == "medium"
	reason := {"id": "refunds.medium_risk", "msg": "the customer's risk is medium"}
}

approve contains reason if {
	well_formed
	refund.prior_refunds >= limits.many_refunds
	reason := {"id": "refunds.repeated", "msg": sprintf("the customer has had %v refunds", [refund.prior_refunds])}
}

# The rest is small. Each condition is said again, so that a rule above that goes
# missing makes this one deny.
allow contains reason if {
	known_principal
	well_formed
	ordered
	delivered
	refund.amount <= refund.order_total
	refund.amount <= limits.allow_up_to
	refund.currency == limits.currency
	refund.days_since_delivery <= limits.allow_days
	refund.customer_risk == "low"
	refund.prior_refunds < limits.many_refunds
	reason := {
		"id": "refunds.small",
		"msg": sprintf("%s of %s, within %v days", [money(refund.amount), money(refund.order_total), limits.allow_days]),
	}
}

money(amount) := sprintf("%v %s", [amount, refund.currency])
