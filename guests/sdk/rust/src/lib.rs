//! The Rust SDK for hexdag guests. It needs `alloc` and nothing else; a guest may use `std`.
//!
//! ```ignore
//! use hexdag::{deny, proceed, NodeCall, Outcome};
//!
//! fn guard(c: &NodeCall) -> Outcome {
//!     if c.input().text("/message").map_or(0, |m| m.len()) > 4000 {
//!         return deny("too_long", "the message is longer than 4000 bytes");
//!     }
//!     proceed()
//! }
//!
//! hexdag::node_before!(guard);
//! ```
//!
//! Paths are JSON pointers (RFC 6901): `""` is the whole document. Fields are read and
//! written one by one, in the host's copy. An error that a handler returns, such as a
//! write that the host refused, is the verdict `error`: nothing goes on as if it had
//! happened.
#![no_std]
#![warn(missing_docs)]

extern crate alloc;

mod call;
mod doc;
mod imports;
mod points;
mod services;
mod status;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod verdict;

pub use call::{reply, Call, CallError};
pub use doc::{escape, Doc, Kind, Value};
pub use points::{serve, Event, NodeCall, OperationCall, PortCall, ToolCall};
pub use services::{config, debug, elapsed, error, info, log, now, random, warn, Level};
pub use status::Status;
pub use verdict::{deny, fail, proceed, replace, retry_after, skip, Error, Outcome, Verdict};
