;; D46. Traps in _initialize: no call may follow.
(module
  (memory (export "memory") 1)
  (func (export "_initialize") unreachable)
  (func (export "port_before") (param i32) (result i64) (i64.const 0)))
