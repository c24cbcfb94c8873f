//! The memory that the process may use: what its control group allows, else what the machine has.

use std::fs;
use std::path::{Path, PathBuf};

/// The memory of this process, in bytes. `None`: it cannot be found out.
pub(super) fn available() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(total_of);
    let limits = files(&groups, Path::new("/sys/fs/cgroup")).into_iter().filter_map(|file| limit_of(&file));
    limits.chain(machine).min()
}

/// The files that may hold a limit: those of the group and of each group above it (cgroups(7)).
fn files(groups: &str, root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        // `0::/path` of version 2, `5:memory:/path` of version 1.
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, name) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        files.extend(groups.map(|group| root.join(group).join(name)));
    }
    files
}

/// The limit in a file. `max`, and the number that stands for it in version 1, are none.
fn limit_of(file: &Path) -> Option<u64> {
    let bytes = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (bytes < NO_LIMIT).then_some(bytes)
}

/// The memory of the machine (proc_meminfo(5)).
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Version 1 writes the largest multiple of a page where there is no limit.
const NO_LIMIT: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_every_group_above_counts() {
        let root = Path::new("/sys/fs/cgroup");
        let shown = |groups| {
            let files: Vec<String> =
                files(groups, root).iter().map(|file| file.display().to_string()).collect();
            files.join(" ")
        };
        assert_eq!(
            shown("0::/a/b\n"),
            "/sys/fs/cgroup/a/b/memory.max /sys/fs/cgroup/a/memory.max /sys/fs/cgroup/memory.max"
        );
        assert_eq!(shown("0::/\n"), "/sys/fs/cgroup/memory.max");
        assert_eq!(
            shown("3:cpu,memory:/a\n2:pids:/a\n"),
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes /sys/fs/cgroup/memory/memory.limit_in_bytes"
        );
        assert_eq!(shown("nonsense\n\n"), "");
    }

    #[test]
    fn a_limit_is_a_number_below_none() {
        let file = std::env::temp_dir().join(format!("realchat-memory-{}", std::process::id()));
        for (text, limit) in
            [("268435456\n", Some(268_435_456)), ("max\n", None), ("9223372036854771712\n", None), ("", None)]
        {
            fs::write(&file, text).expect("a file");
            assert_eq!(limit_of(&file), limit, "{text}");
        }
        fs::remove_file(&file).expect("it is there");
        assert_eq!(limit_of(&file), None);
    }

    #[test]
    fn the_machine_says_what_it_has() {
        assert_eq!(total_of("MemTotal:       24689764 kB\nMemFree: 1 kB\n"), Some(24_689_764 * 1024));
        assert_eq!(total_of("MemFree: 1 kB\n"), None);
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
    }
}
