;; A7. Imports from an older WASI, which the host does not offer.
(module
  (import "wasi_unstable" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "port_before") (param i32) (result i64) (i64.const 0)))
