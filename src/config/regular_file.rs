//! Reads configuration files and files of secrets.

use std::io;
use std::path::Path;

use crate::limits::CONFIG_FILE_BYTES_MAX;

/// The bytes of a regular file of at most [`CONFIG_FILE_BYTES_MAX`] bytes.
///
/// # Errors
/// Why the file is not read: one sentence with its path.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    // The type is checked before the file is opened: opening a FIFO would wait for a writer.
    let found = std::fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() {
        return Err(format!("{} is not a regular file", path.display()));
    }
    if found.len() > CONFIG_FILE_BYTES_MAX {
        return Err(format!("{} is over {CONFIG_FILE_BYTES_MAX} bytes", path.display()));
    }
    std::fs::read(path).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_files_that_are_not_regular_or_not_there() {
        for path in ["/dev/null", "/", "/does/not/exist"] {
            let told = read(Path::new(path)).unwrap_err();
            assert!(told.starts_with(path), "{told}");
        }
    }
}
