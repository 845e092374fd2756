// The JavaScript SDK natively, in Node.js, with a host of a few lines in place of the imports.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import * as hexdag from "../hexdag.js";

const NUMBER = 3, STRING = 4, OBJECT = 6;

let did, fields, refuse, status;

beforeEach(() => {
  did = [];
  refuse = () => false;
  status = 0;
  fields = {
    "0/input/name": [STRING, "Ann"], "0/n/big": [NUMBER, "9007199254740993"], "0/n/over": [NUMBER, "9223372036854775808"], "0/n/min": [NUMBER, "-9223372036854775808"],
    "0/n/float": [NUMBER, "1.5"], "0/o": [OBJECT, '{"a":[1]}'], "0/t": [2, "true"], "0/z": [1, "null"], "3/code": [STRING, "busy"], "3/message": [STRING, "later"], "3/retry_ms": [NUMBER, "250"],
  };
  globalThis.hexdagHost = {
    field: (doc, path) => (path !== "" && path[0] !== "/" ? -3 : fields[doc + path] ?? [0, ""]),
    keys: (doc, path) => (path === "/o" ? [4, "/a/b~1c/~01/"] : -1),
    set: (doc, path, kind, value) => {
      did.push(["set", doc, path, kind, value]);
      return refuse(doc, path) ? -2 : 0;
    },
    body: (doc, offset, size) => new TextEncoder().encode("0123456789").slice(offset, offset + size).buffer,
    append: (doc, bytes) => (did.push(["append", doc, bytes]), 0),
    call: (op, body) => (did.push(["call", op, body]), status),
    log: (level, text) => (did.push(["log", level, text]), 0),
    clock: (id) => (id === 0 ? 9007199254740993n : -2n),
    random: (size) => (size > 65536 ? -4 : new ArrayBuffer(size)),
  };
});

const input = () => new hexdag.Doc(0);

test("fields", () => {
  const d = input();
  assert.equal(d.text("/input/name"), "Ann");
  assert.equal(d.at("/input").text("/name"), "Ann");
  assert.equal(d.text("/t"), undefined);
  assert.equal(d.int("/n/big"), 9007199254740993n);
  assert.equal(d.int("/n/min"), -9223372036854775808n);
  assert.equal(d.int("/n/over"), undefined);
  assert.equal(d.int("/n/float"), undefined);
  assert.equal(d.number("/n/float"), 1.5);
  assert.equal(d.bool("/t"), true);
  assert.equal(d.bool("/z"), undefined);
  assert.deepEqual(d.get("/o"), { a: [1] });
  assert.equal(d.get("/z"), null);
  assert.equal(d.get("/no"), undefined);
  assert.equal(d.kind("/no"), "absent");
  assert.equal(d.kind("bad"), "absent");
  assert.deepEqual(d.keys("/o"), ["a", "b/c", "~1", ""]);
  assert.equal(d.count("/o"), 4);
  assert.equal(d.count("/no"), 0);
  assert.throws(() => d.get("bad"), { name: "HostError", status: "invalid" });
  assert.throws(() => d.keys("/no"), { status: "not_found" });
  assert.equal(hexdag.escape("a/b~"), "a~1b~0");
  assert.equal(d.body(8, 5).byteLength, 2);
});

test("writes", () => {
  const d = new hexdag.Doc(4);
  d.set("/s", "null");
  d.set("/n", 9007199254740993n);
  d.set("/o", { a: [true, null] });
  d.remove("/x");
  assert.deepEqual(did, [["set", 4, "/s", 4, "null"], ["set", 4, "/n", 3, "9007199254740993"], ["set", 4, "/o", 7, '{"a":[true,null]}'], ["set", 4, "/x", 0, ""]]);
  assert.throws(() => d.set("/f", () => 1), TypeError);
});

test("a handler", () => {
  assert.deepEqual(hexdag.serve("node_before", (call) => {
    assert.equal(call.input.text("/name"), "Ann");
    return hexdag.deny("ann", "not Ann");
  }), [3, 0]);
  assert.deepEqual(did, [["set", 4, "", 0, ""], ["set", 4, "/code", 4, "ann"], ["set", 4, "/reason", 4, "not Ann"]]);
  assert.deepEqual(hexdag.serve("node_before", () => {}), [0, 0]);
  assert.deepEqual(hexdag.serve("node_before", () => hexdag.retryAfter(250)), [4, 250]);
  assert.deepEqual(hexdag.serve("node_before", undefined), [5, 0]);
});

test("a refused write is an error, and not a replacement", () => {
  refuse = (doc) => doc === 0;
  assert.deepEqual(hexdag.serve("node_before", (call) => {
    call.input.set("/name", "x");
    return hexdag.replace();
  }), [5, 0]);
  assert.deepEqual(did.slice(-2), [["set", 4, "/code", 4, "denied"], ["set", 4, "/reason", 4, "cannot write /input/name: denied"]]);
});

test("calls", () => {
  assert.equal(hexdag.call("a.b", { n: 1 }, "body").text("/code"), "busy");
  assert.deepEqual(did, [["set", 2, "", 7, '{"n":1}'], ["call", "a.b", "body"]]);
  status = -10;
  assert.throws(() => hexdag.call("a.b"), { name: "CallError", status: "retry", code: "busy", retryMs: 250, message: "a.b: retry: later" });
  assert.deepEqual(hexdag.serve("tool_call", () => hexdag.call("a.b")), [4, 250]);
});

test("an event", () => {
  Object.assign(fields, { "0/event/subject": [STRING, "orders.paid"], "0/event/id": [STRING, "e-1"], "0/event/data/n": [NUMBER, "7"], "0/attempt": [NUMBER, "2"] });
  assert.deepEqual(hexdag.serve("observe", (call) => {
    assert.equal(call.name, "orders.paid");
    assert.equal(call.event.text("/id"), "e-1");
    assert.equal(call.event.int("/data/n"), 7n);
    assert.equal(call.attempt, 2);
  }), [0, 0]);
});

test("names and attempts", () => {
  const call = new hexdag.Call();
  assert.equal(call.name, "");
  assert.equal(call.attempt, 1);
  fields["0/node/name"] = [STRING, "ask"];
  fields["0/node/attempt"] = [NUMBER, "3"];
  assert.equal(call.name, "ask");
  assert.equal(call.attempt, 3);
});

test("an argument that cannot be written leaves no request behind", () => {
  refuse = (doc, path) => path === "/b";
  assert.throws(() => hexdag.call("a.b", [["/a", "number", "1"], ["/b", "number", "x"]]), { status: "denied" });
  assert.deepEqual(did.at(-1), ["set", 2, "", 0, ""]);
});

test("services", () => {
  assert.equal(hexdag.now(), 9007199254740993n);
  assert.throws(() => hexdag.elapsed(), { status: "denied" });
  assert.equal(hexdag.random(16).byteLength, 16);
  assert.throws(() => hexdag.random(70000), { status: "limit" });
  hexdag.log(2, "w");
  assert.deepEqual(did, [["log", 2, "w"]]);
});
