// Package moduletest runs cases against a module: one call of an extension point
// each, with a host whose every answer the case gives, and with what has to come of
// it. A case is a file, *.case.json:
//
//	{
//	  "description": "an open breaker denies",
//	  "point": "port_before",
//	  "input": {"op": "llm.complete", "args": {}},      // run is filled in where it is left out
//	  "config": {"failures": 3},
//	  "clock": ["2026-01-02T03:04:05Z"],                // what the module reads, one after the other
//	  "calls": [
//	    {"op": "memory.get", "args": {"key": "breaker/llm.complete"}, "reply": {"found": false, "value": null}},
//	    {"op": "metrics.count", "args": {"name": "opened"}, "error": {"code": "denied", "message": "no"}}
//	  ],
//	  "expect": {"verdict": "deny", "says": "is open", "log": ["warn: open"], "max_fuel": 100000}
//	}
//
// The calls are all that the module may make, in this order, with exactly these
// arguments: another one fails the case, and so does one that is not made. They go
// through a door with the rights that the module's own manifest requests, so a call
// that no host would allow is not allowed here. Of what is expected, only what is
// named is compared: patched and output as JSON values, log as the whole list of
// lines, says as a part of the reason that a verdict gives, max_fuel as a bound.
// A call that ends without a verdict is expected as error, the code that it ends with.
//
// Bodies, the raw bytes beside documents, are body as text or body_base64, of a
// reply reply_body and reply_body_base64. random_base64 is what the module draws.
package moduletest
