package hexdag.agent_tools_test

import data.hexdag.agent_tools

tools := {
	"refund.issue": {
		"principals": ["support-bot"],
		"args": {
			"amount": {"min": 0, "max": 200},
			"currency": {"one_of": ["EUR"]},
			"order_id": {"type": "string", "matches": "[A-Z]-[0-9]+"},
			"note": {"optional": true, "max_length": 5},
		},
		"approve": {"amount": {"max": 50}},
	},
	"file.read": {"principals": ["*"], "args": {"path": {"prefix": "/data/"}}},
	"odd.limits": {"principals": ["*"], "args": {"a": {"maximum": 5, "max": "7", "optional": true}, "b": {"max_length": 9, "optional": true}}},
	"no.args": {"principals": ["*"]},
}

refund := {"amount": 20, "currency": "EUR", "order_id": "A-1"}

call(name, args) := {"subject": {"type": "user", "id": "support-bot"}, "action": {"name": name, "args": args}, "resource": {"type": "tool", "id": name}}

test_rules[name] if {
	some name, tc in {
		"sound": {"input": call("refund.issue", refund), "want": {"tools.allowed"}},
		"with an optional one": {"input": call("refund.issue", object.union(refund, {"note": "brief"})), "want": {"tools.allowed"}},
		"for a module": {
			"input": object.union(call("refund.issue", refund), {"subject": {"type": "module", "id": "m", "on_behalf_of": ["support-bot"]}}),
			"want": {"tools.allowed"},
		},
		"large": {"input": call("refund.issue", object.union(refund, {"amount": 60})), "want": {"tools.allowed", "tools.approve"}},
		"too large": {"input": call("refund.issue", object.union(refund, {"amount": 201})), "want": {"tools.argument", "tools.approve"}},
		"too small": {"input": call("refund.issue", object.union(refund, {"amount": -1})), "want": {"tools.argument"}},
		"a text for a number": {"input": call("refund.issue", object.union(refund, {"amount": "1"})), "want": {"tools.argument", "tools.approve"}},
		"another currency": {"input": call("refund.issue", object.union(refund, {"currency": "USD"})), "want": {"tools.argument"}},
		"more than the pattern": {"input": call("refund.issue", object.union(refund, {"order_id": "A-1; x"})), "want": {"tools.argument"}},
		"another type": {"input": call("refund.issue", object.union(refund, {"order_id": 1})), "want": {"tools.argument"}},
		"too long": {"input": call("refund.issue", object.union(refund, {"note": "longer"})), "want": {"tools.argument"}},
		"missing": {"input": call("refund.issue", object.remove(refund, ["currency"])), "want": {"tools.missing"}},
		"null": {"input": call("refund.issue", object.union(refund, {"currency": null})), "want": {"tools.argument"}},
		"unexpected": {"input": call("refund.issue", object.union(refund, {"force": true})), "want": {"tools.unexpected"}},
		"another principal": {
			"input": object.union(call("refund.issue", refund), {"subject": {"id": "mallory"}}),
			"want": {"tools.principal"},
		},
		"unknown": {"input": call("file.write", {}), "want": {"tools.unknown"}},
		"in the folder": {"input": call("file.read", {"path": "/data/a"}), "want": {"tools.allowed"}},
		"out of the folder": {"input": call("file.read", {"path": "/data/../etc"}), "want": {"tools.argument"}},
		"no path": {"input": call("file.read", {"path": 1}), "want": {"tools.argument"}},
		"no object": {"input": call("no.args", [1]), "want": {"tools.arguments"}},
		"nothing to give": {"input": call("no.args", {}), "want": {"tools.allowed"}},
		"limits that cannot be checked": {"input": call("odd.limits", {"a": 1}), "want": {"tools.argument"}},
		"the length of a number": {"input": call("odd.limits", {"b": 1}), "want": {"tools.argument"}},
		"no input": {"input": {}, "want": set()},
	}
	got := agent_tools.rules with input as tc.input with data.tools as tools
	{r.id | some kind in got; some r in kind} == tc.want
}

test_message if {
	got := agent_tools.deny with input as call("refund.issue", object.union(refund, {"amount": 201})) with data.tools as tools
	got == {{"id": "tools.argument", "msg": "the argument amount is outside its limits: max"}}
}
