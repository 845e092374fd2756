package hexdag;

import java.util.function.LongSupplier;

/** What a guest does beside reading and writing documents: services of the host, and verdicts. */
public final class Hexdag {
    public static final int DEBUG = 0;
    public static final int INFO = 1;
    public static final int WARN = 2;
    public static final int ERROR = 3;

    private Hexdag() {
    }

    /** Writes a line to the run's log. What is over the host's limits is dropped. */
    public static void log(int level, String text) {
        byte[] line = Doc.utf8(text);
        Imports.log(level, Imports.at(line), line.length);
    }

    /** The wall clock in nanoseconds since 1970. It needs the capability clock.read. */
    public static long now() {
        return clock(0);
    }

    /** The nanoseconds since the start of the run. It needs the capability clock.read. */
    public static long elapsed() {
        return clock(1);
    }

    private static long clock(int id) {
        long ns = Imports.clock(id);
        if (ns < 0) {
            throw new HostException(ns, "cannot read the clock");
        }
        return ns;
    }

    /** Random bytes, at most 64 KiB. It needs the capability random.read. */
    public static byte[] random(int size) {
        byte[] bytes = new byte[size];
        int status = Imports.random(Imports.at(bytes), size);
        if (status != 0) {
            throw new HostException(status, "cannot draw random bytes");
        }
        return bytes;
    }

    /** Go on unchanged. For a node's body or a tool: done, the output is what it gives. */
    public static long proceed() {
        return 0;
    }

    /** Go on with what the guest patched. */
    public static long replace() {
        return 1;
    }

    /** Of a before-hook: do not run what is hooked, the output is what it gives. */
    public static long skip() {
        return 2;
    }

    /** Refuse, with a code for programs and a reason for people. */
    public static long deny(String code, String reason) {
        return explain(3, code, reason);
    }

    /** Try again after so many milliseconds, below 2^32. */
    public static long retryAfter(long milliseconds) {
        return milliseconds << 32 | 4;
    }

    /** The guest could not do its work. */
    public static long fail(String code, String reason) {
        return explain(5, code, reason);
    }

    // The output is made anew, so that no half-made result goes out with a refusal. What
    // the host then refuses leaves the verdict as it is.
    private static long explain(long verdict, String code, String reason) {
        Doc.OUTPUT.tryToSet("", Kind.ABSENT, new byte[0]);
        Doc.OUTPUT.tryToSet("/code", Kind.STRING, Doc.utf8(code));
        Doc.OUTPUT.tryToSet("/reason", Kind.STRING, Doc.utf8(reason));
        return verdict;
    }

    /** Runs a handler, as every export has to: what it throws is the verdict error. */
    public static long serve(LongSupplier handler) {
        try {
            return handler.getAsLong();
        } catch (CallException e) {
            return e.status().equals("retry") ? retryAfter(e.retryMillis()) : fail(e.code(), e.getMessage() + ": " + e.detail());
        } catch (HostException e) {
            return fail(e.status(), e.getMessage());
        } catch (RuntimeException e) {
            return fail("exception", String.valueOf(e.getMessage()));
        }
    }
}
