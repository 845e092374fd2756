//! The extension points: what a handler gets, and how it is exported.
const hexdag = @import("hexdag.zig");

const Doc = hexdag.Doc;

/// The whole message, and the raw bytes beside it.
pub const payload: Doc = .{ .id = 0 };

/// The run's identity and usage: /run_id, /tenant, /usage/input_tokens, ...
pub const run: Doc = .{ .id = 0, .root = "/run" };

/// What node_before, node_after and node_run get.
pub const NodeCall = struct {
    pub fn message(_: NodeCall) Doc {
        return payload;
    }

    /// The node's input. A hook before a node may patch it.
    pub fn input(_: NodeCall) Doc {
        return .{ .id = 0, .root = "/input" };
    }

    /// What the node gave, absent if it failed. A hook after a node may patch it.
    pub fn output(_: NodeCall) Doc {
        return .{ .id = 0, .root = "/output" };
    }

    /// Why the node failed: /code and /message; absent if it did not.
    pub fn problem(_: NodeCall) Doc {
        return .{ .id = 0, .root = "/error" };
    }

    /// Where a node's body, or a hook that skips it, puts what it gives.
    pub fn result(_: NodeCall) Doc {
        return .{ .id = 4 };
    }
};

/// What port_before and port_after get.
pub const PortCall = struct {
    /// The whole message. Its body is the request's before the call, the reply's after it.
    pub fn message(_: PortCall) Doc {
        return payload;
    }

    /// The call's arguments. A hook before a call may patch them.
    pub fn args(_: PortCall) Doc {
        return .{ .id = 0, .root = "/args" };
    }

    /// What the port answered, absent if it failed. A hook after a call may patch it.
    pub fn reply(_: PortCall) Doc {
        return .{ .id = 0, .root = "/reply" };
    }

    /// Why the call failed: /code and /message; absent if it did not.
    pub fn problem(_: PortCall) Doc {
        return .{ .id = 0, .root = "/error" };
    }

    /// Where a hook that skips the call puts the reply, and its body.
    pub fn result(_: PortCall) Doc {
        return .{ .id = 4 };
    }
};

/// What tool_call gets. The tool's name is at /tool of the message.
pub const ToolCall = struct {
    pub fn message(_: ToolCall) Doc {
        return payload;
    }

    pub fn args(_: ToolCall) Doc {
        return .{ .id = 0, .root = "/args" };
    }

    /// Where the tool puts what it gives.
    pub fn result(_: ToolCall) Doc {
        return .{ .id = 4 };
    }
};

/// What port_call gets: an operation of a port to do. fail with the name of a status, such
/// as not_found, is what the caller gets in place of the result.
pub const OperationCall = struct {
    /// The whole message, with the operation at /op, and the request's body beside it.
    pub fn message(_: OperationCall) Doc {
        return payload;
    }

    pub fn args(_: OperationCall) Doc {
        return .{ .id = 0, .root = "/args" };
    }

    /// Where the reply goes, and its body.
    pub fn result(_: OperationCall) Doc {
        return .{ .id = 4 };
    }
};

/// What observe gets: an event that the module is told of. proceed says that it is dealt with,
/// deny that it is to be given up, retryAfter and an error that it is to be delivered again.
/// A module may be told of an event twice.
pub const Event = struct {
    pub fn message(_: Event) Doc {
        return payload;
    }

    /// The whole event, a CloudEvent: its topic is at /subject; /id, /type, /time, ...
    pub fn envelope(_: Event) Doc {
        return .{ .id = 0, .root = "/event" };
    }

    /// The event's data, absent if it has none.
    pub fn data(_: Event) Doc {
        return .{ .id = 0, .root = "/event/data" };
    }

    /// Counts the deliveries of the event, from 1.
    pub fn attempt(_: Event) i64 {
        return payload.int("/attempt") orelse 1;
    }
};

/// Runs a handler as an export does. An error is the verdict error.
pub fn serve(comptime Call: type, comptime handler: fn (Call) anyerror!hexdag.Verdict) u64 {
    const verdict = handler(.{}) catch |e| hexdag.fail(hexdag.statusName(e), @errorName(e));
    return verdict.bits;
}

fn exported(comptime name: []const u8, comptime Call: type, comptime handler: fn (Call) anyerror!hexdag.Verdict) void {
    const point = struct {
        fn call(_: u32) callconv(.c) u64 {
            return serve(Call, handler);
        }
    };
    @export(&point.call, .{ .name = name });
}

/// Makes the module a hook before nodes.
pub fn nodeBefore(comptime handler: fn (NodeCall) anyerror!hexdag.Verdict) void {
    exported("node_before", NodeCall, handler);
}

/// Makes the module a hook after nodes.
pub fn nodeAfter(comptime handler: fn (NodeCall) anyerror!hexdag.Verdict) void {
    exported("node_after", NodeCall, handler);
}

/// Makes the module the body of a node.
pub fn nodeRun(comptime handler: fn (NodeCall) anyerror!hexdag.Verdict) void {
    exported("node_run", NodeCall, handler);
}

/// Makes the module a hook before port calls.
pub fn portBefore(comptime handler: fn (PortCall) anyerror!hexdag.Verdict) void {
    exported("port_before", PortCall, handler);
}

/// Makes the module a hook after port calls.
pub fn portAfter(comptime handler: fn (PortCall) anyerror!hexdag.Verdict) void {
    exported("port_after", PortCall, handler);
}

/// Makes the module a set of tools.
pub fn toolCall(comptime handler: fn (ToolCall) anyerror!hexdag.Verdict) void {
    exported("tool_call", ToolCall, handler);
}

/// Makes the module the operations of a port.
pub fn portCall(comptime handler: fn (OperationCall) anyerror!hexdag.Verdict) void {
    exported("port_call", OperationCall, handler);
}

/// Makes the module one that is told of events.
pub fn observe(comptime handler: fn (Event) anyerror!hexdag.Verdict) void {
    exported("observe", Event, handler);
}
