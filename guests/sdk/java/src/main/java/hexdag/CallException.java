package hexdag;

/** A call that did not succeed. */
public final class CallException extends HostException {
    private final String code;
    private final String detail;
    private final long retryMillis;

    CallException(int status, String op) {
        super(status, op);
        String code = Doc.REPLY.text("/code");
        String detail = Doc.REPLY.text("/message");
        Long millis = Doc.REPLY.integer("/retry_ms");
        this.code = code == null ? "" : code;
        this.detail = detail == null ? "" : detail;
        this.retryMillis = millis == null ? 0 : millis;
    }

    /** The host's stable name of the error. */
    public String code() {
        return code;
    }

    /** What it says for people. */
    public String detail() {
        return detail;
    }

    /** When to try again, if the status is retry; 0 if the port did not say. */
    public long retryMillis() {
        return retryMillis;
    }
}
