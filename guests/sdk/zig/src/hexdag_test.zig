//! The SDK natively, with a host of a few lines in place of the imports:
//!
//!     zig test src/hexdag_test.zig
const std = @import("std");
const hexdag = @import("hexdag.zig");
const points = @import("points.zig");

const equal = std.testing.expectEqual;
const same = std.testing.expectEqualStrings;

const Field = struct { doc: u32, path: []const u8, kind: hexdag.Kind, text: []const u8 };

const fields = [_]Field{
    .{ .doc = 0, .path = "/input/name", .kind = .string, .text = "Ann" },
    .{ .doc = 0, .path = "/input/max", .kind = .number, .text = "9223372036854775807" },
    .{ .doc = 0, .path = "/input/over", .kind = .number, .text = "9223372036854775808" },
    .{ .doc = 0, .path = "/input/half", .kind = .number, .text = "1.5" },
    .{ .doc = 0, .path = "/input/t", .kind = .bool, .text = "true" },
    .{ .doc = 0, .path = "/input/long", .kind = .string, .text = &@as([5000]u8, @splat('x')) },
    .{ .doc = 0, .path = "/event/subject", .kind = .string, .text = "orders.paid" },
    .{ .doc = 0, .path = "/event/data/n", .kind = .number, .text = "7" },
    .{ .doc = 0, .path = "/attempt", .kind = .number, .text = "2" },
    .{ .doc = 3, .path = "/code", .kind = .string, .text = "busy" },
};

var did_buf: [512]u8 = undefined;
var did_len: usize = 0;
var refuse: []const u8 = "nothing";
var call_status: i64 = 0;

fn note(comptime format: []const u8, args: anytype) void {
    did_len += (std.fmt.bufPrint(did_buf[did_len..], format, args) catch unreachable).len;
}

fn did() []const u8 {
    defer did_len = 0;
    return did_buf[0..did_len];
}

fn field(doc: u32, path: []const u8, buf: []u8) i64 {
    if (path.len > 0 and path[0] != '/') return -3;
    for (fields) |f| {
        if (f.doc != doc or !std.mem.eql(u8, f.path, path)) continue;
        if (f.text.len <= buf.len) @memcpy(buf[0..f.text.len], f.text);
        return @as(i64, @intFromEnum(f.kind)) << 32 | @as(i64, @intCast(f.text.len));
    }
    return 0;
}

fn keys(_: u32, path: []const u8, buf: []u8) i64 {
    const names = "/a/b~1c/~01/";
    if (!std.mem.eql(u8, path, "/input/o")) return -1;
    if (names.len <= buf.len) @memcpy(buf[0..names.len], names);
    return 4 << 32 | names.len;
}

fn set(doc: u32, path: []const u8, kind: u32, value: []const u8) i64 {
    note("set {d} {s} {d} {s};", .{ doc, path, kind, value });
    return if (std.mem.eql(u8, path, refuse)) -2 else 0;
}

fn body(_: u32, offset: u64, buf: []u8) i64 {
    const all = "0123456789";
    const rest = all[@min(offset, all.len)..];
    const n = @min(rest.len, buf.len);
    @memcpy(buf[0..n], rest[0..n]);
    return all.len;
}

fn call(op: []const u8, bytes: []const u8) i64 {
    note("call {s} {s};", .{ op, bytes });
    return call_status;
}

fn clock(id: u32) i64 {
    return if (id == 0) 42 else -2;
}

fn start() void {
    hexdag.host.stub = .{ .field = field, .keys = keys, .set = set, .body = body, .call = call, .clock = clock };
    did_len = 0;
    refuse = "nothing";
    call_status = 0;
}

const gpa = std.testing.allocator;
const c: hexdag.NodeCall = .{};

test "fields" {
    start();
    const d = c.input();
    const name = d.text(gpa, "/name").?;
    defer gpa.free(name);
    try same("Ann", name);
    const long = d.text(gpa, "/long").?;
    defer gpa.free(long);
    try equal(5000, long.len);
    try equal(null, d.text(gpa, "/t"));
    try equal(std.math.maxInt(i64), d.int("/max").?);
    try equal(null, d.int("/over"));
    try equal(null, d.int("/half"));
    try equal(1.5, d.float("/half").?);
    try equal(true, d.boolean("/t").?);
    try equal(null, d.boolean("/name"));
    try equal(.absent, d.kind("/no"));
    try equal(4, d.count("/o"));
    try equal(0, d.count("/no"));
    try std.testing.expectError(error.Invalid, c.message().get(gpa, "bad"));
    const k = try d.keys(gpa, "/o");
    defer k.deinit(gpa);
    for ([_][]const u8{ "a", "b/c", "~1", "" }, k.names) |want, got| try same(want, got);
    const escaped = try hexdag.escape(gpa, "a/b~");
    defer gpa.free(escaped);
    try same("a~1b~0", escaped);
    var buf: [4]u8 = undefined;
    try same("89", try d.readBody(8, &buf));
    try same("", try d.readBody(11, &buf));
    try equal(42, try hexdag.now());
    try std.testing.expectError(error.Denied, hexdag.elapsed());
}

fn denies(_: hexdag.NodeCall) !hexdag.Verdict {
    return hexdag.deny("c", "r");
}

fn writes(call_: hexdag.NodeCall) !hexdag.Verdict {
    try call_.input().setText("/name", "x");
    try call_.input().setInt("/n", std.math.minInt(i64));
    return hexdag.replace;
}

test "verdicts" {
    start();
    try equal(3, points.serve(hexdag.NodeCall, denies));
    try same("set 4  0 ;set 4 /code 4 c;set 4 /reason 4 r;", did());
    try equal(0xffff_ffff_0000_0004, hexdag.retryAfter(std.math.maxInt(u32)).bits);
    try equal(1, points.serve(hexdag.NodeCall, writes));
    try same("set 0 /input/name 4 x;set 0 /input/n 3 -9223372036854775808;", did());
}

fn watches(e: hexdag.Event) !hexdag.Verdict {
    const topic = e.envelope().text(gpa, "/subject") orelse return hexdag.deny("topic", "none");
    defer gpa.free(topic);
    try same("orders.paid", topic);
    try equal(7, e.data().int("/n").?);
    return hexdag.retryAfter(@intCast(e.attempt()));
}

test "an event" {
    start();
    try equal(2 << 32 | 4, points.serve(hexdag.Event, watches));
}

test "a refused write is an error" {
    start();
    refuse = "/input/name";
    try equal(5, points.serve(hexdag.NodeCall, writes));
    try same("set 0 /input/name 4 x;set 4  0 ;set 4 /code 4 denied;set 4 /reason 4 Denied;", did());
}

test "calls" {
    start();
    _ = try hexdag.call("a.b", &.{ .{ .path = "/t", .text = "orders" }, .{ .path = "/n", .kind = .number, .text = "1" } }, "xy");
    try same("set 2 /t 4 orders;set 2 /n 3 1;call a.b xy;", did());
    call_status = -10;
    try std.testing.expectError(error.Retry, hexdag.call("a.b", &.{}, ""));
    _ = did();
    refuse = "/b";
    try std.testing.expectError(error.Denied, hexdag.call("a.b", &.{ .{ .path = "/a", .text = "x" }, .{ .path = "/b", .text = "y" } }, ""));
    try same("set 2 /a 4 x;set 2 /b 4 y;set 2  0 ;", did());
}
