// The probe of the conformance kit, made with the AssemblyScript SDK: see abi/tck/README.md.
import {
  Call, Doc, Kind, Status, config, deny, elapsed, escape, fail, failedWrite, input, log, now, output, proceed, random, replace, reply,
  retryAfter, skip, statusName,
} from "hexdag/assembly";

export function node_before(_: u32): u64 { return play(); }
export function node_after(_: u32): u64 { return play(); }
export function port_before(_: u32): u64 { return play(); }
export function port_after(_: u32): u64 { return play(); }
export function node_run(_: u32): u64 { return play(); }
export function tool_call(_: u32): u64 { return play(); }
export function port_call(_: u32): u64 { return play(); }
export function observe(_: u32): u64 { return play(); }

let remembered: i32 = 0;

// The step under way, and the field that it names.
let step: Doc = config;
let doc: Doc = input;
let at: string = "";

// play does the steps of the configuration, or else of the arguments.
function play(): u64 {
  let steps = config.at("/steps");
  if (steps.kind("") == Kind.ABSENT) steps = input.at("/args/steps");
  const count = steps.count("");
  for (let i = 0; i < count; i++) {
    step = steps.at("/" + i.toString());
    doc = named(param("/doc"));
    at = param("/at");
    const does = param("/do");
    if (does == "continue") return proceed();
    if (does == "replace") return replace();
    if (does == "skip") return skip();
    if (does == "deny") return deny(param("/code"), param("/reason"));
    if (does == "fail") return fail(param("/code"), param("/reason"));
    if (does == "retry") return retryAfter(<u32>step.int("/ms"));
    if (does == "log") log(<i32>step.int("/level"), param("/text"));
    else log(0, act(does));
  }
  return proceed();
}

function param(path: string): string {
  const text = step.text(path);
  return text == null ? "" : text;
}

function named(name: string): Doc {
  if (name == "config") return config;
  if (name == "reply") return reply;
  return name == "output" ? output : input;
}

// act does a step and returns the line to log.
function act(does: string): string {
  if (does == "get" || does == "sum") return get(does == "sum");
  if (does == "kind") return "kind " + kinds[doc.kind(at)];
  if (does == "text") {
    const text = doc.text(at);
    return "text " + (text == null ? "none" : text);
  }
  if (does == "int") return "int " + (doc.int(at, 0) == doc.int(at, 1) ? doc.int(at).toString() : "none");
  if (does == "bool") return "bool " + (doc.bool(at, true) == doc.bool(at, false) ? doc.bool(at).toString() : "none");
  if (does == "keys" || does == "keysum") return keys(does == "keysum");
  if (does == "count") return "count " + doc.count(at).toString();
  if (does == "set") return done(write(doc, at, param("/kind"), param("/value")));
  if (does == "setraw") return done(doc.setBytes(at, kindNamed(param("/kind")), input.body()));
  if (does == "setint") return done(doc.setInt(at, step.int("/value")));
  if (does == "remove") return done(doc.remove(at));
  if (does == "append") return done(output.append(String.UTF8.encode(param("/value"))));
  if (does == "copybody") return done(output.append(doc.body()));
  if (does == "body") return body();
  if (does == "bodyat") return "bytes " + sum(doc.body(step.int("/offset"), <u32>step.int("/size")));
  if (does == "call") return call();
  if (does == "now") return clock("now ", now());
  if (does == "elapsed") return clock("elapsed ", elapsed());
  if (does == "random") {
    const bytes = new ArrayBuffer(<i32>step.int("/size"));
    const status = random(bytes);
    return status == Status.OK ? "random " + sum(bytes) : statusName(status);
  }
  if (does == "escape") return "escape " + escape(param("/value"));
  if (does == "remember") return "remembered " + (++remembered).toString();
  return "no step " + does;
}

function get(short: bool): string {
  const v = doc.get(at);
  if (v.status != Status.OK) return statusName(v.status);
  if (v.kind == Kind.ABSENT) return "absent";
  return kinds[v.kind] + " " + (short ? sum(String.UTF8.encode(v.text)) : v.text);
}

function keys(short: bool): string {
  const names = doc.keys(at);
  if (names == null) return statusName(doc.keysStatus(at));
  const text = names.join(",");
  return "keys " + names.length.toString() + " " + (short ? sum(String.UTF8.encode(text)) : text);
}

// write writes a value with the method for its kind.
function write(to: Doc, path: string, kind: string, value: string): Status {
  if (kind == "string") return to.setText(path, value);
  if (kind == "number") return to.setNumber(path, value);
  if (kind == "json") return to.setJSON(path, value);
  if (kind == "null" && value == "null") return to.setNull(path);
  if (kind == "bool" && (value == "true" || value == "false")) return to.setBool(path, value == "true");
  return to.setValue(path, kindNamed(kind), value);
}

function done(status: Status): string {
  failedWrite(); // the vector says what it wants
  return statusName(status);
}

function body(): string {
  const size = <u32>step.int("/size");
  let pieces = 0, length: u64 = 0, h = start;
  for (;;) {
    const piece = doc.body(length, size);
    if (piece.byteLength == 0) break;
    h = hash(h, piece);
    length += piece.byteLength;
    pieces++;
  }
  return "body " + pieces.toString() + " " + length.toString() + " " + h.toString();
}

function call(): string {
  const c = new Call(param("/op"));
  const n = step.count("/args");
  for (let i = 0; i < n; i++) {
    const arg = "/args/" + i.toString();
    c.arg(param(arg + "/0"), kindNamed(param(arg + "/1")), param(arg + "/2"));
  }
  const status = c.bytes(String.UTF8.encode(param("/body"))).send();
  if (status == Status.OK || step.bool("/short")) return statusName(status);
  const code = reply.text("/code"), message = reply.text("/message");
  return statusName(status) + " " + (code == null ? "" : code) + " " + reply.int("/retry_ms").toString() + " " + (message == null ? "" : message);
}

function clock(name: string, ns: i64): string {
  return ns < 0 ? statusName(<Status>ns) : name + ns.toString();
}

const kinds: string[] = ["absent", "null", "bool", "number", "string", "array", "object", "json"];

function kindNamed(name: string): Kind {
  return max(0, kinds.indexOf(name));
}

// Checksums are FNV-1a of 32 bits.
const start: u32 = 2166136261;

function hash(h: u32, bytes: ArrayBuffer): u32 {
  const view = Uint8Array.wrap(bytes);
  for (let i = 0; i < view.length; i++) h = (h ^ view[i]) * 16777619;
  return h;
}

function sum(bytes: ArrayBuffer): string {
  return bytes.byteLength.toString() + " " + hash(start, bytes).toString();
}
