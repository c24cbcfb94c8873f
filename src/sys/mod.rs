//! What the operating system offers and Rust cannot check: the only folder with `unsafe`.
#![allow(unsafe_code)]

mod fd;

pub use fd::fd_of;
