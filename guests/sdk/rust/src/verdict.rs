use alloc::string::{String, ToString};

use crate::doc::OUTPUT;
use crate::{CallError, Doc, Status};

/// What a handler decides; made by the functions of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict(u64);

/// What a handler returns. An error becomes the verdict `error`.
pub type Outcome = Result<Verdict, Error>;

/// Why a guest could not do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// For programs.
    pub code: String,
    /// For people.
    pub reason: String,
    retry_ms: Option<u32>,
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Error { code: status.to_string(), reason: "the host refused: ".to_string() + status.name(), retry_ms: None }
    }
}

/// A call that says when to try again makes the verdict `retry_after`.
impl From<CallError> for Error {
    fn from(e: CallError) -> Self {
        let retry_ms = if e.status == Status::Retry { Some(e.retry_ms) } else { None };
        let code = if e.code.is_empty() { e.status.to_string() } else { e.code.clone() };
        Error { code, reason: e.to_string(), retry_ms }
    }
}

impl Verdict {
    pub(crate) fn bits(self) -> u64 {
        self.0
    }
}

impl Error {
    pub(crate) fn verdict(self) -> Verdict {
        match self.retry_ms {
            Some(ms) => Verdict(u64::from(ms) << 32 | 4),
            None => explain(5, &self.code, &self.reason),
        }
    }
}

/// Go on unchanged. For a node's body or a tool: done, the result is what it gives.
pub fn proceed() -> Outcome {
    Ok(Verdict(0))
}

/// Go on with what the guest patched.
pub fn replace() -> Outcome {
    Ok(Verdict(1))
}

/// Of a before-hook: do not run what is hooked, the result is what it gives.
pub fn skip() -> Outcome {
    Ok(Verdict(2))
}

/// Refuse, with a code for programs and a reason for people.
pub fn deny(code: &str, reason: &str) -> Outcome {
    Ok(explain(3, code, reason))
}

/// Try again after so many milliseconds.
pub fn retry_after(milliseconds: u32) -> Outcome {
    Ok(Verdict(u64::from(milliseconds) << 32 | 4))
}

/// The guest could not do its work.
pub fn fail(code: &str, reason: &str) -> Outcome {
    Err(Error { code: code.to_string(), reason: reason.to_string(), retry_ms: None })
}

/// explain replaces whatever the output holds, so that no half-made result goes out
/// with a refusal. What the host then refuses leaves the verdict as it is.
fn explain(verdict: u64, code: &str, reason: &str) -> Verdict {
    let output = Doc::whole(OUTPUT);
    let _ = output.remove("");
    let _ = output.set_text("/code", code);
    let _ = output.set_text("/reason", reason);
    Verdict(verdict)
}
