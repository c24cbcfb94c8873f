//! What is counted of the WebSockets that Redis is told of.

crate::metric_group! {
    /// Metrics of one core.
    pub struct OnlineMetrics {
        /// WebSockets whose places in Redis this core renews.
        gauge sockets = "online_sockets";
        /// Events written into the stream.
        counter events = "online_events";
        /// Events that were dropped because Redis was away for too long.
        counter events_dropped = "online_events_dropped";
        /// Events that wait for Redis.
        gauge events_queued = "online_events_queued";
        /// Calls about WebSockets that Redis has not answered in time, or refused.
        counter failures = "online_failures";
        /// Handshakes that were refused for the user's WebSockets on all instances.
        counter refused = "handshakes_refused_for_all_instances";
        /// Handshakes that passed under the bound of this process alone, because Redis did not answer.
        counter unasked = "handshakes_unasked";
    }
}
