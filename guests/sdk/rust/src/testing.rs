//! For native tests: a host of the test's own in place of the imports.

extern crate std;

use std::boxed::Box;
use std::cell::RefCell;
use std::thread_local;

/// What stands in for the host. The methods are the imports of the same name; what a
/// test does not need says unsupported.
#[allow(missing_docs, unused_variables)]
pub trait Host {
    fn field(&mut self, doc: u32, path: &str, buf: &mut [u8]) -> i64 {
        -6
    }
    fn keys(&mut self, doc: u32, path: &str, buf: &mut [u8]) -> i64 {
        -6
    }
    fn set(&mut self, doc: u32, path: &str, kind: u32, value: &[u8]) -> i32 {
        -6
    }
    fn body(&mut self, doc: u32, offset: u64, buf: &mut [u8]) -> i64 {
        -6
    }
    fn append(&mut self, doc: u32, data: &[u8]) -> i32 {
        -6
    }
    fn call(&mut self, op: &str, body: &[u8]) -> i32 {
        -6
    }
    fn log(&mut self, level: u32, text: &[u8]) -> i32 {
        -6
    }
    fn clock(&mut self, id: u32) -> i64 {
        -6
    }
    fn random(&mut self, buf: &mut [u8]) -> i32 {
        -6
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Box<dyn Host>>> = RefCell::new(None);
}

pub(crate) fn with<R>(f: impl FnOnce(&mut dyn Host) -> R) -> R {
    CURRENT.with(|c| f(c.borrow_mut().as_mut().expect("there is no host: see testing::run").as_mut()))
}

/// Runs a guest's code, such as `my_hook::node_before(0)`, with a host, in this thread.
pub fn run<R>(host: impl Host + 'static, guest: impl FnOnce() -> R) -> R {
    CURRENT.with(|c| *c.borrow_mut() = Some(Box::new(host)));
    let result = guest();
    CURRENT.with(|c| *c.borrow_mut() = None);
    result
}
