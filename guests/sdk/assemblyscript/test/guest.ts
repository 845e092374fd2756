// A guest whose exports the test calls with a host of its own.
import { Call, Kind, Status, deny, escape, failed, input, output, proceed, replace, reply } from "../assembly";

export function fields(_: u32): u64 {
  const d = input.at("/input");
  output.setText("/text", d.text("/name")!);
  output.setBool("/none", d.text("/t") == null);
  output.setInt("/max", d.int("/max", 1));
  output.setInt("/min", d.int("/min", 1));
  output.setInt("/over", d.int("/over", 7));
  output.setFloat("/half", d.float("/half"));
  output.setBool("/t", d.bool("/t"));
  output.setText("/keys", d.keys("/o")!.join(","));
  output.setText("/escape", escape("a/b~"));
  output.setInt("/status", input.get("bad").status);
  output.setInt("/kind", d.kind("/no"));
  output.setInt("/body", input.body(8).byteLength);
  return proceed();
}

export function denies(_: u32): u64 {
  return deny("c", "r");
}

export function writes(_: u32): u64 {
  input.setText("/input/name", "x");
  return replace();
}

export function calls(_: u32): u64 {
  const status = new Call("a.b").text("/t", "orders").int("/n", -1).bytes(String.UTF8.encode("xy")).send();
  if (status != Status.OK) return failed(status);
  output.setValue("/code", Kind.STRING, reply.text("/code")!);
  return proceed();
}
