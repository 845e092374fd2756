# METADATA
# title: Roles
# description: |
#   Allows what a role of the run's principal allows. data.rbac has
#   roles: {name: {inherits: [role], allow: [{action, resource}]}}, in which a * at the
#   end of action or resource stands for any rest and a resource is "type:id", and
#   bindings: {principal: [{role, tenant}]}, in which the tenant "*" is any.
package hexdag.rbac

import data.hexdag.patterns
import data.hexdag.ports

# METADATA
# title: The policy, for hexdag.combine
rules := {"allow": allow}

# METADATA
# title: The roles that the principal is bound to, in the request's tenant
direct contains binding.role if {
	some binding in data.rbac.bindings[ports.principal]
	bound(binding.tenant)
}

bound("*") if input.subject.tenant

bound(tenant) if tenant == input.subject.tenant

index := data.materialized["hexdag/rbac/index"]

# METADATA
# title: The roles that the principal has, inherited ones among them
roles := graph.reachable(inherits, direct)

inherits[name] := object.get(role, "inherits", []) if some name, role in data.rbac.roles

# METADATA
# title: What a role of the principal allows
# description: |
#   The first rule says it. The second comes to the same by the index that the host makes
#   of data.rbac when it loads it, if there is one.
allow contains reason(role) if {
	not index
	some role in roles
	some grant in data.rbac.roles[role].allow
	ports.matches(grant.action, input.action.name)
	ports.matches(object.get(grant, "resource", "*"), ports.resource)
}

allow contains reason(via) if {
	some [n, actions] in index.grants
	some [m, resources] in actions[patterns.part(input.action.name, n)]
	some via in resources[patterns.part(ports.resource, m)]
	some binding in data.rbac.bindings[ports.principal]
	bound(binding.tenant)
	index.closed[binding.role][via]
}

reason(role) := {"id": "rbac.role", "msg": concat(" ", ["the role", role, "allows", input.action.name])}

# METADATA
# title: Permissions
# description: |
#   The patterns of what the principal may do, for list_permissions: complete, as
#   nothing but roles allows anything here.
permissions contains {"action": grant.action, "resource": object.get(grant, "resource", "*"), "via": role} if {
	some role in roles
	some grant in data.rbac.roles[role].allow
}
