//! The Zig SDK for hexdag guests:
//!
//!     const hexdag = @import("hexdag");
//!
//!     fn guard(c: hexdag.NodeCall) !hexdag.Verdict {
//!         const message = c.input().text(hexdag.allocator, "/message") orelse "";
//!         if (message.len > 4000) return hexdag.deny("too_long", "the message is longer than 4000 bytes");
//!         return hexdag.proceed;
//!     }
//!
//!     comptime {
//!         hexdag.nodeBefore(guard);
//!     }
//!
//! Paths are JSON pointers (RFC 6901): "" is the whole document. Fields are read and
//! written one by one, in the host's copy. An error that a handler returns, such as a
//! write that the host refused, is the verdict error: nothing goes on as if it had happened.
const std = @import("std");
const builtin = @import("builtin");

pub const host = @import("host.zig");
const points = @import("points.zig");

pub const NodeCall = points.NodeCall;
pub const PortCall = points.PortCall;
pub const ToolCall = points.ToolCall;
pub const OperationCall = points.OperationCall;
pub const Event = points.Event;
pub const nodeBefore = points.nodeBefore;
pub const nodeAfter = points.nodeAfter;
pub const nodeRun = points.nodeRun;
pub const portBefore = points.portBefore;
pub const portAfter = points.portAfter;
pub const toolCall = points.toolCall;
pub const portCall = points.portCall;
pub const observe = points.observe;

/// Memory for texts. A host that puts the instance back after every call frees all of it.
pub const allocator: std.mem.Allocator = if (builtin.cpu.arch.isWasm()) std.heap.wasm_allocator else std.heap.page_allocator;

/// Why the host did not do what it was asked.
pub const Status = error{ NotFound, Denied, Invalid, Limit, Fault, Unsupported, Unavailable, Timeout, Failed, Retry };

pub const Error = Status || std.mem.Allocator.Error;

/// The status in the words of the specification.
pub fn statusName(e: anyerror) []const u8 {
    return switch (e) {
        error.NotFound => "not_found",
        error.Denied => "denied",
        error.Invalid => "invalid",
        error.Limit => "limit",
        error.Fault => "fault",
        error.Unsupported => "unsupported",
        error.Unavailable => "unavailable",
        error.Timeout => "timeout",
        error.Retry => "retry",
        else => "failed",
    };
}

/// check makes an error of a status; one of a later version counts as failed.
fn check(r: i64) Status!u64 {
    if (r >= 0) return @intCast(r);
    return switch (r) {
        -1 => error.NotFound,
        -2 => error.Denied,
        -3 => error.Invalid,
        -4 => error.Limit,
        -5 => error.Fault,
        -6 => error.Unsupported,
        -7 => error.Unavailable,
        -8 => error.Timeout,
        -10 => error.Retry,
        else => error.Failed,
    };
}

/// The JSON type of a value. json is for writing alone: JSON text of any kind.
pub const Kind = enum(u32) { absent, null, bool, number, string, array, object, json };

/// A field as the host gives it: the characters of a string, the JSON text of anything else.
pub const Value = struct { kind: Kind, text: []u8 };

/// A path that is longer than hosts take is cut to one byte more, so that they refuse it.
const max_path = 1025;

/// A JSON document in the host, or a part of one. Paths are relative to it.
pub const Doc = struct {
    id: u32,
    root: []const u8 = "",

    /// The part of the document at path, whether it is there or not.
    pub fn at(d: Doc, gpa: std.mem.Allocator, path: []const u8) Error!Doc {
        var buf: [max_path]u8 = undefined;
        return .{ .id = d.id, .root = try gpa.dupe(u8, d.join(path, &buf)) };
    }

    fn join(d: Doc, path: []const u8, buf: *[max_path]u8) []const u8 {
        if (d.root.len == 0) return path;
        const root = d.root[0..@min(d.root.len, max_path)];
        const rest = path[0..@min(path.len, max_path - root.len)];
        @memcpy(buf[0..root.len], root);
        @memcpy(buf[root.len..][0..rest.len], rest);
        return buf[0 .. root.len + rest.len];
    }

    /// The value at path, of the kind absent if there is none. The caller owns its text.
    pub fn get(d: Doc, gpa: std.mem.Allocator, path: []const u8) Error!Value {
        var joined: [max_path]u8 = undefined;
        const p = d.join(path, &joined);
        var small: [512]u8 = undefined;
        const r = try check(host.field(d.id, p, &small));
        const len: u32 = @truncate(r);
        const copy = try gpa.alloc(u8, len);
        if (len <= small.len) {
            @memcpy(copy, small[0..len]);
        } else {
            _ = try check(host.field(d.id, p, copy));
        }
        return .{ .kind = @enumFromInt(r >> 32), .text = copy };
    }

    /// The kind of the value at path; absent too if the path is malformed.
    pub fn kind(d: Doc, path: []const u8) Kind {
        var joined: [max_path]u8 = undefined;
        const r = check(host.field(d.id, d.join(path, &joined), &.{})) catch return .absent;
        return @enumFromInt(r >> 32);
    }

    /// The string at path, which the caller owns.
    pub fn text(d: Doc, gpa: std.mem.Allocator, path: []const u8) ?[]u8 {
        const v = d.get(gpa, path) catch return null;
        if (v.kind == .string) return v.text;
        gpa.free(v.text);
        return null;
    }

    /// The integer at path, if 64 bits hold it and it has neither point nor exponent.
    pub fn int(d: Doc, path: []const u8) ?i64 {
        var buf: [32]u8 = undefined;
        return std.fmt.parseInt(i64, d.short(path, .number, &buf) orelse return null, 10) catch null;
    }

    /// The number at path.
    pub fn float(d: Doc, path: []const u8) ?f64 {
        var buf: [128]u8 = undefined;
        return std.fmt.parseFloat(f64, d.short(path, .number, &buf) orelse return null) catch null;
    }

    /// The boolean at path.
    pub fn boolean(d: Doc, path: []const u8) ?bool {
        var buf: [8]u8 = undefined;
        return (d.short(path, .bool, &buf) orelse return null)[0] == 't';
    }

    fn short(d: Doc, path: []const u8, wanted: Kind, buf: []u8) ?[]u8 {
        var joined: [max_path]u8 = undefined;
        const r = check(host.field(d.id, d.join(path, &joined), buf)) catch return null;
        const len: u32 = @truncate(r);
        if (r >> 32 != @intFromEnum(wanted) or len > buf.len) return null;
        return buf[0..len];
    }

    /// How many members the object or array at path has, else 0.
    pub fn count(d: Doc, path: []const u8) u32 {
        var joined: [max_path]u8 = undefined;
        const r = check(host.keys(d.id, d.join(path, &joined), &.{})) catch return 0;
        return @intCast(r >> 32);
    }

    /// The names of the members of the object at path in byte order, or the indexes
    /// of the array. The caller owns them: Keys.deinit.
    pub fn keys(d: Doc, gpa: std.mem.Allocator, path: []const u8) Error!Keys {
        var joined: [max_path]u8 = undefined;
        const p = d.join(path, &joined);
        const r = try check(host.keys(d.id, p, &.{}));
        const all = try gpa.alloc(u8, @as(u32, @truncate(r)));
        errdefer gpa.free(all);
        _ = try check(host.keys(d.id, p, all));
        const names = try gpa.alloc([]u8, @intCast(r >> 32));
        splitTokens(all, names);
        return .{ .names = names, .all = all };
    }

    /// Writes a string.
    pub fn setText(d: Doc, path: []const u8, value: []const u8) Status!void {
        return d.set(path, .string, value);
    }

    /// Writes an integer.
    pub fn setInt(d: Doc, path: []const u8, value: i64) Status!void {
        var buf: [24]u8 = undefined;
        return d.set(path, .number, std.fmt.bufPrint(&buf, "{d}", .{value}) catch unreachable); // 20 digits at most
    }

    /// Writes a number as it is spelled, so that no digit is lost.
    pub fn setNumber(d: Doc, path: []const u8, spelled: []const u8) Status!void {
        return d.set(path, .number, spelled);
    }

    /// Writes a boolean.
    pub fn setBool(d: Doc, path: []const u8, value: bool) Status!void {
        return d.set(path, .bool, if (value) "true" else "false");
    }

    /// Writes null.
    pub fn setNull(d: Doc, path: []const u8) Status!void {
        return d.set(path, .null, "null");
    }

    /// Writes any value, given as JSON text.
    pub fn setJson(d: Doc, path: []const u8, json: []const u8) Status!void {
        return d.set(path, .json, json);
    }

    /// Writes a value of a kind: the characters of a string, the JSON text of anything else.
    pub fn set(d: Doc, path: []const u8, as: Kind, value: []const u8) Status!void {
        var joined: [max_path]u8 = undefined;
        _ = try check(host.set(d.id, d.join(path, &joined), @intFromEnum(as), value));
    }

    /// Removes the member at path.
    pub fn remove(d: Doc, path: []const u8) Status!void {
        return d.set(path, .absent, "");
    }

    /// The number of raw bytes beside the document.
    pub fn bodyLen(d: Doc) u64 {
        return check(host.body(d.id, 0, &.{})) catch 0;
    }

    /// Copies raw bytes from offset on into buf, and returns those.
    pub fn readBody(d: Doc, offset: u64, buf: []u8) Status![]u8 {
        const total = try check(host.body(d.id, offset, buf));
        return buf[0..@intCast(@min(total -| offset, buf.len))];
    }

    /// All the raw bytes beside the document, which the caller owns.
    pub fn body(d: Doc, gpa: std.mem.Allocator) Error![]u8 {
        const all = try gpa.alloc(u8, @intCast(d.bodyLen()));
        return d.readBody(0, all);
    }

    /// Appends to the raw bytes beside the result.
    pub fn append(d: Doc, bytes: []const u8) Status!void {
        _ = try check(host.append(d.id, bytes));
    }
};

/// Names of members.
pub const Keys = struct {
    names: [][]u8,
    all: []u8,

    pub fn deinit(k: Keys, gpa: std.mem.Allocator) void {
        gpa.free(k.names);
        gpa.free(k.all);
    }
};

// splitTokens reads what the import keys writes, "/a/b~1c", and unescapes in place.
fn splitTokens(all: []u8, names: [][]u8) void {
    var i: usize = 0;
    for (names) |*name| {
        i += 1; // the slash
        const start = i;
        var to = i;
        while (i < all.len and all[i] != '/') : (i += 1) {
            var c = all[i];
            if (c == '~' and i + 1 < all.len) {
                i += 1;
                c = if (all[i] == '1') '/' else '~';
            }
            all[to] = c;
            to += 1;
        }
        name.* = all[start..to];
    }
}

/// A member's name as a token of a path, which the caller owns.
pub fn escape(gpa: std.mem.Allocator, name: []const u8) std.mem.Allocator.Error![]u8 {
    var extra: usize = 0;
    for (name) |c| {
        if (c == '~' or c == '/') extra += 1;
    }
    const out = try gpa.alloc(u8, name.len + extra);
    var i: usize = 0;
    for (name) |c| {
        out[i] = if (c == '/') '~' else c;
        i += 1;
        if (c == '~' or c == '/') {
            out[i] = if (c == '~') '0' else '1';
            i += 1;
        }
    }
    return out;
}

/// What the operator configured for this module; absent if nothing.
pub const config: Doc = .{ .id = 1 };

const request: Doc = .{ .id = 2 };

/// What the last call of a port gave: its answer, or /code, /message and /retry_ms.
pub const reply: Doc = .{ .id = 3 };

const output: Doc = .{ .id = 4 };

/// An argument of a call.
pub const Arg = struct { path: []const u8, kind: Kind = .string, text: []const u8 };

/// Calls a port's operation, "port.method", with arguments and raw bytes beside them.
/// It needs that capability. The answer, or else the error, is in reply until the next call.
pub fn call(op: []const u8, args: []const Arg, bytes: []const u8) Status!Doc {
    for (args) |a| {
        request.set(a.path, a.kind, a.text) catch |e| {
            request.remove("") catch {}; // or the next call would send what is left
            return e;
        };
    }
    _ = try check(host.call(op, bytes));
    return reply;
}

/// The severity of a log line.
pub const Level = enum(u32) { debug, info, warn, err };

/// Writes a line to the run's log. What is over the host's limits is dropped.
pub fn log(level: Level, line: []const u8) void {
    _ = host.log(@intFromEnum(level), line);
}

/// The wall clock in nanoseconds since 1970. It needs the capability clock.read.
pub fn now() Status!u64 {
    return check(host.clock(0));
}

/// The nanoseconds since the start of the run. It needs the capability clock.read.
pub fn elapsed() Status!u64 {
    return check(host.clock(1));
}

/// Fills bytes, at most 64 KiB. It needs the capability random.read.
pub fn random(bytes: []u8) Status!void {
    _ = try check(host.random(bytes));
}

/// What a handler decides; made by what follows.
pub const Verdict = struct { bits: u64 };

/// Go on unchanged. For a node's body or a tool: done, the result is what it gives.
pub const proceed: Verdict = .{ .bits = 0 };

/// Go on with what the guest patched.
pub const replace: Verdict = .{ .bits = 1 };

/// Of a before-hook: do not run what is hooked, the result is what it gives.
pub const skip: Verdict = .{ .bits = 2 };

/// Refuse, with a code for programs and a reason for people.
pub fn deny(code: []const u8, reason: []const u8) Verdict {
    return explain(3, code, reason);
}

/// Try again after so many milliseconds.
pub fn retryAfter(milliseconds: u32) Verdict {
    return .{ .bits = @as(u64, milliseconds) << 32 | 4 };
}

/// The guest could not do its work.
pub fn fail(code: []const u8, reason: []const u8) Verdict {
    return explain(5, code, reason);
}

// The output is made anew, so that no half-made result goes out with a refusal. What
// the host then refuses leaves the verdict as it is.
fn explain(verdict: u64, code: []const u8, reason: []const u8) Verdict {
    output.remove("") catch {};
    output.setText("/code", code) catch {};
    output.setText("/reason", reason) catch {};
    return .{ .bits = verdict };
}
