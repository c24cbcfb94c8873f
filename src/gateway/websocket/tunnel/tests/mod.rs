//! A tunnel on a virtual clock, between two peers without sockets.

mod closing;
mod orders;
mod properties;
mod resuming;
mod times;
mod world;
