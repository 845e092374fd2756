package greet;

import hexdag.Doc;
import hexdag.Hexdag;
import org.teavm.interop.Export;

public class Greet {
    @Export(name = "node_before")
    public static long nodeBefore(int payloadLength) {
        return Hexdag.serve(() -> {
            String name = Doc.INPUT.text("/input/name");
            if (name == null) return Hexdag.deny("no_name", "the input has no name");
            Doc.INPUT.set("/input/greeting", "hello " + name);
            return Hexdag.replace();
        });
    }

    public static void main(String[] args) { }
}
