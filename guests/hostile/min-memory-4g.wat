;; D41. Declares all of the 4 GiB, and reads at the very end of them.
(module
  (memory (export "memory") 65536)
  (func (export "port_before") (param i32) (result i64) (i64.load (i32.const 0xfffffff8))))
