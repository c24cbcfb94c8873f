//! The command line: subcommands and settings.

use std::ffi::OsString;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgGroup, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::keys::sections;
use crate::config::{Written, value};
use crate::limits;

/// The parsed command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The subcommand.
    pub command: Command,
    /// The settings from flags and environment, not yet validated.
    pub written: Written,
}

/// The subcommand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Subcommand)]
pub enum Command {
    /// Run the gateway (the default)
    #[default]
    Run,
    /// Validate the configuration and print the effective settings; starts nothing
    Check,
    /// Explain what would happen to a request: route, authentication, buckets, headers; sends nothing
    Explain {
        /// Method of the request, as in GET
        #[arg(value_parser = crate::config::method)]
        method: String,
        /// URL of the request, or its path alone, as in /api/v1/users/42
        #[arg(value_name = "URL", value_parser = url)]
        url: String,
        /// Header field of the request, as in "X-Api-Version: 2"; may be repeated
        #[arg(long = "header", value_name = "FIELD")]
        headers: Vec<String>,
        /// Token whose checks are explained too; a dash: it is read from standard input
        #[arg(long, value_name = "TOKEN")]
        token: Option<String>,
    },
    /// Print a token signed with JWT_SECRET, for development
    Token {
        /// User of the token
        #[arg(long, value_name = "ID", value_parser = user)]
        user: String,
        /// Lifetime of the token
        #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = ttl)]
        ttl: Duration,
    },
    /// Revoke tokens in every running gateway, and close their WebSockets; writes into REVOCATION_STREAM
    #[command(group(ArgGroup::new("who").required(true).args(["user", "jti", "sid", "all"])))]
    Revoke {
        /// User whose tokens are revoked
        #[arg(long, value_name = "ID", value_parser = user)]
        user: Option<String>,
        /// Token that is revoked, by its jti
        #[arg(long, value_name = "JTI", value_parser = name)]
        jti: Option<String>,
        /// Session whose tokens are revoked, by their sid
        #[arg(long, value_name = "SID", value_parser = name)]
        sid: Option<String>,
        /// Every token is revoked, of whomever
        #[arg(long)]
        all: bool,
        /// Only tokens that were issued before this time, in seconds since 1970; now: all that were issued up to now
        #[arg(long, value_name = "TIME", default_value = "now", value_parser = before, conflicts_with = "jti")]
        before: Before,
        /// Close all WebSockets of the user, also those of tokens that still count
        #[arg(long, conflicts_with_all = ["jti", "sid", "all"])]
        close: bool,
    },
    /// Query the readiness of the running gateway: exit code 0 if it is ready or degraded, else 1
    Health,
    /// Run the gateway with built-in backends and a web page; needs nothing else
    Demo {
        /// Port of the page on loopback; 0: chosen by the kernel
        // A string: the port is validated together with the settings, so that all mistakes are reported at once.
        #[arg(long, env = "PAGE_PORT", value_name = "PORT", default_value = "8090")]
        page_port: String,
        /// Speak HTTPS too, on TLS_PORT 8443 with a self-signed certificate, and let the page use it
        #[arg(long)]
        tls: bool,
    },
    /// The services of a demo, which starts them by itself
    #[command(hide = true)]
    DemoServices,
    /// Replace a running gateway with a new process of the binary at its path: exit code 0 when that one serves, else 1
    Upgrade {
        /// Process id of the gateway; without it, the one in PID_FILE
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        pid: Option<u32>,
        /// Do not wait until the upgrade is decided; the gateway's log reports the result
        #[arg(long)]
        no_wait: bool,
    },
}

/// Until when tokens have to be issued to be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Up to now.
    Now,
    /// Before this second since 1970.
    UnixS(u32),
}

/// Output and exit code of a command line without a subcommand to run: help, version or a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlyExit {
    /// Exit code: 0 for help and version, 2 for a mistake.
    pub code: u8,
    /// The text to print, including the line break: to stdout if the code is 0, otherwise one line to stderr.
    pub text: String,
}

/// Parses the command line, including the program name, and the environment.
///
/// # Errors
/// Returns an [`EarlyExit`] for a mistake, and also for `--help` and `--version`.
pub fn parse<I, T>(args: I) -> Result<Invocation, EarlyExit>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let matches = Arguments::command().try_get_matches_from(args).map_err(|error| early_exit(&error))?;
    let arguments = Arguments::from_arg_matches(&matches).map_err(|error| early_exit(&error))?;
    Ok(Invocation { command: arguments.command.unwrap_or_default(), written: arguments.written })
}

/// The definition of the command line for clap.
#[derive(Parser)]
#[command(name = "realchat-gateway", version, about, disable_help_subcommand = true)]
#[command(after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    written: Written,
}

/// Converts an error of clap. A mistake becomes a single line that ends with clap's hint.
fn early_exit(error: &clap::Error) -> EarlyExit {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return EarlyExit { code: 0, text };
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let relevant =
        lines.filter(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let line = relevant.collect::<Vec<_>>().join(" ");
    let line = line.replace(" tip: ", "; ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    if error.kind() == ErrorKind::InvalidUtf8 {
        // clap does not report which variable is invalid.
        let is_broken = |env: &&str| std::env::var_os(env).is_some_and(|value| value.to_str().is_none());
        let names: Vec<_> = sections::all().map(|key| key.about().env).filter(is_broken).collect();
        let names = if names.is_empty() { "an argument".to_owned() } else { names.join(", ") };
        return EarlyExit {
            code: 2,
            text: format!("realchat-gateway: {names}: is not valid UTF-8 (see --help)\n"),
        };
    }
    EarlyExit { code: 2, text: format!("realchat-gateway: {line} (see --help)\n") }
}

/// Validates the user of a token by the same rule as the gateway does.
fn user(text: &str) -> Result<String, String> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > limits::SUBJECT_BYTES_MAX || !visible {
        return Err(format!("a user is 1 to {} visible ASCII characters", limits::SUBJECT_BYTES_MAX));
    }
    Ok(text.to_owned())
}

/// Validates the name of a token or a session.
fn name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// Parses `now`, or seconds since 1970.
fn before(text: &str) -> Result<Before, String> {
    match text {
        "now" => Ok(Before::Now),
        _ => value::count(text, 0, u32::MAX).map(Before::UnixS),
    }
}

/// Validates the URL of a request, or its path.
fn url(text: &str) -> Result<String, String> {
    let is_url = text.starts_with("https://") || text.starts_with("http://");
    match text.starts_with('/') || is_url {
        true => Ok(text.to_owned()),
        false => Err("a path starts with /, a URL with https:// or http://".to_owned()),
    }
}

/// Parses the lifetime of a token.
fn ttl(text: &str) -> Result<Duration, String> {
    value::duration(text, Duration::from_secs(1), TTL_MAX)
}

/// Maximum lifetime of a development token.
const TTL_MAX: Duration = Duration::from_secs(365 * 86_400);

/// The text after the flags in `--help`.
const AFTER_HELP: &str = "\
A flag overrides its environment variable, which overrides the file of --config, which overrides the default.
Durations have a unit (500ms, 10s, 5m, 1h); sizes are in bytes or have a unit (64KiB, 10MiB).";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::listen::{BIND, PORT};
    use crate::config::keys::process::CORES;
    use crate::config::keys::tokens::JWT_LEEWAY;

    fn read(line: &str) -> Result<Invocation, EarlyExit> {
        parse(std::iter::once("realchat-gateway").chain(line.split_whitespace()))
    }

    fn mistake(line: &str) -> String {
        let exit = read(line).unwrap_err();
        assert_eq!(exit.code, 2, "{line}");
        assert_eq!(exit.text.lines().count(), 1, "{}", exit.text);
        exit.text
    }

    /// Set in the child process in which a test runs again.
    const CHILD: &str = "GATEWAY_TEST_CHILD";

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn runs_without_a_subcommand() {
        assert_eq!(read("").unwrap().command, Command::Run);
        assert_eq!(read("--port 1").unwrap().command, Command::Run);
        assert_eq!(read("run").unwrap().command, Command::Run);
    }

    #[test]
    fn flags_may_precede_or_follow_the_subcommand() {
        for line in ["check --port 1", "--port 1 check", "check --port=1", "--bind ::1 check --port 1"] {
            let invocation = read(line).unwrap();
            assert_eq!(
                (invocation.command, invocation.written.get(&PORT)),
                (Command::Check, Some("1")),
                "{line}"
            );
        }
        assert_eq!(read("--port 1 check --bind ::1").unwrap().written.get(&PORT), Some("1"));
    }

    #[test]
    fn parses_the_arguments_of_each_subcommand() {
        let explain = |token: Option<&str>| Command::Explain {
            method: "GET".into(),
            url: "/ws".into(),
            headers: Vec::new(),
            token: token.map(str::to_owned),
        };
        assert_eq!(read("explain GET /ws").unwrap().command, explain(None));
        assert!(read("explain GET https://chat.example/ws").is_ok());
        assert_eq!(read("explain GET /ws --token -").unwrap().command, explain(Some("-")));
        let Command::Explain { headers, .. } =
            read("explain GET /x --header A:b --header C:d").unwrap().command
        else {
            panic!("another command")
        };
        assert_eq!(headers, ["A:b", "C:d"]);
        let token = |ttl| Command::Token { user: "u-1".into(), ttl: Duration::from_secs(ttl) };
        assert_eq!(read("token --user u-1").unwrap().command, token(3600));
        assert_eq!(read("token --user u-1 --ttl 5m").unwrap().command, token(300));
        let demo = |port: &str| Command::Demo { page_port: port.into(), tls: false };
        assert_eq!(read("demo --access-log off").unwrap().command, demo("8090"));
        assert_eq!(read("demo --page-port x").unwrap().command, demo("x"));
        let tls = Command::Demo { page_port: "8090".into(), tls: true };
        assert_eq!(read("demo --tls").unwrap().command, tls);
        assert_eq!(read("health --admin-addr off").unwrap().command, Command::Health);
        let revoke = |user: Option<&str>, before, close| Command::Revoke {
            user: user.map(str::to_owned),
            jti: None,
            sid: None,
            all: user.is_none(),
            before,
            close,
        };
        assert_eq!(read("revoke --user a").unwrap().command, revoke(Some("a"), Before::Now, false));
        let all = read("revoke --all --before 5 --redis-addr a:1").unwrap().command;
        assert_eq!(all, revoke(None, Before::UnixS(5), false));
        assert_eq!(read("revoke --user a --close").unwrap().command, revoke(Some("a"), Before::Now, true));
        let upgrade = |pid, no_wait| Command::Upgrade { pid, no_wait };
        assert_eq!(read("upgrade --pid 7").unwrap().command, upgrade(Some(7), false));
        assert_eq!(read("upgrade --pid-file /run/a --no-wait").unwrap().command, upgrade(None, true));
    }

    #[test]
    fn mistakes_are_one_line_with_the_hint_at_the_end() {
        assert_eq!(
            mistake("--prot 1"),
            "realchat-gateway: unexpected argument '--prot' found; a similar argument exists: '--port' (see --help)\n"
        );
        for line in [
            "serve",
            "--port",
            "explain",
            "explain GET",
            "explain get /x",
            "explain GET x",
            "token",
            "token --user",
            "token --user ü",
            "token --user a --ttl 5x",
            "token --user a --ttl 0s",
            "check extra",
            "health extra",
            "revoke",
            "revoke --user a --all",
            "revoke --user a --before soon",
            "revoke --jti j --before 5",
            "revoke --all --close",
            "revoke --user ü",
            "upgrade --pid 0",
            "upgrade --pid x",
            "--port 1 --port 2",
            "run --page-port 1",
        ] {
            let _ = mistake(line);
        }
        assert!(mistake("explain get /x").contains("upper case"));
        assert!(mistake("token --user a --ttl 5x").contains("is not a duration"));
        assert!(!mistake("--jwt-secrte=hunter2").contains("hunter2"));
    }

    #[test]
    fn help_and_version_are_not_mistakes() {
        let help = read("--help").unwrap_err();
        assert_eq!(help.code, 0);
        for text in ["Listening:", "Tokens:", "[env: PORT]", "[default: 8080]", "token", "--config <PATH>"] {
            assert!(help.text.contains(text), "{text}\n{}", help.text);
        }
        let version = read("--version").unwrap_err();
        assert_eq!(
            (version.code, version.text),
            (0, format!("realchat-gateway {}\n", env!("CARGO_PKG_VERSION")))
        );
        assert_eq!(read("check --help").unwrap_err().code, 0);
    }

    /// Runs in a child process, because all tests of this process share its environment.
    #[test]
    fn flags_override_the_environment() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cli::tests::in_an_environment", "--nocapture"])
            .env_clear()
            .env(CHILD, "")
            .envs([("PORT", "2"), ("BIND", "::1"), ("JWT_LEEWAY", ""), ("JWT_SECRET", "hunter2")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    }

    #[test]
    fn in_an_environment() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        for line in ["--port 1", "--port 1 check", "check --port 1"] {
            let written = read(line).unwrap().written;
            assert_eq!((written.get(&PORT), written.get(&BIND)), (Some("1"), Some("::1")), "{line}");
            assert_eq!(written.get(&JWT_LEEWAY), Some(""), "an empty variable is a mistake, reported later");
            assert_eq!(written.get(&CORES), None);
        }
        let help = read("--help").unwrap_err().text;
        assert!(help.contains("JWT_SECRET") && !help.contains("hunter2"));
    }

    #[test]
    fn names_a_variable_that_is_not_utf8() {
        use std::os::unix::ffi::OsStringExt;
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cli::tests::in_a_broken_environment", "--nocapture"])
            .env_clear()
            .env(CHILD, "")
            .env("JWT_SECRET", OsString::from_vec(b"hunter2\xff".to_vec()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    }

    #[test]
    fn in_a_broken_environment() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        assert_eq!(mistake(""), "realchat-gateway: JWT_SECRET: is not valid UTF-8 (see --help)\n");
    }
}
