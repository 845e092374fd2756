//! The imports of hexdag_v1: abi/README.md says what each does. Elsewhere than in
//! WebAssembly the functions of `stub` stand in for them.
const builtin = @import("builtin");

const wasm = builtin.cpu.arch.isWasm();

const raw = struct {
    extern "hexdag_v1" fn field(doc: u32, path: [*]const u8, path_len: usize, buf: [*]u8, cap: usize) i64;
    extern "hexdag_v1" fn keys(doc: u32, path: [*]const u8, path_len: usize, buf: [*]u8, cap: usize) i64;
    extern "hexdag_v1" fn set(doc: u32, path: [*]const u8, path_len: usize, kind: u32, val: [*]const u8, val_len: usize) i32;
    extern "hexdag_v1" fn body(doc: u32, offset: u64, buf: [*]u8, cap: usize) i64;
    extern "hexdag_v1" fn append(doc: u32, ptr: [*]const u8, len: usize) i32;
    extern "hexdag_v1" fn call(op: [*]const u8, op_len: usize, head: usize, head_len: usize, body: [*]const u8, body_len: usize) i32;
    extern "hexdag_v1" fn log(level: u32, ptr: [*]const u8, len: usize) i32;
    extern "hexdag_v1" fn clock(id: u32) i64;
    extern "hexdag_v1" fn random(ptr: [*]u8, len: usize) i32;
};

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
    return if (wasm) raw.field(doc, path.ptr, path.len, buf.ptr, buf.len) else stub.field(doc, path, buf);
}

pub fn keys(doc: u32, path: []const u8, buf: []u8) i64 {
    return if (wasm) raw.keys(doc, path.ptr, path.len, buf.ptr, buf.len) else stub.keys(doc, path, buf);
}

pub fn set(doc: u32, path: []const u8, kind: u32, value: []const u8) i64 {
    return if (wasm) raw.set(doc, path.ptr, path.len, kind, value.ptr, value.len) else stub.set(doc, path, kind, value);
}

pub fn body(doc: u32, offset: u64, buf: []u8) i64 {
    return if (wasm) raw.body(doc, offset, buf.ptr, buf.len) else stub.body(doc, offset, buf);
}

pub fn append(doc: u32, bytes: []const u8) i64 {
    return if (wasm) raw.append(doc, bytes.ptr, bytes.len) else stub.append(doc, bytes);
}

/// The arguments are the request document.
pub fn call(op: []const u8, bytes: []const u8) i64 {
    return if (wasm) raw.call(op.ptr, op.len, 0, 0, bytes.ptr, bytes.len) else stub.call(op, bytes);
}

pub fn log(level: u32, line: []const u8) i64 {
    return if (wasm) raw.log(level, line.ptr, line.len) else stub.log(level, line);
}

pub fn clock(id: u32) i64 {
    return if (wasm) raw.clock(id) else stub.clock(id);
}

pub fn random(bytes: []u8) i64 {
    return if (wasm) raw.random(bytes.ptr, bytes.len) else stub.random(bytes);
}
