package hexdag;

import org.teavm.interop.Address;
import org.teavm.interop.Import;

/** The imports of hexdag_v1: abi/README.md says what each does. */
final class Imports {
    private Imports() {
    }

    @Import(module = "hexdag_v1", name = "field")
    static native long field(int doc, Address path, int pathLen, Address buf, int cap);

    @Import(module = "hexdag_v1", name = "keys")
    static native long keys(int doc, Address path, int pathLen, Address buf, int cap);

    @Import(module = "hexdag_v1", name = "set")
    static native int set(int doc, Address path, int pathLen, int kind, Address val, int valLen);

    @Import(module = "hexdag_v1", name = "body")
    static native long body(int doc, long offset, Address buf, int cap);

    @Import(module = "hexdag_v1", name = "append")
    static native int append(int doc, Address ptr, int len);

    @Import(module = "hexdag_v1", name = "call")
    static native int call(Address op, int opLen, Address head, int headLen, Address body, int bodyLen);

    @Import(module = "hexdag_v1", name = "log")
    static native int log(int level, Address ptr, int len);

    @Import(module = "hexdag_v1", name = "clock")
    static native long clock(int id);

    @Import(module = "hexdag_v1", name = "random")
    static native int random(Address ptr, int len);

    /** Where an array's bytes are. Nothing may be allocated between this and the import: the collector moves arrays. */
    static Address at(byte[] bytes) {
        return bytes.length == 0 ? Address.fromInt(0) : Address.ofData(bytes);
    }
}
