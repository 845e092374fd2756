// Package middleware wraps the operations of a port: retries, limits of rate and
// time, a circuit breaker, a cache. The names, the parameters and the defaults are
// those of hexDAG's middleware; times are numbers of seconds.
//
//	RetryWithBackoff
//	    max_retries          3      attempts after the first, 0 to 100
//	    base_delay           1      before the first of them, 0 to 3600
//	    backoff_factor       2      by what each delay is longer than the one before, 1 to 100
//	    max_delay            60     the longest delay, 0 to 3600
//	    jitter               true   each delay is multiplied by 0.5 to 1, drawn from the run's randomness
//	    methods              -      see below
//	RateLimiter
//	    max_calls            10     the bucket's size, and what it is refilled with in a period, 1 to 1000000
//	    period               60     0.001 to 86400
//	CircuitBreaker
//	    failure_threshold    5      failures in a row that open it, 1 to 10000
//	    reset_timeout        60     how long it stays open, 0.001 to 86400
//	    half_open_max_calls  1      probes at once after that, 1 to 1000
//	Timeout
//	    timeout_seconds      30     0.001 to 86400
//	ResponseCache
//	    max_size             128    answers, 1 to 100000
//	    ttl                  none   how long an answer is kept, 0.001 to 2592000
//	    max_entry_bytes      1 MiB  a longer answer is not kept, 1 to 67108864
//	    methods              -      see below
//
// StructuredOutputFallback, Observability, ObservableLLM and ObservableToolRouter
// are taken, have no parameters and add nothing: package llm holds every answer to
// its schema, whatever the model can do, and the door tells the run's observer
// about every call.
//
// # What fails
//
// A call that was denied, that names arguments or things that there are not, or
// whose caller gave up says nothing about the port: it is not tried again, and a
// circuit breaker does not count it. RetryWithBackoff gives up at once where a
// port asks to wait longer than max_delay.
//
// # What may be repeated
//
// [EffectOf] says of every operation whether it may be done twice, and whether its
// answer can stand for another call's. RetryWithBackoff repeats a call of any other
// only if the port said that it was not done (CodeRetry). ResponseCache
// answers calls whose answers can stand for others', within one tenant, and
// forgets the answers of a tenant when a call of that tenant changes something through
// the same port. methods lists operations, or patterns over them as abi.Match has
// it, to repeat or to keep in place of those; an answer that EffectOf would
// not keep is then kept for its run alone.
//
// # State
//
// A Middleware has the state of one port: its bucket, breaker and cache serve all
// operations that it wraps. Make one with New for each port that is wrapped. It
// is safe for concurrent use.
package middleware
