import { deny, input, replace } from "hexdag/assembly";

export function node_before(_: u32): u64 {
  const name = input.text("/input/name");
  if (name == null) return deny("no_name", "the input has no name");
  input.setText("/input/greeting", "hello " + name);
  return replace();
}
