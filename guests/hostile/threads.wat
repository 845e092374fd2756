;; wat2wasm: --enable-threads
;; A11. Shared memory and atomics.
(module
  (memory (export "memory") 1 1 shared)
  (func (export "port_before") (param i32) (result i64)
    (i64.extend_i32_u (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))))
