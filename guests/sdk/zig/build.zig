const std = @import("std");

/// Makes a guest of a source file: an executable without an entry, whose exports are
/// its extension points. A guest's build.zig installs it.
pub fn guest(b: *std.Build, name: []const u8, root: std.Build.LazyPath) *std.Build.Step.Compile {
    const target = b.resolveTargetQuery(.{ .cpu_arch = .wasm32, .os_tag = .freestanding, .cpu_features_add = std.Target.wasm.featureSet(&.{.bulk_memory}) });
    const dependency = b.dependency("hexdag", .{});
    const exe = b.addExecutable(.{
        .name = name,
        .root_module = b.createModule(.{
            .root_source_file = root,
            .target = target,
            .optimize = .ReleaseSmall,
            .strip = true,
            .imports = &.{.{ .name = "hexdag", .module = dependency.module("hexdag") }},
        }),
    });
    exe.entry = .disabled;
    exe.rdynamic = true;
    return exe;
}

pub fn build(b: *std.Build) void {
    _ = b.addModule("hexdag", .{ .root_source_file = b.path("src/hexdag.zig") });
    const tests = b.addTest(.{ .root_module = b.createModule(.{
        .root_source_file = b.path("src/hexdag_test.zig"),
        .target = b.resolveTargetQuery(.{}),
    }) });
    b.step("test", "Run the tests natively").dependOn(&b.addRunArtifact(tests).step);
}
