package hexdag.authz_test

import data.hexdag.authz

query(table) := {"action": {"name": "database.query"}, "resource": {"type": "database", "id": table}}

test_closed_table_is_denied if {
	d := authz.decision with input as query("payroll")
	d.effect == "deny"
	some reason in d.reasons
	reason.id == "tables.closed"
}

test_other_tables_are_open if {
	authz.decision.effect == "allow" with input as query("orders")
}

test_other_ports_are_open if {
	authz.decision.effect == "allow" with input as {"action": {"name": "memory.get"}, "resource": {"type": "memory", "id": "payroll"}}
}
