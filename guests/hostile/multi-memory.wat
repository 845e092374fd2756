;; wat2wasm: --enable-multi-memory
;; A11. A second memory, which no limit of the first would hold.
(module
  (memory (export "memory") 1)
  (func (export "port_before") (param i32) (result i64) (i64.const 0))
  (memory $second 1))
