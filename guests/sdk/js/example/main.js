import { deny, replace } from "hexdag";

export function node_before(call) {
  const name = call.input.text("/name");
  if (name === undefined) return deny("no_name", "the input has no name");
  call.input.set("/greeting", `hello ${name}`);
  return replace();
}
