//! Whether a file is another one than before, without reading it.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What tells one state of a file from another. The change time also moves with the permissions. `None`: there is no
/// file.
pub(super) type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;

/// The state of the file that a path leads to: links are followed.
pub(super) fn stamp(path: &Path) -> Stamp {
    let stamp = |file: Metadata| {
        let (modified, changed) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
        (file.dev(), file.ino(), file.len(), modified.0, modified.1, changed.0, changed.1)
    };
    fs::metadata(path).ok().map(stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leads_elsewhere_is_another_file() {
        let folder = std::env::temp_dir().join(format!("realchat-stamps-{}", std::process::id()));
        fs::create_dir(&folder).expect("a new folder");
        let [one, other, link] = ["one", "other", "link"].map(|name| folder.join(name));
        fs::write(&one, "same").expect("a file");
        fs::write(&other, "same").expect("a file");
        std::os::unix::fs::symlink(&one, &link).expect("a link");
        let before = stamp(&link);
        let again = stamp(&link);
        fs::remove_file(&link).expect("our own link");
        let gone = stamp(&link);
        std::os::unix::fs::symlink(&other, &link).expect("a link");
        let after = stamp(&link);
        fs::remove_dir_all(&folder).expect("our own folder");
        assert!(before == again && before != after && gone.is_none());
    }
}
