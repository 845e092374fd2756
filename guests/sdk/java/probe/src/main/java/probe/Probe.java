package probe;

import hexdag.Call;
import hexdag.CallException;
import hexdag.Doc;
import hexdag.Hexdag;
import hexdag.HostException;
import hexdag.Kind;
import java.nio.charset.StandardCharsets;
import org.teavm.interop.Export;

/** The probe of the conformance kit, made with the Java SDK: see abi/tck/README.md. */
public final class Probe {
    private static int remembered;

    private final Doc step;
    private final Doc doc;
    private final String at;

    private Probe(Doc step) {
        this.step = step;
        this.doc = named(text("/doc"));
        this.at = text("/at");
    }

    @Export(name = "node_before")
    public static long nodeBefore(int length) {
        return Hexdag.serve(Probe::play);
    }

    @Export(name = "node_after")
    public static long nodeAfter(int length) {
        return Hexdag.serve(Probe::play);
    }

    @Export(name = "node_run")
    public static long nodeRun(int length) {
        return Hexdag.serve(Probe::play);
    }

    @Export(name = "port_before")
    public static long portBefore(int length) {
        return Hexdag.serve(Probe::play);
    }

    @Export(name = "port_after")
    public static long portAfter(int length) {
        return Hexdag.serve(Probe::play);
    }

    @Export(name = "tool_call")
    public static long toolCall(int length) {
        return Hexdag.serve(Probe::play);
    }

    @Export(name = "port_call")
    public static long portCall(int length) {
        return Hexdag.serve(Probe::play);
    }

    @Export(name = "observe")
    public static long observe(int length) {
        return Hexdag.serve(Probe::play);
    }

    public static void main(String[] args) {
    }

    /** Does the steps of the configuration, or else of the arguments. */
    private static long play() {
        Doc steps = Doc.CONFIG.at("/steps");
        if (steps.kind("") == Kind.ABSENT) {
            steps = Doc.INPUT.at("/args/steps");
        }
        for (int i = 0, n = steps.count(""); i < n; i++) {
            Probe p = new Probe(steps.at("/" + i));
            switch (p.text("/do")) {
                case "continue":
                    return Hexdag.proceed();
                case "replace":
                    return Hexdag.replace();
                case "skip":
                    return Hexdag.skip();
                case "deny":
                    return Hexdag.deny(p.text("/code"), p.text("/reason"));
                case "fail":
                    return Hexdag.fail(p.text("/code"), p.text("/reason"));
                case "retry":
                    return Hexdag.retryAfter(p.number("/ms"));
                case "log":
                    Hexdag.log((int) p.number("/level"), p.text("/text"));
                    break;
                default:
                    Hexdag.log(Hexdag.DEBUG, p.said());
            }
        }
        return Hexdag.proceed();
    }

    private static Doc named(String name) {
        switch (name) {
            case "config":
                return Doc.CONFIG;
            case "reply":
                return Doc.REPLY;
            case "output":
                return Doc.OUTPUT;
            default:
                return Doc.INPUT;
        }
    }

    private String text(String path) {
        String text = step.text(path);
        return text == null ? "" : text;
    }

    private long number(String path) {
        Long n = step.integer(path);
        return n == null ? 0 : n;
    }

    /** Does the step and returns the line to log. */
    private String said() {
        try {
            return act();
        } catch (CallException e) {
            boolean isShort = Boolean.TRUE.equals(step.bool("/short"));
            return isShort ? e.status() : e.status() + " " + e.code() + " " + e.retryMillis() + " " + e.detail();
        } catch (HostException e) {
            return e.status();
        }
    }

    private String act() {
        switch (text("/do")) {
            case "get":
                return get(false);
            case "sum":
                return get(true);
            case "kind":
                return "kind " + name(doc.kind(at));
            case "text":
                return "text " + orNone(doc.text(at));
            case "int":
                return "int " + orNone(doc.integer(at));
            case "bool":
                return "bool " + orNone(doc.bool(at));
            case "keys":
                return keys(false);
            case "keysum":
                return keys(true);
            case "count":
                return "count " + doc.count(at);
            case "body":
                return body();
            case "bodyat":
                return "bytes " + sum(doc.body(number("/offset"), (int) number("/size")));
            case "now":
                return "now " + Hexdag.now();
            case "elapsed":
                return "elapsed " + Hexdag.elapsed();
            case "random":
                return "random " + sum(Hexdag.random((int) number("/size")));
            case "escape":
                return "escape " + Doc.escape(text("/value"));
            case "remember":
                return "remembered " + ++remembered;
            default:
                write();
                return "ok";
        }
    }

    private void write() {
        switch (text("/do")) {
            case "set":
                set(text("/kind"), text("/value"));
                break;
            case "setraw":
                doc.set(at, kind(text("/kind")), Doc.INPUT.body());
                break;
            case "setint":
                doc.set(at, number("/value"));
                break;
            case "remove":
                doc.remove(at);
                break;
            case "append":
                Doc.OUTPUT.append(utf8(text("/value")));
                break;
            case "copybody":
                Doc.OUTPUT.append(doc.body());
                break;
            case "call":
                call();
                break;
            default:
                throw new IllegalArgumentException("no step " + text("/do"));
        }
    }

    private String get(boolean isShort) {
        Doc.Value v = doc.get(at);
        if (v.kind() == Kind.ABSENT) {
            return "absent";
        }
        return name(v.kind()) + " " + (isShort ? sum(utf8(v.text())) : v.text());
    }

    private String keys(boolean isShort) {
        var names = doc.keys(at);
        String all = String.join(",", names);
        return "keys " + names.size() + " " + (isShort ? sum(utf8(all)) : all);
    }

    /** Writes a value with the method for its kind. */
    private void set(String kind, String value) {
        if (kind.equals("string")) {
            doc.set(at, value);
        } else if (kind.equals("number")) {
            doc.setNumber(at, value);
        } else if (kind.equals("json")) {
            doc.setJson(at, value);
        } else if (kind.equals("null") && value.equals("null")) {
            doc.setNull(at);
        } else if (kind.equals("bool") && (value.equals("true") || value.equals("false"))) {
            doc.set(at, value.equals("true"));
        } else {
            doc.set(at, kind(kind), utf8(value));
        }
    }

    private String body() {
        int pieces = 0;
        long length = 0;
        int h = START;
        for (;;) {
            byte[] piece = doc.body(length, (int) number("/size"));
            if (piece.length == 0) {
                return "body " + pieces + " " + length + " " + (h & 0xffffffffL);
            }
            h = hash(h, piece);
            length += piece.length;
            pieces++;
        }
    }

    private void call() {
        Call call = new Call(text("/op")).body(utf8(text("/body")));
        for (int i = 0, n = step.count("/args"); i < n; i++) {
            String arg = "/args/" + i;
            call.arg(text(arg + "/0"), kind(text(arg + "/1")), text(arg + "/2"));
        }
        call.send();
    }

    private static String name(Kind kind) {
        return kind.name().toLowerCase();
    }

    private static Kind kind(String name) {
        return name.isEmpty() ? Kind.ABSENT : Kind.valueOf(name.toUpperCase());
    }

    private static String orNone(Object value) {
        return value == null ? "none" : value.toString();
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Checksums are FNV-1a of 32 bits. */
    private static final int START = (int) 2166136261L;

    private static int hash(int h, byte[] bytes) {
        for (byte b : bytes) {
            h = (h ^ (b & 0xff)) * 16777619;
        }
        return h;
    }

    private static String sum(byte[] bytes) {
        return bytes.length + " " + (hash(START, bytes) & 0xffffffffL);
    }
}
