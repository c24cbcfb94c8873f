//! What does not move, and gets its goodbye.
