package hexdag.approvals_test

import data.hexdag.approvals

groups := {"leads": ["ada", "bob", "cy"], "small": ["ada"]}

entry := {"id": "refunds", "action": "refund.issue", "argument": "amount", "over": 50, "group": "leads", "count": 2, "ttl_s": 60}

call(who, args) := {"subject": {"type": "user", "id": who}, "action": {"name": "refund.issue", "args": args}, "resource": {"type": "tool", "id": "refund"}}

decided(entry, request) := got if {
	got := approvals.rules with input as request with data.approvals as {"calls": [entry], "groups": groups}
}

test_calls[name] if {
	some name, tc in {
		"large": {"entry": entry, "input": call("eve", {"amount": 51}), "approve": 1, "deny": 0},
		"small": {"entry": entry, "input": call("eve", {"amount": 50}), "approve": 0, "deny": 0},
		"no amount": {"entry": entry, "input": call("eve", {}), "approve": 1, "deny": 0},
		"a text": {"entry": entry, "input": call("eve", {"amount": "1"}), "approve": 1, "deny": 0},
		"a text for a limit": {"entry": object.union(entry, {"over": "x"}), "input": call("eve", {"amount": 1}), "approve": 1, "deny": 0},
		"another action": {"entry": object.union(entry, {"action": "x"}), "input": call("eve", {}), "approve": 0, "deny": 0},
		"another resource": {"entry": object.union(entry, {"resource": "x"}), "input": call("eve", {}), "approve": 0, "deny": 0},
		"any amount": {"entry": object.remove(entry, ["argument", "over"]), "input": call("eve", {"amount": 1}), "approve": 1, "deny": 0},
		"too few others": {"entry": object.union(entry, {"count": 3}), "input": call("ada", {}), "approve": 1, "deny": 1},
		"nobody else": {"entry": object.remove(object.union(entry, {"group": "small"}), ["count"]), "input": call("ada", {}), "approve": 1, "deny": 1},
		"no group": {"entry": object.union(entry, {"group": "none"}), "input": call("eve", {}), "approve": 1, "deny": 1},
	}
	got := decided(tc.entry, tc.input)
	count(got.approve) == tc.approve
	count(got.deny) == tc.deny
	count(got.obligations) == tc.approve
}

# Neither who calls nor those on whose behalf may approve.
test_four_eyes if {
	decided(entry, call("eve", {})).obligations == {{"type": "approval", "by": ["ada", "bob", "cy"], "count": 2, "ttl_s": 60}}
	decided(entry, call("bob", {})).obligations == {{"type": "approval", "by": ["ada", "cy"], "count": 2, "ttl_s": 60}}
	module := {"subject": {"type": "module", "id": "m", "on_behalf_of": ["cy", "module:outer"]}}
	decided(object.remove(entry, ["ttl_s", "count"]), object.union(call("", {}), module)).obligations == {{"type": "approval", "by": ["ada", "bob"], "count": 1}}
}

giving(who, args) := {"subject": {"type": "user", "id": who}, "action": {"name": "approvals.approve", "args": args}, "resource": {"type": "approval", "id": "1"}}

asked := {"group": "leads", "requested_by": ["eve"], "approved_by": ["bob"]}

test_giving[name] if {
	some name, tc in {
		"another person": {"input": giving("ada", asked), "want": {"approvals.given"}},
		"who asked": {"input": giving("ada", object.union(asked, {"requested_by": ["eve", "ada"]})), "want": {"approvals.own"}},
		"who has approved": {"input": giving("bob", asked), "want": {"approvals.twice"}},
		"a stranger": {"input": giving("mallory", asked), "want": {"approvals.group"}},
		"nobody said who asked": {"input": giving("ada", {"group": "leads"}), "want": {"approvals.own", "approvals.twice"}},
		"a module": {
			"input": object.union(giving("ada", asked), {"subject": {"type": "module", "on_behalf_of": ["ada"]}}),
			"want": {"approvals.module"},
		},
	}
	got := decided(entry, tc.input)
	{r.id | some kind in ["allow", "deny"]; some r in got[kind]} == tc.want
}
