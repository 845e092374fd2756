//! The boundary to the host: the imports of hexdag_v1. Elsewhere than in WebAssembly
//! a `testing::Host` stands in for them.

#[cfg(target_arch = "wasm32")]
mod host {
    mod raw {
        #[link(wasm_import_module = "hexdag_v1")]
        extern "C" {
            pub fn field(doc: u32, path: *const u8, path_len: usize, buf: *mut u8, cap: usize) -> i64;
            pub fn keys(doc: u32, path: *const u8, path_len: usize, buf: *mut u8, cap: usize) -> i64;
            pub fn set(doc: u32, path: *const u8, path_len: usize, kind: u32, val: *const u8, val_len: usize) -> i32;
            pub fn body(doc: u32, offset: u64, buf: *mut u8, cap: usize) -> i64;
            pub fn append(doc: u32, ptr: *const u8, len: usize) -> i32;
            pub fn call(op: *const u8, op_len: usize, head: *const u8, head_len: usize, body: *const u8, body_len: usize) -> i32;
            pub fn log(level: u32, ptr: *const u8, len: usize) -> i32;
            pub fn clock(id: u32) -> i64;
            pub fn random(ptr: *mut u8, len: usize) -> i32;
        }
    }

    // The host checks every range, and reads and writes only within these slices.
    pub fn field(doc: u32, path: &str, buf: &mut [u8]) -> i64 {
        unsafe { raw::field(doc, path.as_ptr(), path.len(), buf.as_mut_ptr(), buf.len()) }
    }
    pub fn keys(doc: u32, path: &str, buf: &mut [u8]) -> i64 {
        unsafe { raw::keys(doc, path.as_ptr(), path.len(), buf.as_mut_ptr(), buf.len()) }
    }
    pub fn set(doc: u32, path: &str, kind: u32, value: &[u8]) -> i64 {
        i64::from(unsafe { raw::set(doc, path.as_ptr(), path.len(), kind, value.as_ptr(), value.len()) })
    }
    pub fn body(doc: u32, offset: u64, buf: &mut [u8]) -> i64 {
        unsafe { raw::body(doc, offset, buf.as_mut_ptr(), buf.len()) }
    }
    pub fn append(doc: u32, data: &[u8]) -> i64 {
        i64::from(unsafe { raw::append(doc, data.as_ptr(), data.len()) })
    }
    pub fn call(op: &str, body: &[u8]) -> i64 {
        i64::from(unsafe { raw::call(op.as_ptr(), op.len(), core::ptr::null(), 0, body.as_ptr(), body.len()) })
    }
    pub fn log(level: u32, text: &[u8]) -> i64 {
        i64::from(unsafe { raw::log(level, text.as_ptr(), text.len()) })
    }
    pub fn clock(id: u32) -> i64 {
        unsafe { raw::clock(id) }
    }
    pub fn random(buf: &mut [u8]) -> i64 {
        i64::from(unsafe { raw::random(buf.as_mut_ptr(), buf.len()) })
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod host {
    use crate::testing::with;

    pub fn field(doc: u32, path: &str, buf: &mut [u8]) -> i64 {
        with(|h| h.field(doc, path, buf))
    }
    pub fn keys(doc: u32, path: &str, buf: &mut [u8]) -> i64 {
        with(|h| h.keys(doc, path, buf))
    }
    pub fn set(doc: u32, path: &str, kind: u32, value: &[u8]) -> i64 {
        with(|h| i64::from(h.set(doc, path, kind, value)))
    }
    pub fn body(doc: u32, offset: u64, buf: &mut [u8]) -> i64 {
        with(|h| h.body(doc, offset, buf))
    }
    pub fn append(doc: u32, data: &[u8]) -> i64 {
        with(|h| i64::from(h.append(doc, data)))
    }
    pub fn call(op: &str, body: &[u8]) -> i64 {
        with(|h| i64::from(h.call(op, body)))
    }
    pub fn log(level: u32, text: &[u8]) -> i64 {
        with(|h| i64::from(h.log(level, text)))
    }
    pub fn clock(id: u32) -> i64 {
        with(|h| h.clock(id))
    }
    pub fn random(buf: &mut [u8]) -> i64 {
        with(|h| i64::from(h.random(buf)))
    }
}

pub use host::*;
