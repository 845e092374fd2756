package hexdag;

/** The JSON type of a value. JSON is for writing alone: JSON text of any kind. */
public enum Kind {
    ABSENT, NULL, BOOL, NUMBER, STRING, ARRAY, OBJECT, JSON
}
