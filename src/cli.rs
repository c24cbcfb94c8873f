//! The command line: what to do, and what was written beside it.

use std::ffi::OsString;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{Written, value};
use crate::limits;

/// What the program was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The subcommand.
    pub command: Command,
    /// Flags and environment, not yet judged.
    pub written: Written,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Subcommand)]
pub enum Command {
    /// Run the gateway (what it does without a subcommand)
    #[default]
    Run,
    /// Judge the configuration and print what is in force; starts nothing
    Check,
    /// Say what would happen to a request: route, authentication, bucket, headers; sends nothing
    Explain {
        /// Its method, as in GET
        #[arg(value_parser = crate::config::method)]
        method: String,
        /// Its path, as in /api/v1/users/42
        #[arg(value_parser = path)]
        path: String,
    },
    /// Print a token signed with JWT_SECRET, for development
    Token {
        /// Whose token it is
        #[arg(long, value_name = "ID", value_parser = user)]
        user: String,
        /// How long it is valid
        #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = ttl)]
        ttl: Duration,
    },
    /// Run the gateway with small backends of its own: nothing else is needed
    Demo,
}

/// Why there is nothing to do: help was asked for, or the command line is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Exit code: 0 for help and version, 2 for a mistake.
    pub code: u8,
    /// What to print, line break included: to stdout if the code is 0, else one line to stderr.
    pub text: String,
}

/// Reads the command line, program name included, and the environment.
///
/// # Errors
/// An [`Ending`]: `--help` and `--version` are one too.
pub fn parse<I, T>(args: I) -> Result<Invocation, Ending>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let matches = command().try_get_matches_from(args).map_err(|error| ending(&error))?;
    let line = Line::from_arg_matches(&matches).map_err(|error| ending(&error))?;
    Ok(Invocation { command: line.command.unwrap_or_default(), written: line.written })
}

/// The whole command line as clap sees it.
#[derive(Parser)]
#[command(name = "realchat-gateway", version, about, disable_help_subcommand = true)]
#[command(after_help = AFTER_HELP)]
struct Line {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    written: Written,
}

/// The command with each default in its help. clap itself must not know them: a default that it filled in would
/// win over the file.
fn command() -> clap::Command {
    let mut command = Line::command();
    for key in Written::KEYS {
        let Some(default) = key.default else { continue };
        command = command.mut_arg(key.field, |arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            arg.help(format!("{help} [default: {default}]"))
        });
    }
    command
}

/// clap's answer as ours: a mistake becomes one line, with its hint behind it.
fn ending(error: &clap::Error) -> Ending {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return Ending { code: 0, text };
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling =
        lines.filter(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let line = telling.collect::<Vec<_>>().join(" ");
    let line = line.replace(" tip: ", "; ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    Ending { code: 2, text: format!("realchat-gateway: {line} (see --help)\n") }
}

/// A user that a token can name: what the gateway would take from one.
fn user(text: &str) -> Result<String, String> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > limits::SUBJECT_BYTES_MAX || !visible {
        return Err(format!("a user is 1 to {} visible ASCII characters", limits::SUBJECT_BYTES_MAX));
    }
    Ok(text.to_owned())
}

/// The path of a request.
fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("a path starts with /".to_owned()) }
}

/// How long a token may be valid.
fn ttl(text: &str) -> Result<Duration, String> {
    value::duration(text, Duration::from_secs(1), TTL_MAX)
}

/// A development token lives at most a year.
const TTL_MAX: Duration = Duration::from_secs(365 * 86_400);

/// What stands under the flags.
const AFTER_HELP: &str = "\
A flag wins over its environment variable, that over the file of --config, and that over the default.
Durations have a unit (500ms, 10s, 5m, 1h); sizes are bytes or have one (64KiB, 10MiB).";
