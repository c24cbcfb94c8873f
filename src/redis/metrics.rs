//! Metrics of the Redis client.

crate::metric_group! {
    /// Metrics of one core's connection to Redis.
    pub struct RedisMetrics {
        /// Script calls queued for Redis.
        counter calls = "redis_calls";
        /// Writes to Redis: calls that are ready together leave in one.
        counter round_trips = "redis_round_trips";
        /// Calls that Redis did not answer in time, counted from the moment at which their commands left.
        counter timeouts = "redis_timeouts";
        /// Calls whose commands could not leave in time.
        counter unsent = "redis_unsent";
        /// Calls that were not made because too many waited already.
        counter queue_full = "redis_queue_full";
        /// Cores that do not ask Redis now, because it is out of reach or answers with errors.
        gauge breaker_open = "redis_breaker_open";
        /// Attempts to connect to Redis, the first one included.
        counter reconnects = "redis_reconnects";
        /// Nodes of a Redis cluster that cores have connections to.
        gauge nodes = "redis_nodes";
        /// Calls that a node of a cluster sent on to another one, because a slot has moved or is about to.
        counter redirects = "redis_redirects";
        /// How long Redis took for the calls that it answered, from the moment at which their commands left.
        histogram latency(&LATENCY_BOUNDS_US) = "redis_latency_seconds";
    }
}

crate::metric_group! {
    /// Metrics of one core's connection to one node of a Redis cluster.
    pub struct NodeMetrics {
        /// Cores that do not ask this node of a Redis cluster now, because it is out of reach or answers with errors.
        gauge breaker_open = "redis_node_breaker_open";
        /// Decisions that this node of a Redis cluster should have made and did not.
        counter undecided = "redis_node_undecided";
    }
}

crate::metric_group! {
    /// Metrics of requests that Redis did not decide. The limiter counts them; the circuit breaker logs them.
    pub struct OutageMetrics {
        /// Requests that this process's own buckets admitted while Redis was out of reach.
        counter admitted_by_memory = "limit_admitted_by_memory";
        /// Requests that this process's own buckets refused while Redis was out of reach.
        counter refused_by_memory = "limit_refused_by_memory";
        /// Requests that passed unlimited because Redis did not answer in time.
        counter unlimited_timeout = "limit_unlimited_timeout";
        /// Requests that passed unlimited because Redis was not asked.
        counter unlimited_breaker = "limit_unlimited_breaker";
    }
}

const LATENCY_BOUNDS_US: [u64; 7] = [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000];
