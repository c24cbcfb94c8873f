//! The file that says which process is in charge (`PID_FILE`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

/// This process's number, written beside the file and not yet in its place. Dropped, it is gone.
pub struct PidFile {
    path: PathBuf,
    beside: PathBuf,
}

/// This process's number in its place.
pub struct InCharge {
    path: PathBuf,
}

impl PidFile {
    /// Writes the number, so that what is wrong with the path shows before anything depends on it.
    /// Errors: as `open(2)` and `write(2)`.
    pub fn prepare(path: &Path) -> io::Result<PidFile> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", process::id()));
        let file = PidFile { path: path.to_owned(), beside: beside.into() };
        fs::write(&file.beside, format!("{}\n", process::id()))?;
        Ok(file)
    }

    /// Takes the place of whatever stands there: a process before us, or one that was killed and left it behind.
    /// Errors: as `rename(2)`.
    pub fn take_charge(self) -> io::Result<InCharge> {
        fs::rename(&self.beside, &self.path)?;
        Ok(InCharge { path: self.path.clone() })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // After the renaming there is nothing any more.
        let _ = fs::remove_file(&self.beside);
    }
}

impl Drop for InCharge {
    /// Removes it, unless another process is in charge by now.
    fn drop(&mut self) {
        if read(&self.path) == Some(process::id()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The number in such a file.
pub fn read(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_stands_there_from_the_moment_of_taking_charge_to_the_end() {
        let path = std::env::temp_dir().join(format!("realchat-pid-{}", process::id()));
        fs::write(&path, "1\n").expect("a file of one that was killed");
        let prepared = PidFile::prepare(&path).expect("a writable folder");
        assert_eq!(read(&path), Some(1));
        let in_charge = prepared.take_charge().expect("the same folder");
        assert_eq!(read(&path), Some(process::id()));
        drop(in_charge);
        assert!(!path.exists());

        let in_charge = PidFile::prepare(&path).and_then(PidFile::take_charge).expect("once more");
        fs::write(&path, "1\n").expect("another is in charge");
        drop(in_charge);
        assert_eq!(read(&path), Some(1), "it is not ours any more");
        drop(PidFile::prepare(&path).expect("a writable folder"));
        fs::remove_file(&path).expect("it was there");
        assert!(PidFile::prepare(Path::new("/does/not/exist/pid")).is_err());
    }
}
