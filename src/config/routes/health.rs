//! `health` of an upstream: how its members are probed.

use std::time::Duration;

use super::report::Report;
use crate::config::meaning::{Health, Upstream};
use crate::config::value::{HOUR, Parsed, SECOND, TICK, count, duration, items, quoted, show_duration};
use crate::config::written::WrittenHealth;
use crate::limits::{HEALTH_COUNT_MAX, HEALTH_EXPECTED_MAX, HEALTH_PATH_BYTES_MAX};

/// What is written. A harmless value takes the place of a wrong one.
pub(super) fn health(written: Option<&WrittenHealth>, report: &mut Report<'_>) -> Option<Health> {
    let written = written?;
    let mut report = report.within("health.");
    let path = path(written.path.as_deref()).unwrap_or_else(|why| {
        report.add(&format!("path {why}"));
        "/".to_owned()
    });
    let mut time = |key: &str, text: &Option<String>, (min, max), default| {
        let read = text.as_deref().map_or(Ok(default), |text| duration(text, min, max));
        read.unwrap_or_else(|why| {
            report.add(&format!("{key} {why}"));
            default
        })
    };
    let interval = time("interval", &written.interval, (SECOND, HOUR), INTERVAL);
    let timeout = time("timeout", &written.timeout, (TICK, HOUR), TIMEOUT.min(interval));
    if timeout > interval {
        report.add("timeout is longer than interval");
    }
    let expect = written.expect.as_deref().map_or(Ok(vec![200]), statuses).unwrap_or_else(|why| {
        report.add(&format!("expect {why}"));
        vec![200]
    });
    let mut number = |key: &str, text: &Option<String>, default| {
        let read = text.as_deref().map_or(Ok(default), |text| count(text, 1, HEALTH_COUNT_MAX));
        read.unwrap_or_else(|why| {
            report.add(&format!("{key} {why}"));
            default
        })
    };
    let (rise, fall) = (number("rise", &written.rise, RISE), number("fall", &written.fall, FALL));
    Some(Health { path, interval, timeout, expect, rise, fall })
}

/// As an operator writes it, in one piece: `, health = GET /health every 5s`; nothing if there is none.
pub(crate) fn show(upstream: &Upstream) -> String {
    let Some(Health { path, interval, timeout, expect, rise, fall }) = &upstream.health else {
        return String::new();
    };
    let expect: Vec<String> = expect.iter().map(u16::to_string).collect();
    let (interval, timeout) = (show_duration(*interval), show_duration(*timeout));
    format!(
        ", health = GET {path} every {interval} within {timeout}, {} is healthy, rise {rise}, fall {fall}",
        expect.join(" or ")
    )
}

fn path(written: Option<&str>) -> Parsed<String> {
    let Some(path) = written else { return Err("is missing".to_owned()) };
    if !path.starts_with('/') {
        return Err(format!("{} does not start with /", quoted(path)));
    }
    if path.len() > HEALTH_PATH_BYTES_MAX {
        return Err(format!("is longer than {HEALTH_PATH_BYTES_MAX} bytes"));
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(format!("{} has a byte in it that no target has", quoted(path)));
    }
    Ok(path.to_owned())
}

fn statuses(written: &str) -> Parsed<Vec<u16>> {
    let mut statuses = Vec::new();
    for item in items(written)? {
        // A 1xx is no final response.
        let status = count(item, 200, 599)?;
        if !statuses.contains(&status) {
            statuses.push(status);
        }
    }
    match statuses.len() {
        0 => Err("is empty".to_owned()),
        len if len > HEALTH_EXPECTED_MAX => Err(format!("has more than {HEALTH_EXPECTED_MAX} of them")),
        _ => Ok(statuses),
    }
}

const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = SECOND;
const RISE: u32 = 2;
const FALL: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::describe;
    use crate::config::testing::lowered_toml;

    fn file(health: &str) -> String {
        format!(
            "[upstreams.a]\nurl = 'http://a'\nhealth = {{ {health} }}\n\
             [[route]]\nname = 'r'\npaths = ['/']\nupstream = 'a'\n"
        )
    }

    #[test]
    fn every_key_has_its_meaning_and_check_shows_it() {
        let text = file(
            "path = '/up?deep=1', interval = '10s', timeout = '500ms', expect = [200, 204], rise = 1, fall = 5",
        );
        let config = lowered_toml(&text).expect("valid").config;
        let health = Health {
            path: "/up?deep=1".to_owned(),
            interval: Duration::from_secs(10),
            timeout: Duration::from_millis(500),
            expect: vec![200, 204],
            rise: 1,
            fall: 5,
        };
        assert_eq!(config.upstreams[0].health.as_ref(), Some(&health));
        let shown = "health = GET /up?deep=1 every 10s within 500ms, 200 or 204 is healthy, rise 1, fall 5\n";
        assert!(describe(&config).contains(shown), "{}", describe(&config));
    }

    #[test]
    fn a_path_is_enough() {
        let config = lowered_toml(&file("path = '/h'")).expect("valid").config;
        let shown = "http://a:80, health = GET /h every 5s within 1s, 200 is healthy, rise 2, fall 3\n";
        assert!(describe(&config).contains(shown), "{}", describe(&config));
        assert_eq!(lowered_toml("").expect("valid").config.upstreams[0].health, None);
    }

    #[test]
    fn refuses_what_makes_no_sense_with_its_key() {
        for (text, why) in [
            ("", "health.path is missing"),
            ("path = 'h'", "health.path \"h\" does not start with /"),
            ("path = '/a b'", "health.path \"/a b\" has a byte in it"),
            ("path = '/a#b'", "health.path \"/a#b\" has a byte in it"),
            ("path = '/h', interval = '10ms'", "health.interval"),
            ("path = '/h', timeout = '0s'", "health.timeout"),
            ("path = '/h', interval = '2s', timeout = '3s'", "health.timeout is longer than interval"),
            ("path = '/h', expect = 'ok'", "health.expect \"ok\" is not a whole number from 200"),
            ("path = '/h', expect = [101]", "health.expect \"101\" is not"),
            ("path = '/h', rise = 0", "health.rise \"0\" is not"),
            ("path = '/h', fall = 101", "health.fall \"101\" is not"),
        ] {
            let told = lowered_toml(&file(text)).map(|_| ()).unwrap_err().to_string();
            assert!(told.starts_with(&format!("upstream \"a\" (gateway.toml:1): {why}")), "{told}");
            assert_eq!(told.lines().count(), 1, "{told}");
        }
        let told = lowered_toml(&file("path = '/h', method = 'HEAD'")).map(|_| ()).unwrap_err().to_string();
        assert!(told.contains("`method` is not a key here"), "{told}");
    }
}
