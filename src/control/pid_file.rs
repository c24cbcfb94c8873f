//! The PID file (`PID_FILE`): it contains the process id of the process that accepts connections.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
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
    is_left: bool,
}

impl PidFile {
    /// Writes the process id to the temporary file, so that errors of the path are reported at start.
    ///
    /// The temporary file is a new one (`O_EXCL`, which follows no symbolic link): its name can be guessed, and whoever
    /// can write to the folder could have the gateway write elsewhere. A file that a killed process with the same id
    /// has left is removed.
    ///
    /// # Errors
    /// Returns the errors of `open(2)` and `write(2)`; `EEXIST` if something else is in its place.
    pub fn prepare(path: &Path) -> io::Result<PidFile> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}", process::id()));
        let temporary = PathBuf::from(temporary);
        // Until the file is known to be this process's own, nothing may remove it.
        let mut created = match create(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_left_over(&temporary) => {
                fs::remove_file(&temporary)?;
                create(&temporary)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let why = format!("{} is there, and this gateway has not left it", temporary.display());
                Err(io::Error::new(error.kind(), why))
            }
            created => created,
        }?;
        let file = PidFile { path: path.to_owned(), temporary };
        writeln!(created, "{}", process::id())?;
        Ok(file)
    }

    /// Renames the temporary file to the PID file. The rename replaces the file of the predecessor process, or the
    /// stale file of a killed process.
    ///
    /// # Errors
    /// Returns the errors of `rename(2)`.
    pub fn publish(self) -> io::Result<PublishedPidFile> {
        fs::rename(&self.temporary, &self.path)?;
        Ok(PublishedPidFile { path: self.path.clone(), is_left: false })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // After `publish` the temporary file no longer exists, and the call fails.
        let _ = fs::remove_file(&self.temporary);
    }
}

impl PublishedPidFile {
    /// Leaves the file to the successor process, which replaces it: to look whether it has would be too soon.
    pub fn leave(mut self) {
        self.is_left = true;
    }
}

impl Drop for PublishedPidFile {
    /// Removes the PID file, unless another process has replaced it, or will.
    fn drop(&mut self) {
        if !self.is_left && read(&self.path) == Some(process::id()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// A file of this user's with one name and a process id in it, or nothing: no link to another file.
fn is_left_over(path: &Path) -> bool {
    let is_own = |found: fs::Metadata| {
        found.is_file()
            && found.nlink() == 1
            && found.uid() == rustix::process::geteuid().as_raw()
            && found.len() < 16
    };
    fs::symlink_metadata(path).is_ok_and(is_own)
}

/// Reads the process id from a PID file.
pub fn read(path: &Path) -> Option<u32> {
    parse(&fs::read_to_string(path).ok()?)
}

/// The process id in the text of a PID file.
pub fn parse(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|pid| *pid > 0)
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
        PidFile::prepare(&path).and_then(PidFile::publish).expect("once more").leave();
        assert_eq!(read(&path), Some(process::id()), "the successor has not come to it yet");
        drop(PidFile::prepare(&path).expect("a writable folder"));
        fs::remove_file(&path).expect("it was there");
        assert!(PidFile::prepare(Path::new("/does/not/exist/pid")).is_err());
    }

    #[test]
    fn the_temporary_file_is_new_and_follows_no_link() {
        let folder = std::env::temp_dir().join(format!("realchat-pid-folder-{}", process::id()));
        fs::create_dir(&folder).expect("a new folder");
        let (path, victim) = (folder.join("pid"), folder.join("victim"));
        let temporary = folder.join(format!("pid.{}", process::id()));
        fs::write(&victim, "precious").expect("a file");
        for link in [
            |from: &Path, to: &Path| std::os::unix::fs::symlink(from, to),
            |from: &Path, to: &Path| fs::hard_link(from, to),
        ] {
            link(&victim, &temporary).expect("a link");
            let refused = PidFile::prepare(&path).map(|_| ()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read_to_string(&victim).expect("it is there"), "precious");
            assert!(fs::symlink_metadata(&temporary).is_ok(), "what was there stays");
            fs::remove_file(&temporary).expect("the link");
        }
        fs::write(&temporary, "1\n").expect("the file of a killed process with the same id");
        drop(PidFile::prepare(&path).and_then(PidFile::publish).expect("it is replaced"));
        fs::remove_dir_all(&folder).expect("our own folder");
    }
}
