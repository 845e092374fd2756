;; A8. An import whose names hold a line's end, a terminal's escape, NUL and an
;; override of the direction of writing. Every message must show them escaped.
(module
  (import "env\n\1b[31mFAKE\00" "\e2\80\aeevil\1b]0;pwned\07" (func))
  (memory (export "memory") 1)
  (func (export "port_before") (param i32) (result i64) (i64.const 0)))
