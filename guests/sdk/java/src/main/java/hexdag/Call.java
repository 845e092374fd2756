package hexdag;

import java.util.ArrayList;
import java.util.List;
import org.teavm.interop.Address;

/** A call of a port's operation in the making, which needs that capability:
 * {@code new Call("database.query").text("/table", "orders").send()}. */
public final class Call {
    private record Arg(String path, Kind kind, String text) {
    }

    private final String op;
    private final List<Arg> args = new ArrayList<>();
    private byte[] body = {};

    public Call(String op) {
        this.op = op;
    }

    /** Adds an argument: the characters of a string, the JSON text of anything else. */
    public Call arg(String path, Kind kind, String text) {
        args.add(new Arg(path, kind, text));
        return this;
    }

    public Call text(String path, String value) {
        return arg(path, Kind.STRING, value);
    }

    public Call integer(String path, long value) {
        return arg(path, Kind.NUMBER, Long.toString(value));
    }

    public Call json(String path, String text) {
        return arg(path, Kind.JSON, text);
    }

    /** Puts raw bytes beside the arguments. */
    public Call body(byte[] bytes) {
        body = bytes;
        return this;
    }

    /** Makes the call, and gives the reply, which is there until the next one. */
    public Doc send() {
        for (Arg a : args) {
            int status = Doc.REQUEST.tryToSet(a.path, a.kind, Doc.utf8(a.text));
            if (status != 0) {
                Doc.REQUEST.tryToSet("", Kind.ABSENT, new byte[0]); // or the next call would send what is left
                throw new HostException(status, "cannot write the argument " + a.path);
            }
        }
        byte[] name = Doc.utf8(op);
        int status = Imports.call(Imports.at(name), name.length, Address.fromInt(0), 0, Imports.at(body), body.length);
        if (status != 0) {
            throw new CallException(status, op);
        }
        return Doc.REPLY;
    }
}
