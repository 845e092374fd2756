;; wat2wasm: --enable-exceptions
;; A11. Exception handling.
(module
  (memory (export "memory") 1)
  (tag $e)
  (func (export "port_before") (param i32) (result i64) (throw $e)))
