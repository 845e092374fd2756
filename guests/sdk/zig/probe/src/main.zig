//! The probe of the conformance kit, made with the Zig SDK: see abi/tck/README.md.
const std = @import("std");
const hexdag = @import("hexdag");

const Doc = hexdag.Doc;
const gpa = hexdag.allocator;

comptime {
    hexdag.nodeBefore(node);
    hexdag.nodeAfter(node);
    hexdag.nodeRun(node);
    hexdag.portBefore(port);
    hexdag.portAfter(port);
    hexdag.toolCall(tool);
    hexdag.portCall(operation);
    hexdag.observe(event);
}

fn node(c: hexdag.NodeCall) !hexdag.Verdict {
    return play(c.message(), c.result());
}

fn port(c: hexdag.PortCall) !hexdag.Verdict {
    return play(c.message(), c.result());
}

fn tool(c: hexdag.ToolCall) !hexdag.Verdict {
    return play(c.message(), c.result());
}

fn operation(c: hexdag.OperationCall) !hexdag.Verdict {
    return play(c.message(), c.result());
}

fn event(e: hexdag.Event) !hexdag.Verdict {
    return play(e.message(), .{ .id = 4 });
}

var remembered: u32 = 0;

/// Does the steps of the configuration, or else of the arguments.
fn play(input: Doc, output: Doc) !hexdag.Verdict {
    var steps = try hexdag.config.at(gpa, "/steps");
    if (steps.kind("") == .absent) steps = try input.at(gpa, "/args/steps");
    for (0..steps.count("")) |i| {
        const step = try steps.at(gpa, try print("/{d}", .{i}));
        const p: Probe = .{ .input = input, .output = output, .step = step, .doc = named(step, input, output), .at = param(step, "/at") };
        if (p.decide()) |verdict| return verdict;
        const line = p.act() catch |e| hexdag.statusName(e);
        if (line.len > 0) hexdag.log(.debug, line);
    }
    return hexdag.proceed;
}

fn named(step: Doc, input: Doc, output: Doc) Doc {
    const name = param(step, "/doc");
    if (is(name, "config")) return hexdag.config;
    if (is(name, "reply")) return hexdag.reply;
    return if (is(name, "output")) output else input;
}

fn param(step: Doc, path: []const u8) []const u8 {
    return step.text(gpa, path) orelse "";
}

fn is(a: []const u8, b: []const u8) bool {
    return std.mem.eql(u8, a, b);
}

fn print(comptime format: []const u8, args: anytype) ![]u8 {
    return std.fmt.allocPrint(gpa, format, args);
}

const Action = enum { get, sum, kind, text, int, bool, keys, keysum, count, set, setraw, setint, remove, append, copybody, body, bodyat, call, log, now, elapsed, random, escape, remember };

/// A call under way: its documents, and the step with the field that it names.
const Probe = struct {
    input: Doc,
    output: Doc,
    step: Doc,
    doc: Doc,
    at: []const u8,

    fn text(p: Probe, path: []const u8) []const u8 {
        return param(p.step, path);
    }

    fn number(p: Probe, path: []const u8) u32 {
        return @truncate(@as(u64, @bitCast(p.step.int(path) orelse 0)));
    }

    /// The verdict where the step is one.
    fn decide(p: Probe) ?hexdag.Verdict {
        const does = p.text("/do");
        if (is(does, "continue")) return hexdag.proceed;
        if (is(does, "replace")) return hexdag.replace;
        if (is(does, "skip")) return hexdag.skip;
        if (is(does, "deny")) return hexdag.deny(p.text("/code"), p.text("/reason"));
        if (is(does, "fail")) return hexdag.fail(p.text("/code"), p.text("/reason"));
        if (is(does, "retry")) return hexdag.retryAfter(p.number("/ms"));
        return null;
    }

    /// Does the step, and returns the line to log.
    fn act(p: Probe) ![]const u8 {
        const d = p.doc;
        switch (std.meta.stringToEnum(Action, p.text("/do")) orelse return "no such step") {
            .get => {
                const v = try d.get(gpa, p.at);
                return if (v.kind == .absent) "absent" else print("{s} {s}", .{ @tagName(v.kind), v.text });
            },
            .sum => {
                const v = try d.get(gpa, p.at);
                return print("{s} {s}", .{ @tagName(v.kind), try sum(v.text) });
            },
            .kind => return print("kind {s}", .{@tagName(d.kind(p.at))}),
            .text => return print("text {s}", .{d.text(gpa, p.at) orelse "none"}),
            .int => return if (d.int(p.at)) |n| print("int {d}", .{n}) else "int none",
            .bool => return if (d.boolean(p.at)) |b| print("bool {}", .{b}) else "bool none",
            .keys => {
                const k = try d.keys(gpa, p.at);
                return print("keys {d} {s}", .{ k.names.len, try std.mem.join(gpa, ",", k.names) });
            },
            .keysum => {
                const k = try d.keys(gpa, p.at);
                return print("keys {d} {s}", .{ k.names.len, try sum(try std.mem.join(gpa, ",", k.names)) });
            },
            .count => return print("count {d}", .{d.count(p.at)}),
            .set => try write(d, p.at, p.text("/kind"), p.text("/value")),
            .setraw => try d.set(p.at, kindNamed(p.text("/kind")), try p.input.body(gpa)),
            .setint => try d.setInt(p.at, p.step.int("/value") orelse 0),
            .remove => try d.remove(p.at),
            .append => try p.output.append(p.text("/value")),
            .copybody => try p.output.append(try d.body(gpa)),
            .body => return p.body(),
            .bodyat => {
                const buf = try gpa.alloc(u8, p.number("/size"));
                return print("bytes {s}", .{try sum(try d.readBody(p.number("/offset"), buf))});
            },
            .call => return p.call(),
            .log => {
                hexdag.log(@enumFromInt(p.number("/level")), p.text("/text"));
                return "";
            },
            .now => return print("now {d}", .{try hexdag.now()}),
            .elapsed => return print("elapsed {d}", .{try hexdag.elapsed()}),
            .random => {
                const buf = try gpa.alloc(u8, p.number("/size"));
                try hexdag.random(buf);
                return print("random {s}", .{try sum(buf)});
            },
            .escape => return print("escape {s}", .{try hexdag.escape(gpa, p.text("/value"))}),
            .remember => {
                remembered += 1;
                return print("remembered {d}", .{remembered});
            },
        }
        return "ok";
    }

    fn body(p: Probe) ![]const u8 {
        const buf = try gpa.alloc(u8, p.number("/size"));
        var pieces: u32 = 0;
        var length: usize = 0;
        var h: u32 = start;
        while (true) : (pieces += 1) {
            const piece = try p.doc.readBody(length, buf);
            if (piece.len == 0) return print("body {d} {d} {d}", .{ pieces, length, h });
            h = hash(h, piece);
            length += piece.len;
        }
    }

    fn call(p: Probe) ![]const u8 {
        const args = try gpa.alloc(hexdag.Arg, p.step.count("/args"));
        for (args, 0..) |*arg, i| {
            const given = try p.step.at(gpa, try print("/args/{d}", .{i}));
            arg.* = .{ .path = param(given, "/0"), .kind = kindNamed(param(given, "/1")), .text = param(given, "/2") };
        }
        _ = hexdag.call(p.text("/op"), args, p.text("/body")) catch |e| {
            if (p.step.boolean("/short") orelse false) return hexdag.statusName(e);
            const r = hexdag.reply;
            return print("{s} {s} {d} {s}", .{ hexdag.statusName(e), param(r, "/code"), r.int("/retry_ms") orelse 0, param(r, "/message") });
        };
        return "ok";
    }
};

/// Writes a value with the function for its kind.
fn write(to: Doc, at: []const u8, kind: []const u8, value: []const u8) !void {
    return switch (kindNamed(kind)) {
        .string => to.setText(at, value),
        .number => to.setNumber(at, value),
        .json => to.setJson(at, value),
        .null => if (is(value, "null")) to.setNull(at) else to.set(at, .null, value),
        .bool => if (is(value, "true") or is(value, "false")) to.setBool(at, is(value, "true")) else to.set(at, .bool, value),
        else => |k| to.set(at, k, value),
    };
}

fn kindNamed(name: []const u8) hexdag.Kind {
    return std.meta.stringToEnum(hexdag.Kind, name) orelse .absent;
}

/// Checksums are FNV-1a of 32 bits.
const start: u32 = 2166136261;

fn hash(h: u32, bytes: []const u8) u32 {
    var sum_ = h;
    for (bytes) |b| sum_ = (sum_ ^ b) *% 16777619;
    return sum_;
}

fn sum(bytes: []const u8) ![]u8 {
    return print("{d} {d}", .{ bytes.len, hash(start, bytes) });
}
