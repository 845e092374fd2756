package hexdag.combine_test

import data.hexdag.combine

yes := {"allow": {{"id": "a", "msg": "yes"}}}

ask := {"approve": {{"id": "b", "msg": "ask"}}, "obligations": {{"type": "approval", "count": 1}}}

no := {"deny": {{"id": "d", "msg": "no"}, {"id": "c", "msg": "no"}}, "obligations": {{"type": "mask"}}}

test_decision[name] if {
	some name, tc in {
		"nothing": {"parts": [], "effect": "deny", "ids": ["default.deny"]},
		"silent": {"parts": [{}, {"allow": set()}], "effect": "deny", "ids": ["default.deny"]},
		"allowed": {"parts": [{}, yes], "effect": "allow", "ids": ["a"]},
		"asked": {"parts": [yes, ask], "effect": "approve", "ids": ["b"]},
		"denied": {"parts": [yes, ask, no], "effect": "deny", "ids": ["c", "d"]},
	}
	got := combine.decision(tc.parts)
	got.effect == tc.effect
	[r.id | some r in got.reasons] == tc.ids
}

test_obligations if {
	combine.decision([yes, {"obligations": {{"type": "label"}, {"type": "mask"}}}]).obligations == [{"type": "label"}, {"type": "mask"}]
	combine.decision([yes, ask]).obligations == [{"type": "approval", "count": 1}]
	not combine.decision([yes, no]).obligations
	not combine.decision([yes]).obligations
}
