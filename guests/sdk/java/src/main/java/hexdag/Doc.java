package hexdag;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.teavm.interop.Address;

/** A JSON document in the host, or a part of one. Paths are JSON pointers (RFC 6901) relative to it. */
public final class Doc {
    /** The payload, and the raw bytes beside it. */
    public static final Doc INPUT = new Doc(0, "");
    /** What the operator configured for this module; absent if nothing. */
    public static final Doc CONFIG = new Doc(1, "");
    static final Doc REQUEST = new Doc(2, "");
    /** What the last call of a port gave: its answer, or /code, /message and /retry_ms. */
    public static final Doc REPLY = new Doc(3, "");
    /** What a node's body, a tool or a hook that skips gives. */
    public static final Doc OUTPUT = new Doc(4, "");

    private static final Kind[] KINDS = Kind.values();
    private static final byte[] NONE = {};

    private final int id;
    private final String root;
    private long read; // what the last import returned

    private Doc(int id, String root) {
        this.id = id;
        this.root = root;
    }

    /** A value: the characters of a string, the JSON text of anything else. */
    public record Value(Kind kind, String text) {
    }

    /** The part of the document at path, whether it is there or not. */
    public Doc at(String path) {
        return new Doc(id, root + path);
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    // text reads a field, or the names of members, and leaves what the import returned in read.
    private String text(boolean names, String path) {
        byte[] p = utf8(root + path);
        byte[] buf = new byte[256];
        for (;;) {
            Address to = Imports.at(buf);
            read = names ? Imports.keys(id, Imports.at(p), p.length, to, buf.length) : Imports.field(id, Imports.at(p), p.length, to, buf.length);
            if (read < 0) {
                return null;
            }
            int size = (int) read;
            if (size <= buf.length) {
                return new String(buf, 0, size, StandardCharsets.UTF_8);
            }
            buf = new byte[size];
        }
    }

    /** The value at path, of the kind ABSENT if there is none. */
    public Value get(String path) {
        String text = text(false, path);
        if (text == null) {
            throw new HostException(read, "cannot read " + root + path);
        }
        return new Value(KINDS[(int) (read >> 32)], text);
    }

    /** The kind of the value at path; ABSENT too if the path is malformed. */
    public Kind kind(String path) {
        byte[] p = utf8(root + path);
        long r = Imports.field(id, Imports.at(p), p.length, Imports.at(NONE), 0);
        return r < 0 ? Kind.ABSENT : KINDS[(int) (r >> 32)];
    }

    private String of(Kind kind, String path) {
        String text = text(false, path);
        return text != null && KINDS[(int) (read >> 32)] == kind ? text : null;
    }

    /** The string at path, or null. */
    public String text(String path) {
        return of(Kind.STRING, path);
    }

    /** The integer at path, or null: of 64 bits, with neither point nor exponent. */
    public Long integer(String path) {
        String text = of(Kind.NUMBER, path);
        try {
            return text == null ? null : Long.valueOf(text);
        } catch (NumberFormatException e) {
            return null;
        }
    }

    /** The number at path, or null. */
    public Double number(String path) {
        String text = of(Kind.NUMBER, path);
        return text == null ? null : Double.valueOf(text);
    }

    /** The boolean at path, or null. */
    public Boolean bool(String path) {
        String text = of(Kind.BOOL, path);
        return text == null ? null : text.equals("true");
    }

    /** How many members the object or array at path has, else 0. */
    public int count(String path) {
        byte[] p = utf8(root + path);
        long r = Imports.keys(id, Imports.at(p), p.length, Imports.at(NONE), 0);
        return r < 0 ? 0 : (int) (r >> 32);
    }

    /** The names of the members of the object at path in byte order, or the indexes of the array. */
    public List<String> keys(String path) {
        String text = text(true, path);
        if (text == null) {
            throw new HostException(read, "cannot list " + root + path);
        }
        List<String> names = new ArrayList<>();
        for (int i = 0; i < text.length();) {
            int end = text.indexOf('/', i + 1);
            end = end < 0 ? text.length() : end;
            names.add(text.substring(i + 1, end).replace("~1", "/").replace("~0", "~"));
            i = end;
        }
        return names;
    }

    /** A member's name as a token of a path. */
    public static String escape(String name) {
        return name.replace("~", "~0").replace("/", "~1");
    }

    /** Writes a string. */
    public void set(String path, String value) {
        set(path, Kind.STRING, utf8(value));
    }

    /** Writes an integer. */
    public void set(String path, long value) {
        setNumber(path, Long.toString(value));
    }

    /** Writes a boolean. */
    public void set(String path, boolean value) {
        set(path, Kind.BOOL, utf8(value ? "true" : "false"));
    }

    /** Writes a number as it is spelled, so that no digit is lost. */
    public void setNumber(String path, String text) {
        set(path, Kind.NUMBER, utf8(text));
    }

    /** Writes null. */
    public void setNull(String path) {
        set(path, Kind.NULL, utf8("null"));
    }

    /** Writes any value, given as JSON text. */
    public void setJson(String path, String text) {
        set(path, Kind.JSON, utf8(text));
    }

    /** Writes a value of a kind, given as bytes of UTF-8: the characters of a string, the JSON text of anything else. */
    public void set(String path, Kind kind, byte[] value) {
        int status = tryToSet(path, kind, value);
        if (status != 0) {
            throw new HostException(status, "cannot write " + root + path);
        }
    }

    int tryToSet(String path, Kind kind, byte[] value) {
        byte[] p = utf8(root + path);
        return Imports.set(id, Imports.at(p), p.length, kind.ordinal(), Imports.at(value), value.length);
    }

    /** Removes the member at path. */
    public void remove(String path) {
        set(path, Kind.ABSENT, NONE);
    }

    /** The number of raw bytes beside the document. */
    public long bodySize() {
        return Math.max(0, Imports.body(id, 0, Imports.at(NONE), 0));
    }

    /** All the raw bytes beside the document. */
    public byte[] body() {
        return body(0, Integer.MAX_VALUE);
    }

    /** At most size raw bytes beside the document, from offset on. */
    public byte[] body(long offset, int size) {
        byte[] bytes = new byte[(int) Math.max(0, Math.min(bodySize() - offset, size))];
        long total = Imports.body(id, offset, Imports.at(bytes), bytes.length);
        return total < 0 ? Arrays.copyOf(bytes, 0) : bytes;
    }

    /** Appends to the raw bytes beside the result. */
    public void append(byte[] bytes) {
        int status = Imports.append(id, Imports.at(bytes), bytes.length);
        if (status != 0) {
            throw new HostException(status, "cannot append to the body");
        }
    }
}
