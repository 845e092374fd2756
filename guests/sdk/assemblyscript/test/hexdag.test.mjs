// The AssemblyScript SDK in Node.js, with a host of a few lines in place of the imports.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const tmp = mkdtempSync(join(tmpdir(), "hexdag-as-"));
after(() => rmSync(tmp, { recursive: true }));
const file = join(tmp, "guest.wasm");
execFileSync(process.execPath, [join(here, "../node_modules/assemblyscript/bin/asc.js"), join(here, "guest.ts"), "-O", "--use", "abort=", "-o", file], { cwd: join(here, ".."), stdio: "inherit" });
const module = new WebAssembly.Module(readFileSync(file));

const fields = {
  "0/input/name": [4, "Ann"], "0/input/t": [2, "true"], "0/input/max": [3, "9223372036854775807"], "0/input/min": [3, "-9223372036854775808"],
  "0/input/over": [3, "9223372036854775808"], "0/input/half": [3, "1.5"], "3/code": [4, "busy"], "3/message": [4, "later"], "3/retry_ms": [3, "250"],
};

// serve calls an export, and gives the verdict and what the guest did.
function serve(name, { refuse = () => false, status = 0 } = {}) {
  const did = [];
  let memory;
  const text = (at, len) => Buffer.from(memory.buffer, at, len).toString();
  const give = (high, value, buf, cap) => {
    const bytes = Buffer.from(value);
    if (bytes.length <= cap) bytes.copy(Buffer.from(memory.buffer), buf);
    return (BigInt(high) << 32n) | BigInt(bytes.length);
  };
  const instance = new WebAssembly.Instance(module, {
    hexdag_v1: {
      field: (doc, path, len, buf, cap) => {
        const p = text(path, len);
        return p !== "" && p[0] !== "/" ? -3n : give(...(fields[doc + p] ?? [0, ""]), buf, cap);
      },
      keys: (doc, path, len, buf, cap) => give(4, "/a/b~1c/~01/", buf, cap),
      set: (doc, path, len, kind, val, valLen) => {
        did.push(`set ${doc} ${text(path, len)} ${kind} ${text(val, valLen)}`);
        return refuse(doc) ? -2 : 0;
      },
      body: (doc, offset, buf, cap) => {
        Buffer.from("0123456789").copy(Buffer.from(memory.buffer), buf, Number(offset), Number(offset) + cap);
        return 10n;
      },
      append: () => 0,
      call: (op, len, head, headLen, body, bodyLen) => (did.push(`call ${text(op, len)} ${text(body, bodyLen)}`), status),
      log: () => 0,
      clock: () => 0n,
      random: () => 0,
    },
  });
  memory = instance.exports.memory;
  return { verdict: BigInt.asUintN(64, instance.exports[name](0)), did };
}

test("it imports the ABI alone", () => {
  assert.deepEqual([...new Set(WebAssembly.Module.imports(module).map((i) => i.module))], ["hexdag_v1"]);
});

test("fields", () => {
  const { verdict, did } = serve("fields");
  assert.equal(verdict, 0n);
  assert.deepEqual(did, [
    "set 4 /text 4 Ann", "set 4 /none 2 true", "set 4 /max 3 9223372036854775807", "set 4 /min 3 -9223372036854775808", "set 4 /over 3 7", "set 4 /half 3 1.5",
    "set 4 /t 2 true", "set 4 /keys 4 a,b/c,~1,", "set 4 /escape 4 a~1b~0", "set 4 /status 3 -3", "set 4 /kind 3 0", "set 4 /body 3 2",
  ]);
});

test("verdicts", () => {
  assert.deepEqual(serve("denies"), { verdict: 3n, did: ["set 4  0 ", "set 4 /code 4 c", "set 4 /reason 4 r"] });
  assert.equal(serve("writes").verdict, 1n);
});

test("a refused write is an error, and not a replacement", () => {
  const { verdict, did } = serve("writes", { refuse: (doc) => doc === 0 });
  assert.equal(verdict, 5n);
  assert.deepEqual(did.slice(-2), ["set 4 /code 4 write_failed", "set 4 /reason 4 cannot write /input/name: denied"]);
});

test("calls", () => {
  const { verdict, did } = serve("calls");
  assert.equal(verdict, 0n);
  assert.deepEqual(did.slice(-4), ["set 2 /t 4 orders", "set 2 /n 3 -1", "call a.b xy", "set 4 /code 4 busy"]);
  assert.equal(serve("calls", { status: -10 }).verdict, (250n << 32n) | 4n);
  assert.deepEqual(serve("calls", { status: -2 }).did.slice(-2), ["set 4 /code 4 busy", "set 4 /reason 4 later"]);
});
