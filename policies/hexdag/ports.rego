# METADATA
# title: Port calls
# description: |
#   Rules about calls of ports, for policies to build on. The door asks about each
#   call: input.action.name is "port.method", input.resource.id the argument that the
#   port guards first (a model, a table, a topic, a name), input.subject who calls.
package hexdag.ports

# METADATA
# title: The port that is called
# description: '"database" of "database.query".'
port := split(input.action.name, ".")[0]

# METADATA
# title: The method that is called
# description: '"query" of "database.query".'
method := split(input.action.name, ".")[1]

# METADATA
# title: Methods that change nothing
# description: The methods, by port, after which the world is as it was before.
read_methods := {
	"artifacts": {"retrieve", "list", "exists", "open", "read"},
	"database": {"query", "describe_table", "list_tables"},
	"governance": {"authorize", "list_permissions"},
	"lock": {"is_locked"},
	"memory": {"get", "search", "list"},
}

# METADATA
# title: The call changes nothing
default read_only := false

read_only if method in read_methods[port]

# METADATA
# title: A module makes the call
# description: It does so on behalf of input.subject.on_behalf_of, the run's principal first.
default is_module := false

is_module if input.subject.type == "module"

# METADATA
# title: The run's principal
# description: The person or service that a run acts for, whoever makes the call.
principal := person(input.subject)

person(subject) := subject.on_behalf_of[0] if subject.type == "module"

person(subject) := subject.id if not subject.type == "module"

# METADATA
# title: Modules that take part in the call
# description: The module that calls, and those through which it was called.
modules contains input.subject.id if is_module

modules contains name if {
	some caller in input.subject.on_behalf_of
	startswith(caller, "module:")
	name := trim_prefix(caller, "module:")
}

# METADATA
# title: Everybody who takes part in the call
# description: Who calls, and those on whose behalf; never undefined.
people contains input.subject.id

people contains caller if some caller in input.subject.on_behalf_of

# METADATA
# title: The resource
# description: '"database:orders"; where one of the two is missing, it is empty.'
resource := whole if {
	whole := concat(":", [input.resource.type, input.resource.id])
} else := concat(":", [object.get(input, ["resource", "type"], ""), object.get(input, ["resource", "id"], "")])

# METADATA
# title: A grant covers the call
# description: |
#   Whether one of the grants covers the call. A grant is an object, such as
#   {"op": "database.query", "resource": "orders", "modules": ["orders"]}. A * at the end
#   of "op" or "resource" stands for any rest; without "resource" any will do. A grant
#   without "modules" is for the run itself. One with it is for those modules, and holds
#   only if each module that takes part in the call is among them.
covered(grants) if {
	some grant in grants
	matches(grant.op, input.action.name)
	matches(object.get(grant, "resource", "*"), input.resource.id)
	held(grant)
}

held(grant) if {
	not is_module
	not grant.modules
}

held(grant) if {
	is_module
	every module in modules {
		module in grant.modules
	}
}

# METADATA
# title: A pattern matches a text
# description: A * at the pattern's end stands for any rest.
matches(pattern, value) if pattern == value

matches(pattern, value) if {
	endswith(pattern, "*")
	startswith(value, trim_suffix(pattern, "*"))
}
