//! The connection against real and scripted servers.
