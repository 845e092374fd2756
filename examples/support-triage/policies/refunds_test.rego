package hexdag.authz_test

import data.hexdag.authz

small := {
	"order_id": "A-1001",
	"amount": 20,
	"currency": "EUR",
	"order_total": 80,
	"days_since_delivery": 10,
	"customer_risk": "low",
	"prior_refunds": 0,
	"category": "damaged",
}

request(args) := {
	"subject": {"type": "user", "id": "support-bot", "tenant": "acme"},
	"action": {"name": "refund.issue", "args": args},
	"resource": {"type": "order", "id": "A-1001"},
	"context": {"usage": {}},
}

refund(changes) := request(object.union(small, changes))

call(op, id) := {
	"subject": {"type": "user", "id": "support-bot", "tenant": "acme"},
	"action": {"name": op, "args": {}},
	"resource": {"type": split(op, ".")[0], "id": id},
	"context": {"usage": {}},
}

by_module(module, op, id) := object.union(
	call(op, id),
	{"subject": {"type": "module", "id": module, "on_behalf_of": ["support-bot"]}},
)

ids(decision) := [reason.id | some reason in decision.reasons]

test_refunds[name] if {
	some name, tc in {
		"small": {"args": {}, "effect": "allow", "ids": ["refunds.small"]},
		"at the limits": {
			"args": {"amount": 50, "order_total": 50, "days_since_delivery": 30, "prior_refunds": 1},
			"effect": "allow",
			"ids": ["refunds.small"],
		},
		"large": {"args": {"amount": 50.01}, "effect": "approve", "ids": ["refunds.large"]},
		"largest": {"args": {"amount": 200, "order_total": 200}, "effect": "approve", "ids": ["refunds.large"]},
		"late": {"args": {"days_since_delivery": 31}, "effect": "approve", "ids": ["refunds.late"]},
		"latest": {"args": {"days_since_delivery": 60}, "effect": "approve", "ids": ["refunds.late"]},
		"medium risk": {"args": {"customer_risk": "medium"}, "effect": "approve", "ids": ["refunds.medium_risk"]},
		"repeated": {"args": {"prior_refunds": 2}, "effect": "approve", "ids": ["refunds.repeated"]},
		"another currency": {"args": {"currency": "USD"}, "effect": "approve", "ids": ["refunds.currency"]},
		"several reasons": {
			"args": {"amount": 60, "prior_refunds": 3, "customer_risk": "medium"},
			"effect": "approve",
			"ids": ["refunds.large", "refunds.medium_risk", "refunds.repeated"],
		},
		"over the total": {"args": {"amount": 45, "order_total": 40}, "effect": "deny", "ids": ["refunds.over_total"]},
		"over the limit": {
			"args": {"amount": 201, "order_total": 900},
			"effect": "deny",
			"ids": ["refunds.over_limit"],
		},
		"too late": {"args": {"days_since_delivery": 61}, "effect": "deny", "ids": ["refunds.too_late"]},
		"high risk": {"args": {"customer_risk": "high"}, "effect": "deny", "ids": ["refunds.high_risk"]},
		"fraud": {"args": {"category": "Suspected-Fraud"}, "effect": "deny", "ids": ["refunds.fraud"]},
		"no order": {"args": {"order_total": null}, "effect": "deny", "ids": ["refunds.no_order"]},
		"not delivered": {
			"args": {"days_since_delivery": null},
			"effect": "deny",
			"ids": ["refunds.not_delivered"],
		},
		"a text for an amount": {"args": {"amount": "20"}, "effect": "deny", "ids": ["refunds.malformed"]},
		"no amount": {"args": {"amount": null}, "effect": "deny", "ids": ["refunds.malformed"]},
		"less than nothing": {"args": {"amount": -5}, "effect": "deny", "ids": ["refunds.malformed"]},
		"nothing": {"args": {"amount": 0}, "effect": "allow", "ids": ["refunds.nothing"]},
		"nothing, of no order": {"args": {"amount": 0, "order_total": null}, "effect": "allow", "ids": ["refunds.nothing"]},
		"unknown risk": {"args": {"customer_risk": "none"}, "effect": "deny", "ids": ["refunds.malformed"]},
		"denial overrides": {
			"args": {"amount": 70, "customer_risk": "high"},
			"effect": "deny",
			"ids": ["refunds.high_risk"],
		},
	}
	decision := authz.decision with input as refund(tc.args)
	decision.effect == tc.effect
	ids(decision) == tc.ids
}

test_arguments_are_needed if {
	some name, _ in small
	decision := authz.decision with input as request(object.remove(small, [name]))
	decision.effect == "deny"
}

test_nobody_else_refunds if {
	stranger := object.union(refund({}), {"subject": {"id": "mallory"}})
	decision := authz.decision with input as stranger
	decision.effect == "deny"
	ids(decision) == ["refunds.principal"]
}

test_messages_have_the_figures if {
	decision := authz.decision with input as refund({"amount": 75.5})
	decision.reasons[0].msg == "75.5 EUR is more than 50 EUR"
}

test_thresholds_are_data if {
	decision := authz.decision with input as refund({"amount": 75}) with data.refunds.allow_up_to as 100
	decision.effect == "allow"
}

test_ports[name] if {
	some name, tc in {
		"llm": {"input": call("llm.complete", "mock"), "want": "allow"},
		"the module's counter": {"input": by_module("redact", "metrics.count", "fields_redacted"), "want": "allow"},
		"another counter": {"input": by_module("redact", "metrics.count", "tickets"), "want": "deny"},
		"summary": {"input": call("artifacts.store", "summary-A-1001.md"), "want": "allow"},
		"another artifact": {"input": call("artifacts.store", "orders.csv"), "want": "deny"},
		"another op": {"input": call("artifacts.delete", "summary-A-1001.md"), "want": "deny"},
		"the module's table": {"input": by_module("orders", "database.query", "orders"), "want": "allow"},
		"another table": {"input": by_module("orders", "database.query", "customers"), "want": "deny"},
		"another module": {"input": by_module("redact", "database.query", "orders"), "want": "deny"},
		"the run itself": {"input": call("database.query", "orders"), "want": "deny"},
	}
	decision := authz.decision with input as tc.input
	decision.effect == tc.want
}

test_default_deny if {
	decision := authz.decision with input as call("lock.acquire", "x")
	decision.effect == "deny"
	ids(decision) == ["default.deny"]
}

test_strangers_get_nothing if {
	decision := authz.decision with input as object.union(
		call("llm.complete", "mock"),
		{"subject": {"id": "mallory"}},
	)
	decision.effect == "deny"
}
