;; C26. Recurses without end: the stack is the host's memory.
(module
  (memory (export "memory") 1)
  (func $deeper (param i64 i64 i64 i64) (result i64)
    (i64.add (i64.const 1)
      (call $deeper (i64.add (local.get 0) (i64.const 1)) (local.get 0) (local.get 1) (local.get 2))))
  (func (export "port_before") (param i32) (result i64)
    (call $deeper (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0))))
