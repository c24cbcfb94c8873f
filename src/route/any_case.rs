//! Paths that are matched in any case.

use std::collections::HashMap;

use crate::limits::ANY_CASE_PATH_BYTES_MAX;

/// What belongs to each path, whatever its case.
#[derive(Debug, Clone)]
pub(super) struct AnyCase<T> {
    /// By the path in lower case.
    paths: HashMap<String, T>,
    /// Bit n: some path has n bytes, modulo 64. Most other paths are told apart by it, without a look at their bytes.
    lengths: u64,
}

impl<T> AnyCase<T> {
    /// A table of these paths, which are in lower case.
    pub(super) fn new(paths: HashMap<String, T>) -> AnyCase<T> {
        let lengths = paths.keys().fold(0, |lengths, path| lengths | length_bit(path));
        AnyCase { paths, lengths }
    }

    /// What belongs to a path. It does not allocate.
    pub(super) fn get(&self, path: &str) -> Option<&T> {
        if self.lengths & length_bit(path) == 0 {
            return None;
        }
        let mut folded = [0; ANY_CASE_PATH_BYTES_MAX];
        let folded = folded.get_mut(..path.len())?;
        folded.copy_from_slice(path.as_bytes());
        folded.make_ascii_lowercase();
        self.paths.get(std::str::from_utf8(folded).ok()?)
    }
}

fn length_bit(path: &str) -> u64 {
    1 << (path.len() % 64)
}
