# METADATA
# title: Roles, worked out when data is loaded
# description: |
#   What hexdag.rbac would find out for each request, of which it depends on data.rbac
#   alone. In "grants" the patterns of actions, and below each those of resources, are
#   looked up as hexdag.patterns has it, and give the roles that have them; "closed" has
#   each role with those that it inherits.
package materialize.hexdag.rbac

import data.hexdag.patterns
import data.hexdag.rbac

index := {"grants": by_action, "closed": closed}

by_action := [[n, {action: by_resource(rows) | some action, rows in actions}] | some n, actions in grants]

by_resource(rows) := [[n, resources] | some n, resources in rows]

# By length and text of the action's pattern, then of the resource's, the roles.
grants[patterns.length(grant.action)][patterns.text(grant.action)][patterns.length(resource)][patterns.text(resource)] contains role if {
	some role, _ in rbac.inherits
	some grant in data.rbac.roles[role].allow
	resource := object.get(grant, "resource", "*")
}

closed[role] := {via: true | some via in graph.reachable(rbac.inherits, {role})} if some role, _ in rbac.inherits
