//! Metrics of the control stream. One writer, the thread that reads it.

crate::metric_group! {
    /// Metrics of the control stream.
    pub struct StreamMetrics {
        /// Entries of the control stream that were read.
        counter entries = "control_entries";
        /// Entries of the control stream that mean nothing and were passed over.
        counter malformed = "control_entries_malformed";
        /// Times that entries of the control stream were gone before they were read, or instructions were too many for
        /// a core.
        counter missed = "control_entries_missed";
        /// Revocations that were not remembered because the list was full.
        counter not_remembered = "revocations_not_remembered";
        /// Revocations that are in force.
        gauge revocations = "revocations";
        /// 1 while the control stream is within reach.
        gauge connected = "control_stream_connected";
        /// When the control stream was last read, in seconds since 1970.
        gauge read_unix_s = "control_stream_read_timestamp_seconds";
    }
}
