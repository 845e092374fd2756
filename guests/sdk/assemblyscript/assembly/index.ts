// The AssemblyScript SDK for hexdag guests. A module exports the extension points
// that it serves:
//
//   import { deny, input, proceed } from "hexdag/assembly";
//
//   export function node_before(_: u32): u64 {
//     const message = input.text("/input/message");
//     if (message != null && message.length > 4000) {
//       return deny("too_long", "the message is longer than 4000 characters");
//     }
//     return proceed();
//   }

import { Doc, failedWrite } from "./doc";
import * as host from "./imports";
import { Kind, Level, Status, statusName } from "./types";

export { Doc, Value, escape, failedWrite } from "./doc";
export { Kind, Level, Status, statusName } from "./types";

/** The payload, and the raw bytes beside it. A hook may patch /input before a node,
 * /output after it, /args before a port call and /reply after it. */
export const input = new Doc(0);

/** What the operator configured for this module; absent if nothing. */
export const config = new Doc(1);

const request = new Doc(2);

/** What the last call of a port gave: its answer, or /code, /message and /retry_ms. */
export const reply = new Doc(3);

/** What a node's body, a tool or a hook that skips gives. */
export const output = new Doc(4);

/** A call of a port's operation in the making. It needs that capability.
 *
 *   if (new Call("database.query").text("/table", "orders").send() == Status.OK) reply.get("/rows") */
export class Call {
  private body: ArrayBuffer = new ArrayBuffer(0);
  private status: Status = Status.OK;

  constructor(private op: string) {
    request.remove("");
    failedWrite();
  }

  /** Adds an argument: the characters of a string, the JSON text of anything else. */
  arg(path: string, kind: Kind, text: string): Call {
    if (this.status == Status.OK) {
      this.status = request.setValue(path, kind, text);
      if (this.status != Status.OK) failedWrite(); // send says so
    }
    return this;
  }

  text(path: string, value: string): Call {
    return this.arg(path, Kind.STRING, value);
  }

  int(path: string, value: i64): Call {
    return this.arg(path, Kind.NUMBER, value.toString());
  }

  bool(path: string, value: bool): Call {
    return this.arg(path, Kind.BOOL, value ? "true" : "false");
  }

  json(path: string, text: string): Call {
    return this.arg(path, Kind.JSON, text);
  }

  /** Puts raw bytes beside the arguments. */
  bytes(body: ArrayBuffer): Call {
    this.body = body;
    return this;
  }

  /** Makes the call. With Status.OK the answer is in reply, else the error. */
  send(): Status {
    if (this.status != Status.OK) {
      request.remove(""); // or the next call would send what is left
      failedWrite();
      return this.status;
    }
    const op = String.UTF8.encode(this.op);
    return host.call(changetype<usize>(op), op.byteLength, 0, 0, changetype<usize>(this.body), this.body.byteLength);
  }
}

/** Writes a line to the run's log. What is over the host's limits is dropped. */
export function log(level: Level, text: string): void {
  const line = String.UTF8.encode(text);
  host.log(level, changetype<usize>(line), line.byteLength);
}

/** The wall clock in nanoseconds since 1970, or a status. It needs the capability clock.read. */
export function now(): i64 {
  return host.clock(0);
}

/** The nanoseconds since the start of the run, or a status. It needs the capability clock.read. */
export function elapsed(): i64 {
  return host.clock(1);
}

/** Fills bytes, at most 64 KiB. It needs the capability random.read. */
export function random(bytes: ArrayBuffer): Status {
  return host.random(changetype<usize>(bytes), bytes.byteLength);
}

/** Go on unchanged. For a node's body or a tool: done, output is what it gives. */
export function proceed(): u64 {
  return decide(0);
}

/** Go on with what the guest patched. */
export function replace(): u64 {
  return decide(1);
}

/** Of a before-hook: do not run what is hooked, output is what it gives. */
export function skip(): u64 {
  return decide(2);
}

/** Refuse, with a code for programs and a reason for people. */
export function deny(code: string, reason: string): u64 {
  return explain(3, code, reason);
}

/** Try again after so many milliseconds. */
export function retryAfter(milliseconds: u32): u64 {
  failedWrite();
  return ((<u64>milliseconds) << 32) | 4;
}

/** The guest could not do its work. */
export function fail(code: string, reason: string): u64 {
  return explain(5, code, reason);
}

/** The verdict for a call that did not succeed: retryAfter if it says when, else fail. */
export function failed(status: Status): u64 {
  if (status == Status.RETRY) return retryAfter(<u32>reply.int("/retry_ms"));
  const code = reply.text("/code"), message = reply.text("/message");
  return fail(code == null ? statusName(status) : code, message == null ? "" : message);
}

function decide(verdict: u64): u64 {
  const failure = failedWrite();
  return failure == "" ? verdict : explain(5, "write_failed", failure);
}

// The output is made anew, so that no half-made result goes out with a refusal.
function explain(verdict: u64, code: string, reason: string): u64 {
  output.remove("");
  output.setText("/code", code);
  output.setText("/reason", reason);
  failedWrite();
  return verdict;
}
