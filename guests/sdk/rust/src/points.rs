use alloc::string::String;

use crate::doc::{INPUT, OUTPUT};
use crate::{Doc, Outcome};

/// Runs a handler as an export does. The macros of the extension points call it.
pub fn serve<C: Default>(handler: impl FnOnce(&C) -> Outcome) -> u64 {
    match handler(&C::default()) {
        Ok(verdict) => verdict.bits(),
        Err(e) => e.verdict().bits(),
    }
}

macro_rules! message {
    ($name:ident) => {
        impl $name {
            /// The whole message, and the raw bytes beside it.
            pub fn payload(&self) -> Doc {
                Doc::whole(INPUT)
            }

            /// The run's identity and usage: `/run_id`, `/tenant`, `/usage/input_tokens`, ...
            pub fn run(&self) -> Doc {
                Doc::part(INPUT, "/run")
            }
        }
    };
}

macro_rules! common {
    ($name:ident) => {
        message!($name);

        impl $name {
            /// Where a body, a tool or a hook that skips puts what it gives.
            pub fn result(&self) -> Doc {
                Doc::whole(OUTPUT)
            }
        }
    };
}

/// What `node_before`, `node_after` and `node_run` get.
#[derive(Default)]
pub struct NodeCall(());
common!(NodeCall);

impl NodeCall {
    /// The node's name.
    pub fn node(&self) -> String {
        self.payload().text("/node/name").unwrap_or_default()
    }

    /// The node's input. A hook before a node may patch it.
    pub fn input(&self) -> Doc {
        Doc::part(INPUT, "/input")
    }

    /// What the node gave, absent if it failed. A hook after a node may patch it.
    pub fn output(&self) -> Doc {
        Doc::part(INPUT, "/output")
    }

    /// Why the node failed: `/code` and `/message`; absent if it did not.
    pub fn problem(&self) -> Doc {
        Doc::part(INPUT, "/error")
    }
}

/// What `port_before` and `port_after` get.
#[derive(Default)]
pub struct PortCall(());
common!(PortCall);

impl PortCall {
    /// The operation, "port.method".
    pub fn op(&self) -> String {
        self.payload().text("/op").unwrap_or_default()
    }

    /// The call's arguments. A hook before a call may patch them.
    pub fn args(&self) -> Doc {
        Doc::part(INPUT, "/args")
    }

    /// What the port answered, absent if it failed. A hook after a call may patch it.
    pub fn reply(&self) -> Doc {
        Doc::part(INPUT, "/reply")
    }

    /// Why the call failed: `/code` and `/message`; absent if it did not.
    pub fn problem(&self) -> Doc {
        Doc::part(INPUT, "/error")
    }
}

/// What `tool_call` gets.
#[derive(Default)]
pub struct ToolCall(());
common!(ToolCall);

impl ToolCall {
    /// The name of the tool that is called.
    pub fn tool(&self) -> String {
        self.payload().text("/tool").unwrap_or_default()
    }

    /// The tool's arguments.
    pub fn args(&self) -> Doc {
        Doc::part(INPUT, "/args")
    }
}

/// What `port_call` gets: an operation of a port to do. A `fail` with the name of a
/// status, such as "not_found", is what the caller gets in place of the result.
#[derive(Default)]
pub struct OperationCall(());
common!(OperationCall);

impl OperationCall {
    /// The operation, "port.method".
    pub fn op(&self) -> String {
        self.payload().text("/op").unwrap_or_default()
    }

    /// The operation's arguments.
    pub fn args(&self) -> Doc {
        Doc::part(INPUT, "/args")
    }
}

/// What `observe` gets: an event that the module is told of. `proceed` says that it is dealt
/// with, `deny` that it is to be given up, `retry_after` and an error that it is to be
/// delivered again. A module may be told of an event twice.
#[derive(Default)]
pub struct Event(());
message!(Event);

impl Event {
    /// What the event was published on.
    pub fn topic(&self) -> String {
        self.payload().text("/event/subject").unwrap_or_default()
    }

    /// The event's id: it is the same when the event is delivered again.
    pub fn id(&self) -> String {
        self.payload().text("/event/id").unwrap_or_default()
    }

    /// Counts the deliveries of the event, from 1.
    pub fn attempt(&self) -> i64 {
        self.payload().int("/attempt").unwrap_or(1)
    }

    /// The whole event, a CloudEvent: `/type`, `/time`, `/partitionkey`, `/runid`, ...
    pub fn envelope(&self) -> Doc {
        Doc::part(INPUT, "/event")
    }

    /// The event's data, absent if it has none.
    pub fn data(&self) -> Doc {
        Doc::part(INPUT, "/event/data")
    }
}

macro_rules! point {
    ($point:ident, $call:ident, $about:literal, $d:tt) => {
        #[doc = $about]
        #[macro_export]
        macro_rules! $point {
            ($d handler:expr) => {
                #[cfg_attr(target_arch = "wasm32", no_mangle)]
                #[allow(missing_docs)]
                pub extern "C" fn $point(_payload_len: u32) -> u64 {
                    $d crate::serve::<$d crate::$call>($d handler)
                }
            };
        }
    };
}

point!(node_before, NodeCall, "Makes the module a hook before nodes: a `fn(&NodeCall) -> Outcome`.", $);
point!(node_after, NodeCall, "Makes the module a hook after nodes: a `fn(&NodeCall) -> Outcome`.", $);
point!(node_run, NodeCall, "Makes the module the body of a node: a `fn(&NodeCall) -> Outcome`.", $);
point!(port_before, PortCall, "Makes the module a hook before port calls: a `fn(&PortCall) -> Outcome`.", $);
point!(port_after, PortCall, "Makes the module a hook after port calls: a `fn(&PortCall) -> Outcome`.", $);
point!(tool_call, ToolCall, "Makes the module a set of tools: a `fn(&ToolCall) -> Outcome`.", $);
point!(port_call, OperationCall, "Makes the module the operations of a port: a `fn(&OperationCall) -> Outcome`.", $);
point!(observe, Event, "Makes the module one that is told of events: a `fn(&Event) -> Outcome`.", $);
