//! Finds environment variables that are probably misspelt settings.

use super::keys::sections;
use super::near::{NAME_BYTES_MAX, distance};

/// A warning for each name that is probably a misspelt setting: it differs from one by a letter or two, or by case, or
/// it begins as only settings of the gateway do.
pub(super) fn stray_names(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut warnings: Vec<String> = names.into_iter().filter_map(|name| stray(&name)).collect();
    warnings.sort_unstable();
    warnings
}

/// The warning for one name, if there is one.
fn stray(name: &str) -> Option<String> {
    if variables().any(|env| env == name) || name.len() > NAME_BYTES_MAX {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    let nearest = variables().map(|env| (distance(&upper, env), env)).min()?;
    // A short name is near to every other one, and other programs have short names.
    let near = nearest.0 == 0 || (nearest.0 <= LETTERS_MAX && name.len() >= NAME_BYTES_MIN);
    let ours = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    match (near, ours) {
        (true, _) => Some(format!("{name}: is set but is no setting; is {} meant?", nearest.1)),
        (false, true) => Some(format!("{name}: is set but is no setting")),
        (false, false) => None,
    }
}

/// The variables of all settings.
fn variables() -> impl Iterator<Item = &'static str> {
    sections::all().map(|key| key.about().env)
}

/// Beginnings of names that only settings of the gateway have. `REDIS_` is not among them: container platforms set
/// `REDIS_PORT` and the like.
const PREFIXES: [&str; 6] = ["JWT_", "UPSTREAM_", "RATE_LIMIT_", "CORS_", "SHUTDOWN_", "TRUSTED_PROX"];
/// The largest edit distance of a misspelt name.
const LETTERS_MAX: usize = 2;
/// The shortest name that is compared by its edit distance, in bytes.
const NAME_BYTES_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(names: &[&str]) -> Vec<String> {
        stray_names(names.iter().map(ToString::to_string))
    }

    #[test]
    fn warns_of_names_that_resemble_ours() {
        assert_eq!(
            warnings(&[
                "JWT_SECERT",
                "RATE_LIMIT_PER_SECOND",
                "REDIS_ADDRESS",
                "jwt_issuer",
                "SHUTDOWN_TIMOUT"
            ]),
            [
                "JWT_SECERT: is set but is no setting; is JWT_SECRET meant?",
                "RATE_LIMIT_PER_SECOND: is set but is no setting",
                "SHUTDOWN_TIMOUT: is set but is no setting; is SHUTDOWN_TIMEOUT meant?",
                "jwt_issuer: is set but is no setting; is JWT_ISSUER meant?",
            ]
        );
    }

    #[test]
    fn is_silent_about_our_names_and_other_programs() {
        let keys: Vec<_> = variables().collect();
        assert_eq!(warnings(&keys), [""; 0]);
        assert_eq!(
            warnings(&["PATH", "HOME", "REDIS_PORT", "REDIS_HOST", "LANG", "PORTS", "CORE", "HOSTNAME"]),
            [""; 0]
        );
    }
}
