use crate::doc::CONFIG;
use crate::{imports, Doc, Status};

/// What the operator configured for this module; absent if nothing.
pub fn config() -> Doc {
    Doc::whole(CONFIG)
}

/// The severity of a log line.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Level {
    Debug = 0,
    Info = 1,
    Warn = 2,
    Error = 3,
}

/// Writes a line to the run's log. What is over the host's limits is dropped.
pub fn log(level: Level, text: &str) {
    imports::log(level as u32, text.as_bytes());
}

/// Writes a line at level debug.
pub fn debug(text: &str) {
    log(Level::Debug, text)
}

/// Writes a line at level info.
pub fn info(text: &str) {
    log(Level::Info, text)
}

/// Writes a line at level warn.
pub fn warn(text: &str) {
    log(Level::Warn, text)
}

/// Writes a line at level error.
pub fn error(text: &str) {
    log(Level::Error, text)
}

/// The wall clock in nanoseconds since 1970. It needs the capability clock.read.
pub fn now() -> Result<i64, Status> {
    Status::check(imports::clock(0))
}

/// The nanoseconds since the start of the run. It needs the capability clock.read.
pub fn elapsed() -> Result<i64, Status> {
    Status::check(imports::clock(1))
}

/// Fills `buf`, of at most 64 KiB, with random bytes. It needs the capability random.read.
pub fn random(buf: &mut [u8]) -> Result<(), Status> {
    Status::check(imports::random(buf)).map(|_| ())
}
