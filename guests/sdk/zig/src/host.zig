//! The imports of hexdag_v1: abi/README.md says what each does. Elsewhere than in
//! WebAssembly the functions of `stub` stand in for them.
const builtin = @import("builtin");

const wasm = builtin.cpu.arch.isWasm();

const raw = struct {
    extern "hexdag_v1" fn field(doc: u32, path: usize, path_len: usize, buf: usize, cap: usize) i64;
    extern "hexdag_v1" fn keys(doc: u32, path: usize, path_len: usize, buf: usize, cap: usize) i64;
    extern "hexdag_v1" fn set(doc: u32, path: usize, path_len: usize, kind: u32, val: usize, val_len: usize) i32;
    extern "hexdag_v1" fn body(doc: u32, offset: u64, buf: usize, cap: usize) i64;
    extern "hexdag_v1" fn append(doc: u32, ptr: usize, len: usize) i32;
    extern "hexdag_v1" fn call(op: usize, op_len: usize, head: usize, head_len: usize, body: usize, body_len: usize) i32;
    extern "hexdag_v1" fn log(level: u32, ptr: usize, len: usize) i32;
    extern "hexdag_v1" fn clock(id: u32) i64;
    extern "hexdag_v1" fn random(ptr: usize, len: usize) i32;
};

/// Where bytes are. Empty slices may have an address outside of memory: hosts take 0 for those.
fn at(bytes: []const u8) usize {
    return if (bytes.len == 0) 0 else @intFromPtr(bytes.ptr);
}

/// What native tests put in place of the host. What is not there says unsupported.
pub const Stub = struct {
    field: *const fn (doc: u32, path: []const u8, buf: []u8) i64 = noField,
    keys: *const fn (doc: u32, path: []const u8, buf: []u8) i64 = noField,
    set: *const fn (doc: u32, path: []const u8, kind: u32, value: []const u8) i64 = noSet,
    body: *const fn (doc: u32, offset: u64, buf: []u8) i64 = noBody,
    append: *const fn (doc: u32, bytes: []const u8) i64 = noAppend,
    call: *const fn (op: []const u8, bytes: []const u8) i64 = noCall,
    log: *const fn (level: u32, line: []const u8) i64 = noAppend,
    clock: *const fn (id: u32) i64 = noClock,
    random: *const fn (bytes: []u8) i64 = noRandom,
};

pub var stub: Stub = .{};

const unsupported = -6;

fn noField(_: u32, _: []const u8, _: []u8) i64 {
    return unsupported;
}
fn noSet(_: u32, _: []const u8, _: u32, _: []const u8) i64 {
    return unsupported;
}
fn noBody(_: u32, _: u64, _: []u8) i64 {
    return unsupported;
}
fn noAppend(_: u32, _: []const u8) i64 {
    return unsupported;
}
fn noCall(_: []const u8, _: []const u8) i64 {
    return unsupported;
}
fn noClock(_: u32) i64 {
    return unsupported;
}
fn noRandom(_: []u8) i64 {
    return unsupported;
}

pub fn field(doc: u32, path: []const u8, buf: []u8) i64 {
    return if (wasm) raw.field(doc, at(path), path.len, at(buf), buf.len) else stub.field(doc, path, buf);
}

pub fn keys(doc: u32, path: []const u8, buf: []u8) i64 {
    return if (wasm) raw.keys(doc, at(path), path.len, at(buf), buf.len) else stub.keys(doc, path, buf);
}

pub fn set(doc: u32, path: []const u8, kind: u32, value: []const u8) i64 {
    return if (wasm) raw.set(doc, at(path), path.len, kind, at(value), value.len) else stub.set(doc, path, kind, value);
}

pub fn body(doc: u32, offset: u64, buf: []u8) i64 {
    return if (wasm) raw.body(doc, offset, at(buf), buf.len) else stub.body(doc, offset, buf);
}

pub fn append(doc: u32, bytes: []const u8) i64 {
    return if (wasm) raw.append(doc, at(bytes), bytes.len) else stub.append(doc, bytes);
}

/// The arguments are the request document.
pub fn call(op: []const u8, bytes: []const u8) i64 {
    return if (wasm) raw.call(at(op), op.len, 0, 0, at(bytes), bytes.len) else stub.call(op, bytes);
}

pub fn log(level: u32, line: []const u8) i64 {
    return if (wasm) raw.log(level, at(line), line.len) else stub.log(level, line);
}

pub fn clock(id: u32) i64 {
    return if (wasm) raw.clock(id) else stub.clock(id);
}

pub fn random(bytes: []u8) i64 {
    return if (wasm) raw.random(at(bytes), bytes.len) else stub.random(bytes);
}
