package hexdag.budgets_test

import data.hexdag.budgets

call(usage, args) := {
	"subject": {"type": "module", "id": "orders", "tenant": "acme", "on_behalf_of": ["ada"]},
	"action": {"name": "llm.complete", "args": args},
	"resource": {"type": "llm", "id": "m"},
	"context": {"pipeline": "triage", "usage": usage},
}

decided(budget, request) := {kind: count(reasons) |
	some kind, reasons in budgets.rules with input as request with data.budgets as [object.union({"id": "b", "of": "llm_calls"}, budget)]
}

test_rules[name] if {
	some name, tc in {
		"under": {"budget": {"max": 10}, "usage": {"llm_calls": 10}, "want": {"deny": 0, "approve": 0}},
		"over": {"budget": {"max": 10}, "usage": {"llm_calls": 11}, "want": {"deny": 1, "approve": 0}},
		"much": {"budget": {"max": 10, "approve_over": 5}, "usage": {"llm_calls": 6}, "want": {"deny": 0, "approve": 1}},
		"adds": {"budget": {"max": 10, "adds": "n"}, "usage": {"llm_calls": 6}, "args": {"n": 5}, "want": {"deny": 1, "approve": 0}},
		"adds what is left": {"budget": {"max": 10, "adds": "n"}, "usage": {"llm_calls": 6}, "args": {"n": 4}, "want": {"deny": 0, "approve": 0}},
		"adds less than nothing": {"budget": {"max": 10, "adds": "n"}, "usage": {"llm_calls": 6}, "args": {"n": -1}, "want": {"deny": 1, "approve": 0}},
		"adds a text": {"budget": {"max": 10, "adds": "n"}, "usage": {"llm_calls": 6}, "args": {"n": "1"}, "want": {"deny": 1, "approve": 0}},
		"no figure": {"budget": {"max": 10}, "usage": {}, "want": {"deny": 1, "approve": 0}},
		"a text for a limit": {"budget": {"max": "10"}, "usage": {"llm_calls": 11}, "want": {"deny": 1, "approve": 0}},
		"this tenant": {"budget": {"max": 1, "tenant": "acme"}, "usage": {"llm_calls": 2}, "want": {"deny": 1, "approve": 0}},
		"another tenant": {"budget": {"max": 1, "tenant": "other"}, "usage": {"llm_calls": 2}, "want": {"deny": 0, "approve": 0}},
		"another pipeline": {"budget": {"max": 1, "pipeline": "x*"}, "usage": {"llm_calls": 2}, "want": {"deny": 0, "approve": 0}},
		"another action": {"budget": {"max": 1, "action": "tool.*"}, "usage": {"llm_calls": 2}, "want": {"deny": 0, "approve": 0}},
		"on somebody's behalf": {"budget": {"max": 1, "principal": "ada"}, "usage": {"llm_calls": 2}, "want": {"deny": 1, "approve": 0}},
		"another principal": {"budget": {"max": 1, "principal": "bob"}, "usage": {"llm_calls": 2}, "want": {"deny": 0, "approve": 0}},
	}
	decided(tc.budget, call(tc.usage, object.get(tc, "args", {}))) == tc.want
}
