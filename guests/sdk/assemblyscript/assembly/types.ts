/** The JSON type of a value. JSON is for writing alone: JSON text of any kind. */
export enum Kind {
  ABSENT = 0,
  NULL = 1,
  BOOL = 2,
  NUMBER = 3,
  STRING = 4,
  ARRAY = 5,
  OBJECT = 6,
  JSON = 7,
}

/** What the host answered: OK, or why it did not do what it was asked. */
export enum Status {
  OK = 0,
  NOT_FOUND = -1,
  DENIED = -2,
  INVALID = -3,
  LIMIT = -4,
  FAULT = -5,
  UNSUPPORTED = -6,
  UNAVAILABLE = -7,
  TIMEOUT = -8,
  FAILED = -9,
  RETRY = -10,
}

/** The severity of a log line. */
export enum Level {
  DEBUG = 0,
  INFO = 1,
  WARN = 2,
  ERROR = 3,
}

const names: string[] = [
  "ok", "not_found", "denied", "invalid", "limit", "fault", "unsupported", "unavailable", "timeout", "failed", "retry",
];

/** A status in the words of the specification. */
export function statusName(status: Status): string {
  return status > 0 || status < Status.RETRY ? "unknown" : names[-status];
}
