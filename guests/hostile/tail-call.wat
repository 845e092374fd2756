;; wat2wasm: --enable-tail-call
;; A11. Tail calls, which the host does not run: they can loop without growing a stack.
(module
  (memory (export "memory") 1)
  (func $f (export "port_before") (param i32) (result i64) (return_call $f (local.get 0))))
