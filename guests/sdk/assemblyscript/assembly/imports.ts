// The imports of hexdag_v1: abi/README.md says what each does.

// @ts-ignore: decorator
@external("hexdag_v1", "field")
export declare function field(doc: u32, path: usize, pathLen: u32, buf: usize, cap: u32): i64;
// @ts-ignore: decorator
@external("hexdag_v1", "keys")
export declare function keys(doc: u32, path: usize, pathLen: u32, buf: usize, cap: u32): i64;
// @ts-ignore: decorator
@external("hexdag_v1", "set")
export declare function set(doc: u32, path: usize, pathLen: u32, kind: u32, val: usize, valLen: u32): i32;
// @ts-ignore: decorator
@external("hexdag_v1", "body")
export declare function body(doc: u32, offset: u64, buf: usize, cap: u32): i64;
// @ts-ignore: decorator
@external("hexdag_v1", "append")
export declare function append(doc: u32, ptr: usize, len: u32): i32;
// @ts-ignore: decorator
@external("hexdag_v1", "call")
export declare function call(op: usize, opLen: u32, head: usize, headLen: u32, body: usize, bodyLen: u32): i32;
// @ts-ignore: decorator
@external("hexdag_v1", "log")
export declare function log(level: u32, ptr: usize, len: u32): i32;
// @ts-ignore: decorator
@external("hexdag_v1", "clock")
export declare function clock(id: u32): i64;
// @ts-ignore: decorator
@external("hexdag_v1", "random")
export declare function random(ptr: usize, len: u32): i32;
