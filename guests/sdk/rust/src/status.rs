use core::fmt;

/// Why the host did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// No such document, parent, tool, row or artifact.
    NotFound = -1,
    /// Not requested, not granted, refused; or not the guest's to write.
    Denied = -2,
    /// A malformed path, JSON, UTF-8, number or arguments.
    Invalid = -3,
    /// A limit or a budget is used up.
    Limit = -4,
    /// An address or length outside of memory.
    Fault = -5,
    /// No such operation, document, kind or clock.
    Unsupported = -6,
    /// The port is not configured, or its engine is down.
    Unavailable = -7,
    /// The deadline passed.
    Timeout = -8,
    /// The port failed.
    Failed = -9,
    /// Try again later.
    Retry = -10,
}

impl Status {
    /// The status in the words of the specification.
    pub fn name(self) -> &'static str {
        match self {
            Status::NotFound => "not_found",
            Status::Denied => "denied",
            Status::Invalid => "invalid",
            Status::Limit => "limit",
            Status::Fault => "fault",
            Status::Unsupported => "unsupported",
            Status::Unavailable => "unavailable",
            Status::Timeout => "timeout",
            Status::Failed => "failed",
            Status::Retry => "retry",
        }
    }

    /// check makes a result of what an import returned. A status of a later version counts as failed.
    pub(crate) fn check(r: i64) -> Result<i64, Status> {
        Err(match r {
            0..=i64::MAX => return Ok(r),
            -1 => Status::NotFound,
            -2 => Status::Denied,
            -3 => Status::Invalid,
            -4 => Status::Limit,
            -5 => Status::Fault,
            -6 => Status::Unsupported,
            -7 => Status::Unavailable,
            -8 => Status::Timeout,
            -10 => Status::Retry,
            _ => Status::Failed,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
