package hexdag;

/** Why the host did not do what it was asked. A handler that throws one has the verdict error. */
public class HostException extends RuntimeException {
    private static final String[] NAMES = {
        "ok", "not_found", "denied", "invalid", "limit", "fault", "unsupported", "unavailable", "timeout", "failed", "retry",
    };

    private final String status;

    HostException(long status, String what) {
        super(what + ": " + name(status));
        this.status = name(status);
    }

    private static String name(long status) {
        return status > 0 || status < -10 ? "failed" : NAMES[(int) -status];
    }

    /** The status in the words of the specification. */
    public String status() {
        return status;
    }
}
