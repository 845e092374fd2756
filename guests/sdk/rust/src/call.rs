use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::doc::{REPLY, REQUEST};
use crate::{imports, Doc, Kind, Status};

/// A call of a port's operation in the making. It needs that capability.
///
/// ```ignore
/// let reply = Call::new("database.query").text("/table", "orders").int("/limit", 5).send()?;
/// ```
#[must_use = "a call is made by send"]
pub struct Call<'a> {
    op: &'a str,
    args: Vec<(String, Kind, String)>,
    body: &'a [u8],
}

impl<'a> Call<'a> {
    /// Starts a call of `op`, "port.method".
    pub fn new(op: &'a str) -> Self {
        Call { op, args: Vec::new(), body: &[] }
    }

    /// Adds an argument: the characters of a string, the JSON text of anything else.
    pub fn arg(mut self, path: &str, kind: Kind, text: &str) -> Self {
        self.args.push((path.to_owned(), kind, text.to_owned()));
        self
    }

    /// Adds a string.
    pub fn text(self, path: &str, value: &str) -> Self {
        self.arg(path, Kind::String, value)
    }

    /// Adds an integer.
    pub fn int(self, path: &str, value: i64) -> Self {
        self.arg(path, Kind::Number, &value.to_string())
    }

    /// Adds a boolean.
    pub fn bool(self, path: &str, value: bool) -> Self {
        self.arg(path, Kind::Bool, if value { "true" } else { "false" })
    }

    /// Adds any value, given as JSON text.
    pub fn json(self, path: &str, text: &str) -> Self {
        self.arg(path, Kind::Json, text)
    }

    /// Puts raw bytes beside the arguments.
    pub fn body(mut self, data: &'a [u8]) -> Self {
        self.body = data;
        self
    }

    /// Makes the call. The reply is there until the next one.
    pub fn send(self) -> Result<Doc, CallError> {
        let request = Doc::whole(REQUEST);
        for (path, kind, text) in &self.args {
            if let Err(status) = request.set(path, *kind, text.as_bytes()) {
                let _ = request.remove(""); // or the next call would send what is left
                let message = "cannot write the argument ".to_owned() + path;
                return Err(CallError { op: self.op.to_owned(), status, code: String::new(), message, retry_ms: 0 });
            }
        }
        match Status::check(imports::call(self.op, self.body)) {
            Ok(_) => Ok(reply()),
            Err(status) => Err(CallError {
                op: self.op.to_owned(),
                status,
                code: reply().text("/code").unwrap_or_default(),
                message: reply().text("/message").unwrap_or_default(),
                retry_ms: reply().int("/retry_ms").unwrap_or(0) as u32,
            }),
        }
    }
}

/// What the last call gave, also where it failed; absent before the first.
pub fn reply() -> Doc {
    Doc::whole(REPLY)
}

/// A call that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// The operation.
    pub op: String,
    /// How it ended.
    pub status: Status,
    /// The host's stable name of the error.
    pub code: String,
    /// For people.
    pub message: String,
    /// When to try again, if the status is `Retry`; 0 if the port did not say.
    pub retry_ms: u32,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.op, self.status)?;
        if self.message.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.message)
    }
}
