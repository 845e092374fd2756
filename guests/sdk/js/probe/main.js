// The probe of the conformance kit, made with the JavaScript SDK: see abi/tck/README.md.
import * as hexdag from "hexdag";

export const node_before = play;
export const node_after = play;
export const port_before = play;
export const port_after = play;
export const node_run = play;
export const tool_call = play;
export const port_call = play;
export const observe = play;

let remembered = 0;

// play does the steps of the configuration, or else of the arguments.
function play(call) {
  let steps = hexdag.config.at("/steps");
  if (steps.kind() === "absent") steps = call.args.at("/steps");
  for (let i = 0, n = steps.count(); i < n; i++) {
    const step = steps.at(`/${i}`);
    const text = (path) => step.text(path) ?? "";
    const documents = { input: call.payload, config: hexdag.config, reply: hexdag.reply, output: call.result };
    const p = { call, step, text, number: (path) => Number(step.int(path) ?? 0n), doc: documents[text("/doc")], at: text("/at") };
    const does = text("/do");
    if (does in verdicts) return verdicts[does](p);
    const line = said(p, does);
    if (line !== undefined) hexdag.log(0, line);
  }
}

const verdicts = {
  continue: () => hexdag.proceed(),
  replace: () => hexdag.replace(),
  skip: () => hexdag.skip(),
  deny: (p) => hexdag.deny(p.text("/code"), p.text("/reason")),
  fail: (p) => hexdag.fail(p.text("/code"), p.text("/reason")),
  retry: (p) => hexdag.retryAfter(p.number("/ms")),
};

// said does a step and returns the line to log.
function said(p, does) {
  try {
    return steps[does](p);
  } catch (e) {
    if (e instanceof hexdag.CallError && !p.step.bool("/short")) return `${e.status} ${e.code} ${e.retryMs} ${e.detail}`;
    if (e instanceof hexdag.HostError) return e.status;
    throw e;
  }
}

const steps = {
  get: ({ doc, at }) => {
    const { kind, text } = doc.raw(at);
    return kind === "absent" ? kind : `${kind} ${text}`;
  },
  sum: ({ doc, at }) => {
    const { kind, text } = doc.raw(at);
    return `${kind} ${sum(utf8(text))}`;
  },
  kind: ({ doc, at }) => `kind ${doc.kind(at)}`,
  text: ({ doc, at }) => `text ${doc.text(at) ?? "none"}`,
  int: ({ doc, at }) => `int ${doc.int(at) ?? "none"}`,
  bool: ({ doc, at }) => `bool ${doc.bool(at) ?? "none"}`,
  keys: ({ doc, at }) => {
    const names = doc.keys(at);
    return `keys ${names.length} ${names.join(",")}`;
  },
  keysum: ({ doc, at }) => {
    const names = doc.keys(at);
    return `keys ${names.length} ${sum(utf8(names.join(",")))}`;
  },
  count: ({ doc, at }) => `count ${doc.count(at)}`,
  set: (p) => done(write(p.doc, p.at, p.text("/kind"), p.text("/value"))),
  setraw: (p) => done(p.doc.setRaw(p.at, p.text("/kind"), p.call.payload.body())),
  setint: (p) => done(p.doc.set(p.at, p.step.int("/value"))),
  remove: ({ doc, at }) => done(doc.remove(at)),
  append: (p) => done(p.call.result.append(p.text("/value"))),
  copybody: (p) => done(p.call.result.append(p.doc.body())),
  body: (p) => {
    let pieces = 0, length = 0, h = start;
    for (;;) {
      const piece = p.doc.body(length, p.number("/size"));
      if (piece.byteLength === 0) return `body ${pieces} ${length} ${h}`;
      h = hash(h, new Uint8Array(piece));
      length += piece.byteLength;
      pieces++;
    }
  },
  bodyat: (p) => `bytes ${sum(new Uint8Array(p.doc.body(p.number("/offset"), p.number("/size"))))}`,
  call: (p) => {
    const args = [];
    for (let i = 0, n = p.step.count("/args"); i < n; i++) args.push([0, 1, 2].map((j) => p.text(`/args/${i}/${j}`)));
    hexdag.call(p.text("/op"), args, p.text("/body"));
    return "ok";
  },
  log: (p) => hexdag.log(p.number("/level"), p.text("/text")),
  now: () => `now ${hexdag.now()}`,
  elapsed: () => `elapsed ${hexdag.elapsed()}`,
  random: (p) => `random ${sum(new Uint8Array(hexdag.random(p.number("/size"))))}`,
  escape: (p) => `escape ${hexdag.escape(p.text("/value"))}`,
  remember: () => `remembered ${++remembered}`,
};

const done = () => "ok";

// write writes a value with the method that suits its kind.
function write(doc, at, kind, value) {
  if (kind === "string") doc.set(at, value);
  else if (kind === "number") doc.setNumber(at, value);
  else if (kind === "bool" && (value === "true" || value === "false")) doc.set(at, value === "true");
  else if (kind === "null" && value === "null") doc.set(at, null);
  else doc.setRaw(at, kind, value);
}

// Checksums are FNV-1a of 32 bits.
const start = 2166136261;

function hash(h, bytes) {
  for (const b of bytes) h = Math.imul(h ^ b, 16777619) >>> 0;
  return h;
}

const sum = (bytes) => `${bytes.length} ${hash(start, bytes)}`;

// utf8 is what TextEncoder does, which the engine does not have.
function utf8(text) {
  const bytes = [];
  for (const character of text) {
    const c = character.codePointAt(0);
    if (c < 0x80) bytes.push(c);
    else if (c < 0x800) bytes.push(0xc0 | (c >> 6), 0x80 | (c & 63));
    else if (c < 0x10000) bytes.push(0xe0 | (c >> 12), 0x80 | ((c >> 6) & 63), 0x80 | (c & 63));
    else bytes.push(0xf0 | (c >> 18), 0x80 | ((c >> 12) & 63), 0x80 | ((c >> 6) & 63), 0x80 | (c & 63));
  }
  return bytes;
}
