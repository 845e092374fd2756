import * as host from "./imports";
import { Kind, Status, statusName } from "./types";

/** A field as the host gives it: the characters of a string, the JSON text of anything else. */
export class Value {
  constructor(
    /** Its kind; ABSENT too if there is a status. */
    public kind: Kind,
    public text: string,
    public status: Status = Status.OK,
  ) {}
}

// What most texts fit in, so that one call of the host reads them.
const scratchSize: u32 = 4096;
const scratch: usize = memory.data(4096);

// The first write that the host refused in this call.
let refused: string = "";

/** Returns the first write that failed in this call, "" if none did, and forgets it:
 * from then on it is the caller's to handle. A failure that stays makes the verdict
 * an error, so that a patch that did not happen is never taken for one that did. */
export function failedWrite(): string {
  const what = refused;
  refused = "";
  return what;
}

/** A JSON document in the host, or a part of one. Its paths are JSON pointers (RFC
 * 6901) relative to it: "" is the whole, "/a/0" the first of a. */
export class Doc {
  constructor(private id: u32, private root: string = "") {}

  /** The part of the document at path, whether it is there or not. */
  at(path: string): Doc {
    return new Doc(this.id, this.root + path);
  }

  /** The value at path, of Kind.ABSENT if there is none. */
  get(path: string): Value {
    const p = String.UTF8.encode(this.root + path);
    const at = changetype<usize>(p), len = <u32>p.byteLength;
    let r = host.field(this.id, at, len, scratch, scratchSize);
    if (r < 0) return new Value(Kind.ABSENT, "", <Status>r);
    const size = <u32>r;
    if (size <= scratchSize) return new Value(<Kind>(r >> 32), String.UTF8.decodeUnsafe(scratch, size));
    const buf = new ArrayBuffer(size);
    r = host.field(this.id, at, len, changetype<usize>(buf), size);
    return new Value(<Kind>(r >> 32), String.UTF8.decode(buf));
  }

  /** The kind of the value at path; ABSENT too if the path is malformed. */
  kind(path: string): Kind {
    const p = String.UTF8.encode(this.root + path);
    const r = host.field(this.id, changetype<usize>(p), p.byteLength, 0, 0);
    return r < 0 ? Kind.ABSENT : <Kind>(r >> 32);
  }

  /** The string at path, or null if there is no string. */
  text(path: string): string | null {
    const v = this.get(path);
    return v.kind == Kind.STRING ? v.text : null;
  }

  /** The integer at path, or otherwise if there is none of 64 bits. */
  int(path: string, otherwise: i64 = 0): i64 {
    const v = this.get(path);
    return v.kind == Kind.NUMBER ? parseInt64(v.text, otherwise) : otherwise;
  }

  /** The number at path, or otherwise if there is none. */
  float(path: string, otherwise: f64 = NaN): f64 {
    const v = this.get(path);
    return v.kind == Kind.NUMBER ? parseFloat(v.text) : otherwise;
  }

  /** The boolean at path, or otherwise if there is none. */
  bool(path: string, otherwise: bool = false): bool {
    const v = this.get(path);
    return v.kind == Kind.BOOL ? v.text == "true" : otherwise;
  }

  /** How many members the object or array at path has, else 0. */
  count(path: string): i32 {
    const p = String.UTF8.encode(this.root + path);
    const r = host.keys(this.id, changetype<usize>(p), p.byteLength, 0, 0);
    return r < 0 ? 0 : <i32>(r >> 32);
  }

  /** The names of the members of the object at path in byte order, or the indexes of
   * the array; null for any other kind, and where there is nothing. */
  keys(path: string): string[] | null {
    return this.keysStatus(path) == Status.OK ? splitTokens(listed) : null;
  }

  /** Why keys gives null. */
  keysStatus(path: string): Status {
    const p = String.UTF8.encode(this.root + path);
    const at = changetype<usize>(p), len = <u32>p.byteLength;
    let r = host.keys(this.id, at, len, scratch, scratchSize);
    if (r < 0) return <Status>r;
    const size = <u32>r;
    if (size <= scratchSize) {
      listed = String.UTF8.decodeUnsafe(scratch, size);
      return Status.OK;
    }
    const buf = new ArrayBuffer(size);
    r = host.keys(this.id, at, len, changetype<usize>(buf), size);
    listed = String.UTF8.decode(buf);
    return Status.OK;
  }

  /** Writes a string. */
  setText(path: string, value: string): Status {
    return this.setValue(path, Kind.STRING, value);
  }

  /** Writes an integer. */
  setInt(path: string, value: i64): Status {
    return this.setValue(path, Kind.NUMBER, value.toString());
  }

  /** Writes a number. JSON has no infinities and no NaN: they are invalid. */
  setFloat(path: string, value: f64): Status {
    return this.setValue(path, Kind.NUMBER, value.toString());
  }

  /** Writes a number as it is spelled, so that no digit is lost. */
  setNumber(path: string, text: string): Status {
    return this.setValue(path, Kind.NUMBER, text);
  }

  /** Writes a boolean. */
  setBool(path: string, value: bool): Status {
    return this.setValue(path, Kind.BOOL, value ? "true" : "false");
  }

  /** Writes null. */
  setNull(path: string): Status {
    return this.setValue(path, Kind.NULL, "null");
  }

  /** Writes any value, given as JSON text. */
  setJSON(path: string, text: string): Status {
    return this.setValue(path, Kind.JSON, text);
  }

  /** Writes a value of a kind, as get gives it. */
  setValue(path: string, kind: Kind, text: string): Status {
    return this.setBytes(path, kind, String.UTF8.encode(text));
  }

  /** Writes a value of a kind, given as bytes of UTF-8. */
  setBytes(path: string, kind: Kind, bytes: ArrayBuffer): Status {
    const p = String.UTF8.encode(this.root + path);
    const status: Status = host.set(this.id, changetype<usize>(p), p.byteLength, kind, changetype<usize>(bytes), bytes.byteLength);
    return this.note(path, status);
  }

  /** Removes the member at path. */
  remove(path: string): Status {
    return this.setBytes(path, Kind.ABSENT, new ArrayBuffer(0));
  }

  private note(path: string, status: Status): Status {
    if (status != Status.OK && refused == "") refused = "cannot write " + this.root + path + ": " + statusName(status);
    return status;
  }

  /** The number of raw bytes beside the document. */
  bodySize(): i64 {
    return max(host.body(this.id, 0, 0, 0), 0);
  }

  /** At most size raw bytes beside the document, from offset on. */
  body(offset: u64 = 0, size: u32 = u32.MAX_VALUE): ArrayBuffer {
    const total = <u64>this.bodySize();
    if (offset >= total) return new ArrayBuffer(0);
    const buf = new ArrayBuffer(<i32>min(total - offset, <u64>size));
    host.body(this.id, offset, changetype<usize>(buf), buf.byteLength);
    return buf;
  }

  /** Appends to the raw bytes beside the result. */
  append(bytes: ArrayBuffer): Status {
    return this.note("(body)", host.append(this.id, changetype<usize>(bytes), bytes.byteLength));
  }
}

// What the last keysStatus listed.
let listed: string = "";

function splitTokens(text: string): string[] {
  if (text == "") return [];
  const tokens = text.substring(1).split("/");
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i].includes("~")) tokens[i] = tokens[i].replaceAll("~1", "/").replaceAll("~0", "~");
  }
  return tokens;
}

/** A member's name as a token of a path. */
export function escape(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}

// i64.parse would wrap what is too large.
function parseInt64(text: string, otherwise: i64): i64 {
  const negative = text.startsWith("-");
  const most: u64 = <u64>i64.MAX_VALUE + (negative ? 1 : 0);
  let sum: u64 = 0;
  for (let i = negative ? 1 : 0; i < text.length; i++) {
    const digit = <u64>(text.charCodeAt(i) - 48);
    if (digit > 9 || sum > (most - digit) / 10) return otherwise;
    sum = sum * 10 + digit;
  }
  return negative ? <i64>(0 - sum) : <i64>sum;
}
