//! Live WebSockets move to the new process of a hot upgrade, and their peers see nothing.

#[path = "crossing/moving.rs"]
mod moving;
#[path = "crossing/predecessor.rs"]
mod predecessor;
#[path = "crossing/staying.rs"]
mod staying;
#[path = "crossing/talk.rs"]
mod talk;
