//! Reads configuration files and files of secrets.

use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::limits::CONFIG_FILE_BYTES_MAX;

/// What is in a file, and who else may write it.
#[derive(Debug)]
pub(super) struct RegularFile {
    pub(super) bytes: Vec<u8>,
    /// Why anybody on the host may change it: one sentence with its path.
    pub(super) exposure: Option<String>,
}

/// Reads a regular file of at most [`CONFIG_FILE_BYTES_MAX`] bytes.
///
/// # Errors
/// Why the file is not read: one sentence with its path.
pub(super) fn read(path: &Path) -> Result<RegularFile, String> {
    let unreadable = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    // Opening a FIFO would wait for a writer, but not so. What is judged is the file that is read, whatever stands at
    // its path by then.
    let nonblocking = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    if !found.is_file() {
        return Err(format!("{} is not a regular file", path.display()));
    }
    if found.len() > CONFIG_FILE_BYTES_MAX {
        return Err(format!("{} is over {CONFIG_FILE_BYTES_MAX} bytes", path.display()));
    }
    let mut bytes = Vec::new();
    file.take(CONFIG_FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(RegularFile { bytes, exposure: exposure(path, &found) })
}

/// The bytes of a regular file of at most [`CONFIG_FILE_BYTES_MAX`] bytes.
///
/// # Errors
/// Why the file is not read: one sentence with its path.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    read(path).map(|file| file.bytes)
}

/// The same for a file whose contents decide whom the gateway trusts, or as whom it is trusted.
///
/// # Errors
/// As [`read_file`]; and if anybody on the host may change the file.
pub fn read_secret_file(path: &Path) -> Result<Vec<u8>, String> {
    let RegularFile { bytes, exposure } = read(path)?;
    exposure.map_or(Ok(bytes), Err)
}

/// Whoever may write the file, or replace it in its folder, decides what the gateway reads at its next start.
fn exposure(path: &Path, file: &Metadata) -> Option<String> {
    if file.mode() & WRITABLE_BY_ALL != 0 {
        return Some(format!("{} is writable by everybody (chmod o-w)", path.display()));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = std::fs::metadata(folder).ok()?.mode();
    // In a folder like /tmp only the owner of a file may replace it. Kubernetes mounts secrets in such a one.
    let is_open = mode & WRITABLE_BY_ALL != 0 && mode & STICKY == 0;
    is_open.then(|| format!("{} is in a folder that is writable by everybody (chmod o-w)", path.display()))
}

const WRITABLE_BY_ALL: u32 = 0o002;
const STICKY: u32 = 0o1000;

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::keys::tokens::JWT_SECRET_FILE;
    use crate::config::testing::{GOOD_SECRET, TempFile, lowered};

    #[test]
    fn refuses_files_that_are_not_regular_or_not_there() {
        for path in ["/dev/null", "/", "/does/not/exist"] {
            let told = read(Path::new(path)).unwrap_err();
            assert!(told.starts_with(path), "{told}");
        }
    }

    #[test]
    fn a_secret_that_anybody_may_write_is_refused_and_one_that_others_read_is_not() {
        let file = TempFile::new("exposed-secret", GOOD_SECRET.as_bytes());
        let with_mode = |mode: u32| {
            fs::set_permissions(file.path(), Permissions::from_mode(mode)).expect("our own file");
            lowered(&[(&JWT_SECRET_FILE, file.path())]).map(|_| ()).map_err(|wrong| wrong.to_string())
        };
        // Kubernetes mounts secrets readable by default, and writable for a group with `fsGroup`.
        for mode in [0o400, 0o600, 0o640, 0o644, 0o664] {
            assert_eq!(with_mode(mode), Ok(()), "{mode:o}");
        }
        for mode in [0o602, 0o646, 0o666] {
            let told = with_mode(mode).unwrap_err();
            let expected = format!("JWT_SECRET_FILE: {} is writable by everybody", file.path());
            assert!(told.starts_with(&expected), "{mode:o}: {told}");
        }
    }

    #[test]
    fn a_file_in_an_open_folder_can_be_replaced_unless_the_folder_is_sticky() {
        let folder = std::env::temp_dir().join(format!("realchat-open-folder-{}", std::process::id()));
        fs::create_dir(&folder).expect("a new folder");
        let path = folder.join("secret");
        fs::write(&path, GOOD_SECRET).expect("a file");
        let exposed = [0o755, 0o777, 0o1777].map(|mode| {
            fs::set_permissions(&folder, Permissions::from_mode(mode)).expect("our own folder");
            read(&path).expect("a regular file").exposure.is_some()
        });
        fs::remove_dir_all(&folder).expect("our own folder");
        assert_eq!(exposed, [false, true, false]);
    }
}
