//! The settings under "Process", and what they mean together.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::key::{InFile, Key, NoDefault, OnReload, Section, Shown};
use crate::config::layers::Layers;
use crate::config::meaning::{AccessLog, Choice, CoreChoice, IoDriver, LogFormat};
use crate::config::value::{DAY, HOUR, MINUTE, Parsed, SECOND};
use crate::config::value::{choice, count, duration, quoted, show_bytes, show_duration, show_list, size};
use crate::limits::{self, MEMORY_BUDGET_MIN};

/// The settings under "Process".
pub const SECTION: Section = Section {
    heading: "Process",
    heading_in_check: "Process",
    keys: &[
        &CONFIG_FILE,
        &CORES,
        &MEMORY_BUDGET,
        &MAX_CONNECTIONS,
        &IO_DRIVER,
        &REQUIRE_IO_URING,
        &ACCESS_LOG,
        &ACCESS_LOG_SAMPLE,
        &LOG_FORMAT,
        &SHUTDOWN_DELAY,
        &SHUTDOWN_TIMEOUT,
        &UPGRADE_TIMEOUT,
        &UPGRADE_TUNNELS_TIMEOUT,
        &PID_FILE,
    ],
};

pub const CONFIG_FILE: Key<PathBuf, NoDefault> = Key {
    env: "CONFIG_FILE",
    flag: "config",
    value_name: "PATH",
    in_file: InFile::Nothing,
    default: NoDefault,
    bounds: "a regular file, up to 4 MiB",
    help: "File with any of these settings, and with the upstreams and routes of another system (TOML)",
    more: "",
    parse: |text| Ok(PathBuf::from(text)),
    shown: Shown::Elsewhere,
    on_reload: OnReload::Takes,
};

pub const CORES: Key<CoreChoice> = Key {
    env: "CORES",
    flag: "cores",
    value_name: "CPUS",
    in_file: InFile::List,
    default: "all",
    bounds: "`all`, 1 to 1024, or a list of CPUs 0 to 1023",
    help: "CPUs that get a core: `all`, a count, or a list such as `0-3,8`",
    more: "`all` is every CPU that the process may run on, and a count is the first of them. A number \
           alone is a count; `3,` is CPU 3.",
    parse: cores,
    shown: Shown::Value(|config| show_cores(&config.cores)),
    on_reload: OnReload::NeedsRestart(|running, wanted| wanted.cores = running.cores.clone()),
};

pub const MEMORY_BUDGET: Key<u64, NoDefault> = Key {
    env: "MEMORY_BUDGET",
    flag: "memory-budget",
    value_name: "SIZE",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "16MiB to 1024GiB",
    help: "Memory of the process; unset: the limit of its control group, or what the machine has",
    more: "Connections and buffers are bounded by it.",
    parse: |text| size(text, MEMORY_BUDGET_MIN, MEMORY_BUDGET_MAX),
    shown: Shown::Value(|config| show_memory(config.memory_budget)),
    on_reload: OnReload::NeedsRestart(|running, wanted| wanted.memory_budget = running.memory_budget),
};

pub const MAX_CONNECTIONS: Key<usize, NoDefault> = Key {
    env: "MAX_CONNECTIONS",
    flag: "max-connections",
    value_name: "COUNT",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "1 to 16777216",
    help: "Connections per core; unset: derived from the memory and the limit of open files",
    more: "Over it a client gets 503.",
    parse: |text| count(text, 1, CONNECTIONS_MAX),
    shown: Shown::Value(|config| show_connections(config.connections_max)),
    on_reload: OnReload::Takes,
};

pub const IO_DRIVER: Key<IoDriver> = Key {
    env: "IO_DRIVER",
    flag: "io-driver",
    value_name: "DRIVER",
    in_file: InFile::Scalar,
    default: "auto",
    bounds: "`auto`, `io_uring` or `epoll`",
    help: "How threads wait for sockets: `auto` (io_uring, else epoll), `io_uring` or `epoll`",
    more: "`io_uring`: the gateway does not start without it. `epoll`: no ring is tried.",
    parse: io_driver,
    shown: Shown::Value(|config| config.io_driver.word().to_owned()),
    on_reload: OnReload::NeedsRestart(|running, wanted| wanted.io_driver = running.io_driver),
};

pub const REQUIRE_IO_URING: Key<bool> = Key {
    env: "REQUIRE_IO_URING",
    flag: "require-io-uring",
    value_name: "BOOL",
    in_file: InFile::Scalar,
    default: "false",
    bounds: "boolean",
    help: "Whether the gateway refuses to start without io_uring: `true` or `false`",
    more: "`true` means the same as `IO_DRIVER=io_uring`, and is a mistake beside `IO_DRIVER=epoll`.",
    parse: choice,
    shown: Shown::Elsewhere,
    on_reload: OnReload::NeedsRestart(|running, wanted| wanted.io_driver = running.io_driver),
};

pub const ACCESS_LOG: Key<AccessLog> = Key {
    env: "ACCESS_LOG",
    flag: "access-log",
    value_name: "SINK",
    in_file: InFile::Scalar,
    default: "stdout",
    bounds: "`off`, `stdout` or a path with a `/` in it",
    help: "Where access-log lines go: `off`, `stdout` or a path",
    more: "",
    parse: access_log,
    shown: Shown::Value(|config| show_access_log(&config.access_log)),
    on_reload: OnReload::NeedsRestart(|running, wanted| wanted.access_log = running.access_log.clone()),
};

pub const ACCESS_LOG_SAMPLE: Key<u32> = Key {
    env: "ACCESS_LOG_SAMPLE",
    flag: "access-log-sample",
    value_name: "COUNT",
    in_file: InFile::Scalar,
    default: "1",
    bounds: "1 to 1000000",
    help: "Of how many requests that succeed one is in the access log; 1: every one",
    more: "Errors (4xx, 5xx, what was cut short) and WebSockets always are. Each core counts for itself.",
    parse: |text| count(text, 1, 1_000_000),
    shown: Shown::Value(|config| config.access_log_sample.to_string()),
    on_reload: OnReload::Takes,
};

pub const LOG_FORMAT: Key<LogFormat> = Key {
    env: "LOG_FORMAT",
    flag: "log-format",
    value_name: "FORMAT",
    in_file: InFile::Scalar,
    default: "text",
    bounds: "`text` or `json`",
    help: "Lines of the program's own log: `text`, or `json` with the process number as `pid`",
    more: "",
    parse: choice,
    shown: Shown::Value(|config| config.log_format.word().to_owned()),
    on_reload: OnReload::NeedsRestart(|running, wanted| wanted.log_format = running.log_format),
};

pub const SHUTDOWN_DELAY: Key<Duration> = Key {
    env: "SHUTDOWN_DELAY",
    flag: "shutdown-delay",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "0s",
    bounds: "0s to 24h",
    help: "From failing readiness to closing the listeners",
    more: "A load balancer needs this time to notice.",
    parse: |text| duration(text, Duration::ZERO, DAY),
    shown: Shown::Value(|config| show_duration(config.timeouts.shutdown_delay)),
    on_reload: OnReload::Takes,
};

pub const SHUTDOWN_TIMEOUT: Key<Duration> = Key {
    env: "SHUTDOWN_TIMEOUT",
    flag: "shutdown-timeout",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "15s",
    bounds: "0s to 24h",
    help: "From closing the listeners to cutting off the remaining connections",
    more: "",
    parse: |text| duration(text, Duration::ZERO, DAY),
    shown: Shown::Value(|config| show_duration(config.timeouts.shutdown)),
    on_reload: OnReload::Takes,
};

pub const UPGRADE_TIMEOUT: Key<Duration> = Key {
    env: "UPGRADE_TIMEOUT",
    flag: "upgrade-timeout",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "30s",
    bounds: "1s to 1h",
    help: "From the start of a new binary to its report that it is ready",
    more: "Over it the old process goes on ([operating.md](operating.md#hot-upgrade)).",
    parse: |text| duration(text, SECOND, HOUR),
    shown: Shown::Value(|config| show_duration(config.timeouts.upgrade)),
    on_reload: OnReload::Takes,
};

pub const UPGRADE_TUNNELS_TIMEOUT: Key<Duration> = Key {
    env: "UPGRADE_TUNNELS_TIMEOUT",
    flag: "upgrade-tunnels-timeout",
    value_name: "DURATION",
    in_file: InFile::Scalar,
    default: "5s",
    bounds: "0s to 1m",
    help: "Time in which open WebSockets move to the new process of a hot upgrade; 0s: they do not",
    more: "Those that have not moved get Close 1012. At most half of `SHUTDOWN_TIMEOUT`.",
    parse: |text| duration(text, Duration::ZERO, MINUTE),
    shown: Shown::Value(|config| show_duration(config.timeouts.upgrade_tunnels)),
    on_reload: OnReload::Takes,
};

pub const PID_FILE: Key<PathBuf, NoDefault> = Key {
    env: "PID_FILE",
    flag: "pid-file",
    value_name: "PATH",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "a path with a `/` in it",
    help: "File that holds the pid of the running process",
    more: "It is replaced as a whole, and removed at the end.",
    parse: file_path,
    shown: Shown::Value(|config| {
        config.pid_file.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string())
    }),
    on_reload: OnReload::NeedsRestart(|running, wanted| wanted.pid_file = running.pid_file.clone()),
};

/// The I/O driver. `REQUIRE_IO_URING=true` is another way to write `IO_DRIVER=io_uring`.
pub(crate) fn driver(layers: &mut Layers) -> IoDriver {
    let driver = layers.value(&IO_DRIVER);
    if !layers.value(&REQUIRE_IO_URING) {
        return driver;
    }
    if driver == IoDriver::Epoll {
        layers.refuse(&IO_DRIVER, "is epoll, which REQUIRE_IO_URING=true refuses: keep one of them");
    }
    IoDriver::IoUring
}

/// Reads `all`, a count, or a list of CPU numbers and ranges. A number alone is a count.
fn cores(value: &str) -> Parsed<CoreChoice> {
    if value == "all" {
        return Ok(CoreChoice::All);
    }
    let form = || {
        format!(
            "{} is not a choice of CPUs (use all, a count such as 4, or a list such as 0-3,8)",
            quoted(value)
        )
    };
    if !value.contains(['-', ',']) {
        return count(value, 1, limits::CPUS_MAX).map(CoreChoice::Count).map_err(|_| form());
    }
    let mut cpus = Vec::new();
    // A trailing comma makes the list of one CPU: `3,`.
    let listed = value.strip_suffix(',').unwrap_or(value);
    for part in listed.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| count(text, 0, limits::CPUS_MAX - 1).map_err(|_| form());
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("the range {} runs backwards", quoted(part)));
        }
        cpus.extend(first..=last);
        if cpus.len() > limits::CPUS_MAX {
            return Err(format!("{} names a CPU twice", quoted(value)));
        }
    }
    cpus.sort_unstable();
    match cpus.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("{} names CPU {} twice", quoted(value), pair[0])),
        None => Ok(CoreChoice::List(cpus)),
    }
}

/// Reads the word of an I/O driver.
fn io_driver(value: &str) -> Parsed<IoDriver> {
    choice(value).map_err(|_| format!("{} is no driver (use auto, io_uring or epoll)", quoted(value)))
}

/// Reads `off`, `stdout` or a path. A path has a slash in it, so that a misspelt word does not become a file.
fn access_log(value: &str) -> Parsed<AccessLog> {
    match value {
        "off" => Ok(AccessLog::Off),
        "stdout" => Ok(AccessLog::Stdout),
        _ if value.ends_with('/') => Err(format!("{} is a directory", quoted(value))),
        _ if value.contains('/') && !value.contains(char::is_control) => {
            Ok(AccessLog::File(PathBuf::from(value)))
        }
        _ => Err(format!("{} is none of off, stdout or a path with a / in it (./access.log)", quoted(value))),
    }
}

/// Reads the path of a file. It has a `/` in it: a name alone is more likely a slip.
fn file_path(value: &str) -> Parsed<PathBuf> {
    if value.ends_with('/') || !value.contains('/') || value.contains(char::is_control) {
        return Err(format!("{} is not a path of a file with a / in it (/run/gateway.pid)", quoted(value)));
    }
    Ok(PathBuf::from(value))
}

fn show_cores(cores: &CoreChoice) -> String {
    match cores {
        CoreChoice::All => "all".to_owned(),
        CoreChoice::Count(1) => "1 core".to_owned(),
        CoreChoice::Count(count) => format!("{count} cores"),
        CoreChoice::List(cpus) => format!("CPUs {}", show_list(cpus)),
    }
}

fn show_connections(connections_max: Option<usize>) -> String {
    match connections_max {
        Some(count) => format!("{count} per core"),
        None => "from the memory and the limit of open files".to_owned(),
    }
}

fn show_memory(budget: Option<u64>) -> String {
    budget.map_or_else(|| "what the process may use".to_owned(), |bytes| show_bytes(bytes, "0"))
}

/// The largest memory budget that an operator may set, in bytes.
const MEMORY_BUDGET_MAX: u64 = 1 << 40;

fn show_access_log(log: &AccessLog) -> String {
    match log {
        AccessLog::Off => "off".to_owned(),
        AccessLog::Stdout => "stdout".to_owned(),
        AccessLog::File(path) => path.display().to_string(),
    }
}

/// Connections that one core may be allowed.
const CONNECTIONS_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{config, lowered, moves, refuses};

    #[test]
    fn every_key_moves_its_own_setting() {
        moves(
            &SECTION,
            &[
                (&CORES, "0-1,8", "CORES CPUs 0, 1, 8"),
                (&MEMORY_BUDGET, "1GiB", "MEMORY_BUDGET 1GiB"),
                (&MAX_CONNECTIONS, "5", "MAX_CONNECTIONS 5 per core"),
                (&IO_DRIVER, "epoll", "IO_DRIVER epoll"),
                (&REQUIRE_IO_URING, "true", "IO_DRIVER io_uring"),
                (&ACCESS_LOG, "/tmp/a", "ACCESS_LOG /tmp/a"),
                (&ACCESS_LOG_SAMPLE, "100", "ACCESS_LOG_SAMPLE 100"),
                (&LOG_FORMAT, "json", "LOG_FORMAT json"),
                (&SHUTDOWN_DELAY, "5s", "SHUTDOWN_DELAY 5s"),
                (&SHUTDOWN_TIMEOUT, "1m", "SHUTDOWN_TIMEOUT 1m"),
                (&UPGRADE_TIMEOUT, "5s", "UPGRADE_TIMEOUT 5s"),
                (&UPGRADE_TUNNELS_TIMEOUT, "0s", "UPGRADE_TUNNELS_TIMEOUT 0s"),
                (&PID_FILE, "/run/a.pid", "PID_FILE /run/a.pid"),
            ],
        );
    }

    #[test]
    fn refuses_each_wrong_value_with_its_key() {
        refuses(&[
            (&CORES, "0"),
            (&MEMORY_BUDGET, "1MiB"),
            (&MAX_CONNECTIONS, "0"),
            (&IO_DRIVER, "uring"),
            (&REQUIRE_IO_URING, "yes"),
            (&ACCESS_LOG, "stderr"),
            (&ACCESS_LOG_SAMPLE, "0"),
            (&LOG_FORMAT, "xml"),
            (&SHUTDOWN_DELAY, "5"),
            (&SHUTDOWN_TIMEOUT, "25h"),
            (&UPGRADE_TIMEOUT, "0s"),
            (&UPGRADE_TUNNELS_TIMEOUT, "2m"),
            (&PID_FILE, "gateway.pid"),
        ]);
        assert_eq!(
            io_driver("uring"),
            Err("\"uring\" is no driver (use auto, io_uring or epoll)".to_owned())
        );
    }

    #[test]
    fn a_required_ring_and_epoll_exclude_each_other() {
        let told = lowered(&[(&IO_DRIVER, "epoll"), (&REQUIRE_IO_URING, "true")]).unwrap_err();
        let expected = "IO_DRIVER: is epoll, which REQUIRE_IO_URING=true refuses: keep one of them";
        assert_eq!(told.to_string(), expected);
        for (driver, required, expected) in [
            ("epoll", "false", IoDriver::Epoll),
            ("auto", "true", IoDriver::IoUring),
            ("io_uring", "false", IoDriver::IoUring),
            ("io_uring", "true", IoDriver::IoUring),
        ] {
            let toml = format!("io_driver = '{driver}'\nrequire_io_uring = {required}\n");
            assert_eq!(config(&toml).io_driver, expected, "{driver} {required}");
        }
    }

    #[test]
    fn reads_a_choice_of_cpus() {
        assert_eq!(cores("all"), Ok(CoreChoice::All));
        assert_eq!(cores("4"), Ok(CoreChoice::Count(4)));
        assert_eq!(cores("0-3,8"), Ok(CoreChoice::List(vec![0, 1, 2, 3, 8])));
        assert_eq!(cores("8, 0-1"), Ok(CoreChoice::List(vec![0, 1, 8])));
        assert_eq!(cores("3,"), Ok(CoreChoice::List(vec![3])));
        for value in
            ["0", "", "3-1", "1,1", "0-3,2", "-1", "a", "1-", "1,,2", "0-99999999999", "ALL", "1.5", ","]
        {
            assert!(cores(value).is_err(), "{value}");
        }
        assert_eq!(cores("3-1"), Err("the range \"3-1\" runs backwards".to_owned()));
        assert_eq!(cores("0-3,2"), Err("\"0-3,2\" names CPU 2 twice".to_owned()));
    }

    #[test]
    fn paths_have_a_slash_in_them() {
        assert_eq!((access_log("off"), access_log("stdout")), (Ok(AccessLog::Off), Ok(AccessLog::Stdout)));
        assert_eq!(access_log("/var/log/a"), Ok(AccessLog::File(PathBuf::from("/var/log/a"))));
        for value in ["stderr", "Off", "none", "/var/log/", "/a\nb"] {
            assert!(access_log(value).is_err(), "{value}");
        }
        assert_eq!(file_path("/run/a.pid"), Ok(PathBuf::from("/run/a.pid")));
        for value in ["a.pid", "/run/", "/run/a\nb"] {
            assert!(file_path(value).is_err(), "{value}");
        }
    }
}
