const std = @import("std");
const hexdag = @import("hexdag");

comptime {
    hexdag.nodeBefore(greet);
}

fn greet(c: hexdag.NodeCall) !hexdag.Verdict {
    const name = c.input().text(hexdag.allocator, "/name") orelse return hexdag.deny("no_name", "the input has no name");
    try c.input().setText("/greeting", try std.mem.concat(hexdag.allocator, u8, &.{ "hello ", name }));
    return hexdag.replace;
}
