//! `RUST_LOG`: what the program's own log tells.

use std::env;
use std::ffi::OsString;

use tracing_subscriber::EnvFilter;

/// The filter of the environment, or the one that is in force without it.
///
/// # Errors
/// A line for the operator if `RUST_LOG` is no filter. What is merely misspelled would be taken for the name of a
/// module, and silence the log.
pub(super) fn from_environment() -> Result<EnvFilter, String> {
    of(env::var_os("RUST_LOG"))
}

fn of(written: Option<OsString>) -> Result<EnvFilter, String> {
    let Some(text) = written.filter(|text| !text.is_empty()) else { return Ok(EnvFilter::new(DEFAULT)) };
    let text = text.into_string().map_err(|_| "RUST_LOG: is not UTF-8".to_owned())?;
    let directives = text.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    let directives: Vec<String> = directives.map(without_spaces).collect();
    match directives.iter().find(|one| !is_directive(one)) {
        Some(wrong) => {
            Err(format!("RUST_LOG: \"{}\" is neither {LEVELS} nor MODULE=LEVEL", wrong.escape_debug()))
        }
        None => EnvFilter::try_new(directives.join(",")).map_err(|error| format!("RUST_LOG: {error}")),
    }
}

/// The filter of the library takes no spaces, around `=` either.
fn without_spaces(directive: &str) -> String {
    match directive.split_once('=') {
        Some((module, level)) => format!("{}={}", module.trim(), level.trim()),
        None => directive.to_owned(),
    }
}

/// A level, a module of this program, or a module with its level.
fn is_directive(text: &str) -> bool {
    let is_module = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-'))
    };
    match text.split_once('=') {
        Some((module, level)) => is_module(module) && is_level(level),
        None => is_level(text) || text.split("::").next() == Some("realchat_gateway") && is_module(text),
    }
}

fn is_level(text: &str) -> bool {
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

const WORDS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
const LEVELS: &str = "a level (off, error, warn, info, debug, trace)";

/// What is logged unless `RUST_LOG` says otherwise. The resolver of names says more about what a server sends than what
/// comes of it, which our own lines tell.
const DEFAULT: &str = "info,hickory_net=off,hickory_proto=off,hickory_resolver=off";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_levels_and_modules() {
        for text in [
            "",
            "debug",
            "WARN",
            "off",
            "info,",
            "info, realchat_gateway::auth=debug",
            "realchat_gateway::auth",
            "warn,rustls=off,hickory-net=trace",
        ] {
            assert!(of(Some(text.into())).is_ok(), "{text}");
        }
        assert!(of(None).is_ok());
        for text in [
            "debgu",
            "nonsense",
            "info,debgu",
            "verbose",
            "realchat_gateway=loud",
            "realchat_gatewayx",
            "=debug",
            "a b=debug",
            "debug=debug=debug",
            "info\nwarn",
            "[span]=debug",
        ] {
            let wrong = of(Some(text.into())).map(|_| ()).expect_err(text);
            assert!(wrong.starts_with("RUST_LOG: ") && !wrong.contains('\n'), "{wrong}");
        }
    }
}
