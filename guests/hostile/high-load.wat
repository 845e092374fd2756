;; D41. Reads and writes at the very end of the 32-bit address space.
(module
  (memory (export "memory") 1 65536)
  (func (export "port_before") (param i32) (result i64)
    (i64.store offset=0xffffffff (i32.const 0xffffffff) (i64.const 1))
    (i64.load (i32.const 0xfffffffc))))
