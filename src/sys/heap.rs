//! Gives free memory of the heap back to the kernel.

/// Gives back what the C library keeps of freed memory (malloc_trim(3)). It locks each arena for as long as it takes
/// to look through it, so a thread that allocates at that moment waits: some milliseconds after hundreds of MiB were
/// freed.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function takes an integer and changes nothing but the allocator's own, locked state.
    unsafe {
        malloc_trim(0);
    }
}

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    /// glibc's `int malloc_trim(size_t pad)`.
    fn malloc_trim(pad: usize) -> core::ffi::c_int;
}
