;; wat2wasm: --enable-memory64
;; A11. A 64-bit memory.
(module
  (memory (export "memory") i64 1)
  (func (export "port_before") (param i32) (result i64) (i64.const 0)))
