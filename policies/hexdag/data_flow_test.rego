package hexdag.data_flow_test

import data.hexdag.data_flow

flow := {
	"outside": ["http.*", "llm:gpt-*"],
	"harmless": ["metrics.*"],
	"endorse": [{"action": "artifacts.store", "resource": "artifacts:draft-*", "principals": ["ada"]}],
	"approve": [{"action": "calendar.invite", "principals": ["ada"]}, {"action": "artifacts.store", "principals": ["ada"]}],
	"declassify": [{"action": "http.post", "principals": ["*"]}],
}

call(labels, action, resource) := {
	"subject": {"type": "user", "id": "ada"},
	"action": {"name": action},
	"resource": resource,
	"context": {"labels": labels},
}

clean := {"integrity": "trusted", "confidentiality": "public"}

untrusted := object.union(clean, {"integrity": "untrusted"})

secret := object.union(clean, {"confidentiality": "secret"})

file(id) := {"type": "artifacts", "id": id}

url := {"type": "http", "id": "example.org"}

test_deny[name] if {
	some name, tc in {
		"clean": {"input": call(clean, "http.get", url), "want": set()},
		"internal": {"input": call(object.union(clean, {"confidentiality": "internal"}), "http.get", url), "want": set()},
		"untrusted, read": {"input": call(untrusted, "database.query", {"type": "database", "id": "orders"}), "want": set()},
		"untrusted, harmless": {"input": call(untrusted, "metrics.count", {"type": "metrics", "id": "x"}), "want": set()},
		"untrusted, written": {"input": call(untrusted, "refund.issue", {"type": "tool", "id": "refund.issue"}), "want": {"flow.untrusted"}},
		"untrusted, endorsed": {"input": call(untrusted, "artifacts.store", file("draft-1")), "want": set()},
		"untrusted, for a person to decide": {"input": call(untrusted, "artifacts.store", file("final-1")), "want": set()},
		"untrusted, endorsed elsewhere": {"input": call(untrusted, "memory.set", file("draft-1")), "want": {"flow.untrusted"}},
		"untrusted, endorsed for another": {
			"input": object.union(call(untrusted, "artifacts.store", file("draft-1")), {"subject": {"id": "bob"}}),
			"want": {"flow.untrusted"},
		},
		"secret, inside": {"input": call(secret, "artifacts.store", file("x")), "want": set()},
		"secret, outside": {"input": call(secret, "http.get", url), "want": {"flow.secret"}},
		"secret, an outside resource": {"input": call(secret, "llm.complete", {"type": "llm", "id": "gpt-5"}), "want": {"flow.secret"}},
		"secret, declassified": {"input": call(secret, "http.post", url), "want": set()},
		"no labels": {"input": call({}, "http.get", url), "want": {"flow.untrusted", "flow.secret"}},
		"unknown labels": {"input": call({"integrity": "Trusted", "confidentiality": "none"}, "http.get", url), "want": {"flow.untrusted", "flow.secret"}},
		"no context": {"input": {"action": {"name": "http.get"}, "resource": url}, "want": {"flow.untrusted", "flow.secret"}},
	}
	got := data_flow.rules.deny with input as tc.input with data.flow as flow
	{r.id | some r in got} == tc.want
}

test_without_data if {
	got := data_flow.rules.deny with input as call(untrusted, "artifacts.store", file("draft-1"))
	{r.id | some r in got} == {"flow.untrusted"}
}

test_approve[name] if {
	some name, tc in {
		"clean": {"input": call(clean, "calendar.invite", {"type": "tool", "id": "calendar.invite"}), "want": set()},
		"untrusted": {"input": call(untrusted, "calendar.invite", {"type": "tool", "id": "calendar.invite"}), "want": {"flow.approve"}},
		"endorsed": {"input": call(untrusted, "artifacts.store", file("draft-1")), "want": set()},
		"of another": {
			"input": object.union(call(untrusted, "calendar.invite", {"type": "tool", "id": "calendar.invite"}), {"subject": {"id": "bob"}}),
			"want": set(),
		},
	}
	got := data_flow.rules.approve with input as tc.input with data.flow as flow
	{r.id | some r in got} == tc.want
}

test_sources_are_told if {
	asked := object.union(call(untrusted, "calendar.invite", {"type": "tool", "id": "calendar.invite"}), {"context": {"sources": ["database:mails", "http:example.org"]}})
	got := data_flow.rules.approve with input as asked with data.flow as flow
	some reason in got
	contains(reason.msg, "(database:mails, http:example.org)")
}
