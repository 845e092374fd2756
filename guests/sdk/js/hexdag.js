// The JavaScript SDK for hexdag guests. A module exports the extension points that it
// serves; 'hexdag build' puts it together with an engine (QuickJS) into WebAssembly:
//
//   import { deny } from "hexdag";
//
//   export function node_before(call) {
//     if ((call.input.text("/message") ?? "").length > 4000) {
//       return deny("too_long", "the message is longer than 4000 characters");
//     }
//   }
//
// Paths are JSON pointers (RFC 6901): "" is the whole document. Fields are read and
// written one by one, in the host's copy. What a handler throws, such as a HostError
// of a write that the host refused, is the verdict error. A handler that returns
// nothing goes on unchanged.

// The imports of hexdag_v1; in native tests, what stands in for them.
const host = () => globalThis.hexdagHost;

export const kinds = ["absent", "null", "bool", "number", "string", "array", "object", "json"];

const statuses = ["ok", "not_found", "denied", "invalid", "limit", "fault", "unsupported", "unavailable", "timeout", "failed", "retry"];

/** Why the host did not do what it was asked. status is its word, as "denied". */
export class HostError extends Error {
  constructor(status, what) {
    super(`${what}: ${statuses[-status] ?? "failed"}`);
    this.name = "HostError";
    this.status = statuses[-status] ?? "failed";
    this.code = this.status;
  }
}

/** A call that did not succeed: the host's code, a message, and retryMs, if the port said when. */
export class CallError extends HostError {
  constructor(status, op) {
    super(status, op);
    this.name = "CallError";
    this.code = reply.text("/code") ?? "";
    this.detail = reply.text("/message") ?? "";
    this.retryMs = Number(reply.int("/retry_ms") ?? 0n);
    if (this.detail) this.message += `: ${this.detail}`;
  }
}

function check(status, what) {
  if (typeof status === "number" && status < 0) throw new HostError(status, what);
  return status;
}

const kindNumber = (kind) => Math.max(0, kinds.indexOf(kind));

/** A JSON document in the host, or a part of one. Paths are relative to it. */
export class Doc {
  #id;
  #root;

  constructor(id, root = "") {
    this.#id = id;
    this.#root = root;
  }

  /** The part of the document at path, whether it is there or not. */
  at(path) {
    return new Doc(this.#id, this.#root + path);
  }

  /** The value at path as {kind, text}: the characters of a string, the JSON text of
   * anything else. kind is "absent" if there is none. */
  raw(path = "") {
    const [kind, text] = check(host().field(this.#id, this.#root + path), `cannot read ${path}`);
    return { kind: kinds[kind], text };
  }

  /** The value at path, parsed; undefined if there is none. Numbers are JavaScript's,
   * which round beyond 2^53: see int and raw. */
  get(path = "") {
    const { kind, text } = this.raw(path);
    if (kind === "absent") return undefined;
    return kind === "string" ? text : JSON.parse(text);
  }

  /** The kind of the value at path; "absent" too if the path is malformed. */
  kind(path = "") {
    const r = host().field(this.#id, this.#root + path);
    return Array.isArray(r) ? kinds[r[0]] : "absent";
  }

  #of(kind, path) {
    const r = host().field(this.#id, this.#root + path);
    return Array.isArray(r) && kinds[r[0]] === kind ? r[1] : undefined;
  }

  /** The string at path, or undefined. */
  text(path = "") {
    return this.#of("string", path);
  }

  /** The integer at path as a BigInt, if 64 bits hold it and it has neither point nor exponent. */
  int(path = "") {
    const text = this.#of("number", path);
    if (text === undefined || !/^-?\d{1,19}$/.test(text)) return undefined;
    const n = BigInt(text);
    return BigInt.asIntN(64, n) === n ? n : undefined;
  }

  /** The number at path as JavaScript has it, or undefined. */
  number(path = "") {
    const text = this.#of("number", path);
    return text === undefined ? undefined : Number(text);
  }

  /** The boolean at path, or undefined. */
  bool(path = "") {
    const text = this.#of("bool", path);
    return text === undefined ? undefined : text === "true";
  }

  /** How many members the object or array at path has, else 0. */
  count(path = "") {
    const r = host().keys(this.#id, this.#root + path);
    return Array.isArray(r) ? r[0] : 0;
  }

  /** The names of the members of the object at path in byte order, or the indexes of the array. */
  keys(path = "") {
    const [, text] = check(host().keys(this.#id, this.#root + path), `cannot list ${path}`);
    return text.split("/").slice(1).map((t) => t.replaceAll("~1", "/").replaceAll("~0", "~"));
  }

  /** Writes a value: what JSON.stringify makes of it, a BigInt as its digits. */
  set(path, value) {
    if (typeof value === "string") return this.setRaw(path, "string", value);
    if (typeof value === "bigint") return this.setRaw(path, "number", value.toString());
    const text = JSON.stringify(value);
    if (text === undefined) throw new TypeError(`cannot write ${typeof value} at ${path}: it is no JSON`);
    return this.setRaw(path, "json", text);
  }

  /** Writes a number as it is spelled, so that no digit is lost. */
  setNumber(path, text) {
    this.setRaw(path, "number", text);
  }

  /** Writes a value of a kind, given as text or as an ArrayBuffer of UTF-8; "json" is JSON text of any kind. */
  setRaw(path, kind, value) {
    check(host().set(this.#id, this.#root + path, kindNumber(kind), value), `cannot write ${this.#root}${path}`);
  }

  /** Removes the member at path. */
  remove(path = "") {
    this.setRaw(path, "absent", "");
  }

  /** At most size raw bytes beside the document, from offset on, as an ArrayBuffer. */
  body(offset = 0, size = Infinity) {
    return check(host().body(this.#id, offset, size), "cannot read the body");
  }

  /** Appends text or an ArrayBuffer to the raw bytes beside the result. */
  append(bytes) {
    check(host().append(this.#id, bytes), "cannot append to the body");
  }
}

/** What the operator configured for this module; absent if nothing. */
export const config = new Doc(1);

const request = new Doc(2);

/** What the last call of a port gave: its answer, or /code, /message and /retry_ms. */
export const reply = new Doc(3);

/** Calls a port's operation, "port.method", with arguments and a body, text or an
 * ArrayBuffer. It needs that capability. Gives the reply; throws a CallError. Arguments
 * are an object, or a list of [path, kind, text], which writes them as setRaw does. */
export function call(op, args = {}, body = "") {
  try {
    if (Array.isArray(args)) for (const [path, kind, text] of args) request.setRaw(path, kind, text);
    else request.set("", args);
  } catch (e) {
    host().set(2, "", 0, ""); // or the next call would send what is left
    throw e;
  }
  const status = host().call(op, body);
  if (status < 0) throw new CallError(status, op);
  return reply;
}

/** A member's name as a token of a path. */
export const escape = (name) => name.replaceAll("~", "~0").replaceAll("/", "~1");

/** Writes a line to the run's log, at level 0 debug, 1 info, 2 warn or 3 error. */
export function log(level, text) {
  host().log(level, text);
}

function clock(id) {
  const ns = host().clock(id);
  if (ns < 0n) throw new HostError(Number(ns), "cannot read the clock");
  return ns;
}

/** The wall clock in nanoseconds since 1970, a BigInt. It needs the capability clock.read. */
export const now = () => clock(0);

/** The nanoseconds since the start of the run, a BigInt. It needs the capability clock.read. */
export const elapsed = () => clock(1);

/** Random bytes, at most 64 KiB, as an ArrayBuffer. It needs the capability random.read. */
export const random = (size) => check(host().random(size), "cannot draw random bytes");

/** Go on unchanged. For a node's body or a tool: done, the result is what it gives. */
export const proceed = () => [0, 0];

/** Go on with what the guest patched. */
export const replace = () => [1, 0];

/** Of a before-hook: do not run what is hooked, the result is what it gives. */
export const skip = () => [2, 0];

/** Refuse, with a code for programs and a reason for people. */
export const deny = (code, reason) => explain(3, code, reason);

/** Try again after so many milliseconds. */
export const retryAfter = (milliseconds) => [4, milliseconds];

/** The guest could not do its work. */
export const fail = (code, reason) => explain(5, code, reason);

// The output is made anew, so that no half-made result goes out with a refusal. What
// the host then refuses leaves the verdict as it is.
function explain(verdict, code, reason) {
  host().set(4, "", 0, "");
  host().set(4, "/code", kindNumber("string"), code);
  host().set(4, "/reason", kindNumber("string"), reason);
  return [verdict, 0];
}

/** What a handler gets. Which parts there are depends on the extension point. */
export class Call {
  /** The whole message, and the raw bytes beside it. */
  payload = new Doc(0);
  /** The run's identity and usage: /run_id, /tenant, /usage/input_tokens, ... */
  run = new Doc(0, "/run");
  /** A node's input. A hook before a node may patch it. */
  input = new Doc(0, "/input");
  /** What a node gave, absent if it failed. A hook after a node may patch it. */
  output = new Doc(0, "/output");
  /** The arguments of a port call, a tool or an operation. A hook before a port call may patch them. */
  args = new Doc(0, "/args");
  /** What a port answered, absent if it failed. A hook after a port call may patch it. */
  reply = new Doc(0, "/reply");
  /** Why it failed: /code and /message; absent if it did not. */
  problem = new Doc(0, "/error");
  /** The event that observe is told of, a CloudEvent: /subject is its topic; /id, /type, /data, ... */
  event = new Doc(0, "/event");
  /** Where a body, a tool, an operation of a port or a hook that skips puts what it gives. */
  result = new Doc(4);

  /** The node's name, the operation, the tool or the event's topic. */
  get name() {
    return ["/node/name", "/op", "/tool", "/event/subject"].map((path) => this.payload.text(path)).find((name) => name !== undefined) ?? "";
  }

  /** Counts from 1 how often a node, a port call or the delivery of an event has been tried. */
  get attempt() {
    return this.payload.number("/attempt") ?? this.payload.number("/node/attempt") ?? 1;
  }
}

/** Runs a handler as an export does, and gives [verdict, argument]. The engine calls it. */
export function serve(point, handler) {
  try {
    if (typeof handler !== "function") return fail("no_handler", `the module exports no function ${point}`);
    return handler(new Call()) ?? proceed();
  } catch (e) {
    if (e instanceof CallError && e.status === "retry") return retryAfter(e.retryMs);
    return fail(e?.code || "exception", String(e?.message ?? e));
  }
}
