//! The PID file (`PID_FILE`): it contains the process id of the process that accepts connections.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

/// The process id in a temporary file next to the PID file. Dropping this value removes the temporary file.
pub struct PidFile {
    path: PathBuf,
    temporary: PathBuf,
}

/// The PID file with the process id of this process. Dropping this value removes the file.
pub struct PublishedPidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes the process id to the temporary file, so that errors of the path are reported at start.
    ///
    /// # Errors
    /// Returns the errors of `open(2)` and `write(2)`.
    pub fn prepare(path: &Path) -> io::Result<PidFile> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}", process::id()));
        let file = PidFile { path: path.to_owned(), temporary: temporary.into() };
        fs::write(&file.temporary, format!("{}\n", process::id()))?;
        Ok(file)
    }

    /// Renames the temporary file to the PID file. The rename replaces the file of the predecessor process, or the
    /// stale file of a killed process.
    ///
    /// # Errors
    /// Returns the errors of `rename(2)`.
    pub fn publish(self) -> io::Result<PublishedPidFile> {
        fs::rename(&self.temporary, &self.path)?;
        Ok(PublishedPidFile { path: self.path.clone() })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // After `publish` the temporary file no longer exists, and the call fails.
        let _ = fs::remove_file(&self.temporary);
    }
}

impl Drop for PublishedPidFile {
    /// Removes the PID file, unless a successor process has replaced it.
    fn drop(&mut self) {
        if read(&self.path) == Some(process::id()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Reads the process id from a PID file.
pub fn read(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_the_process_id_from_publication_until_the_end() {
        let path = std::env::temp_dir().join(format!("realchat-pid-{}", process::id()));
        fs::write(&path, "1\n").expect("a stale PID file");
        let prepared = PidFile::prepare(&path).expect("a writable folder");
        assert_eq!(read(&path), Some(1));
        let published = prepared.publish().expect("the same folder");
        assert_eq!(read(&path), Some(process::id()));
        drop(published);
        assert!(!path.exists());

        let published = PidFile::prepare(&path).and_then(PidFile::publish).expect("once more");
        fs::write(&path, "1\n").expect("the file of a successor");
        drop(published);
        assert_eq!(read(&path), Some(1), "the successor's file stays");
        drop(PidFile::prepare(&path).expect("a writable folder"));
        fs::remove_file(&path).expect("it was there");
        assert!(PidFile::prepare(Path::new("/does/not/exist/pid")).is_err());
    }
}
