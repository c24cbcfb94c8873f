//! The settings under "Traces". Those that begin with `OTEL_` have the names and forms that every program with
//! OpenTelemetry has (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>).

use std::time::Duration;

use crate::config::address::percent_decoded;
use crate::config::key::{InFile, Key, NoDefault, OnReload, Section, Shown};
use crate::config::keys_url::{self, PlainHttp};
use crate::config::layers::Layers;
use crate::config::meaning::{KeysUrl, Secret, TraceSample, Traces};
use crate::config::value::{Parsed, count, quoted};
use crate::limits::{OTEL_PAIRS_MAX, OTEL_TEXT_BYTES_MAX, OTEL_TIMEOUT_MS_MAX};

/// The settings under "Traces".
pub const SECTION: Section = Section {
    heading: "Traces",
    heading_in_check: "Traces",
    keys: &[
        &TRACE_SAMPLE,
        &OTEL_EXPORTER_OTLP_ENDPOINT,
        &OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
        &OTEL_EXPORTER_OTLP_HEADERS,
        &OTEL_EXPORTER_OTLP_TIMEOUT,
        &OTEL_SERVICE_NAME,
        &OTEL_RESOURCE_ATTRIBUTES,
    ],
};

pub const TRACE_SAMPLE: Key<TraceSample> = Key {
    env: "TRACE_SAMPLE",
    flag: "trace-sample",
    value_name: "PART",
    in_file: InFile::Scalar,
    default: "0",
    bounds: "0 to 1, six decimals",
    help: "Which part of the requests becomes traces; 0: none",
    more: "A request that a trusted proxy sends with a `traceparent` is sampled if that says so \
           ([observability.md](observability.md#traces)). Over 0 it needs `OTEL_EXPORTER_OTLP_ENDPOINT` or \
           `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`.",
    parse: sample,
    shown: Shown::Value(|config| config.traces.sample.to_string()),
    on_reload: OnReload::Takes,
};

pub const OTEL_EXPORTER_OTLP_ENDPOINT: Key<KeysUrl, NoDefault> = Key {
    env: "OTEL_EXPORTER_OTLP_ENDPOINT",
    flag: "otel-exporter-otlp-endpoint",
    value_name: "URL",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "an `http` or `https` URL without a query",
    help: "The collector that spans go to, over OTLP/HTTP; `/v1/traces` is added to it",
    more: "",
    parse: base_url,
    shown: Shown::Value(|config| show_url(config.traces.endpoint.as_ref())),
    on_reload: OnReload::NeedsRestart(|running, wanted| {
        wanted.traces.endpoint = running.traces.endpoint.clone();
    }),
};

pub const OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: Key<KeysUrl, NoDefault> = Key {
    env: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    flag: "otel-exporter-otlp-traces-endpoint",
    value_name: "URL",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "an `http` or `https` URL",
    help: "The whole URL that spans go to, in place of the one above",
    more: "",
    parse: |text| keys_url::parse(text, PlainHttp::Anywhere),
    shown: Shown::Value(|config| show_url(config.traces.traces_endpoint.as_ref())),
    on_reload: OnReload::NeedsRestart(|running, wanted| {
        wanted.traces.traces_endpoint = running.traces.traces_endpoint.clone();
    }),
};

pub const OTEL_EXPORTER_OTLP_HEADERS: Key<Vec<(String, Secret)>, NoDefault> = Key {
    env: "OTEL_EXPORTER_OTLP_HEADERS",
    flag: "otel-exporter-otlp-headers",
    value_name: "NAME=VALUE,…",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "up to 32 fields; values may be percent-encoded",
    help: "Fields of each request to the collector, such as its key",
    more: "",
    parse: headers,
    shown: Shown::Secret {
        summary: |config| match config.traces.headers.len() {
            0 => "none".to_owned(),
            1 => "1 field (not shown)".to_owned(),
            count => format!("{count} fields (not shown)"),
        },
        differs: |one, other| one.traces.headers != other.traces.headers,
    },
    on_reload: OnReload::NeedsRestart(|running, wanted| {
        wanted.traces.headers = running.traces.headers.clone();
    }),
};

pub const OTEL_EXPORTER_OTLP_TIMEOUT: Key<Duration> = Key {
    env: "OTEL_EXPORTER_OTLP_TIMEOUT",
    flag: "otel-exporter-otlp-timeout",
    value_name: "MILLISECONDS",
    in_file: InFile::Scalar,
    default: "10000",
    bounds: "1 to 600000",
    help: "How long the collector may take for one request, in milliseconds without a unit",
    more: "",
    parse: |text| count(text, 1, OTEL_TIMEOUT_MS_MAX).map(Duration::from_millis),
    shown: Shown::Value(|config| config.traces.timeout.as_millis().to_string()),
    on_reload: OnReload::NeedsRestart(|running, wanted| wanted.traces.timeout = running.traces.timeout),
};

pub const OTEL_SERVICE_NAME: Key<String> = Key {
    env: "OTEL_SERVICE_NAME",
    flag: "otel-service-name",
    value_name: "NAME",
    in_file: InFile::Scalar,
    default: "realchat-gateway",
    bounds: "up to 256 bytes without control characters",
    help: "What the gateway is called in traces (`service.name`)",
    more: "",
    parse: text,
    shown: Shown::Value(|config| config.traces.service_name.clone()),
    on_reload: OnReload::NeedsRestart(|running, wanted| {
        wanted.traces.service_name = running.traces.service_name.clone();
    }),
};

pub const OTEL_RESOURCE_ATTRIBUTES: Key<Vec<(String, String)>, NoDefault> = Key {
    env: "OTEL_RESOURCE_ATTRIBUTES",
    flag: "otel-resource-attributes",
    value_name: "NAME=VALUE,…",
    in_file: InFile::Scalar,
    default: NoDefault,
    bounds: "up to 32 pairs; values may be percent-encoded",
    help: "What else traces say of the gateway, such as `deployment.environment.name=staging`",
    more: "",
    parse: attributes,
    shown: Shown::Value(|config| show_pairs(&config.traces.resource)),
    on_reload: OnReload::NeedsRestart(|running, wanted| {
        wanted.traces.resource = running.traces.resource.clone();
    }),
};

/// All of them.
pub(crate) fn traces(layers: &mut Layers) -> Traces {
    let traces = Traces {
        sample: layers.value(&TRACE_SAMPLE),
        endpoint: layers.option(&OTEL_EXPORTER_OTLP_ENDPOINT),
        traces_endpoint: layers.option(&OTEL_EXPORTER_OTLP_TRACES_ENDPOINT),
        headers: layers.option(&OTEL_EXPORTER_OTLP_HEADERS).unwrap_or_default(),
        service_name: layers.value(&OTEL_SERVICE_NAME),
        resource: layers.option(&OTEL_RESOURCE_ATTRIBUTES).unwrap_or_default(),
        timeout: layers.value(&OTEL_EXPORTER_OTLP_TIMEOUT),
    };
    let endpoints = [&OTEL_EXPORTER_OTLP_ENDPOINT, &OTEL_EXPORTER_OTLP_TRACES_ENDPOINT];
    if traces.sample.is_on() && !endpoints.iter().any(|key| layers.has(*key)) {
        layers.refuse_written(
            &TRACE_SAMPLE,
            "is over 0, but OTEL_EXPORTER_OTLP_ENDPOINT is missing: spans have nowhere to go",
        );
    }
    traces
}

/// Reads a part: `0.05`.
fn sample(value: &str) -> Parsed<TraceSample> {
    let wrong = || format!("{} is not a number from 0 to 1 with up to six decimals", quoted(value));
    let (whole, decimals) = value.split_once('.').unwrap_or((value, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() > 6 {
        return Err(wrong());
    }
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let millionths: u32 = format!("{decimals:0<6}").parse().map_err(|_| wrong())?;
    let all = whole.checked_mul(1_000_000).and_then(|whole| whole.checked_add(millionths));
    all.and_then(TraceSample::of_millionths).ok_or_else(wrong)
}

fn base_url(value: &str) -> Parsed<KeysUrl> {
    match value.contains('?') {
        true => Err(format!("{} has a query", quoted(value))),
        false => keys_url::parse(value, PlainHttp::Anywhere),
    }
}

fn text(value: &str) -> Parsed<String> {
    match value.len() <= OTEL_TEXT_BYTES_MAX && !value.contains(char::is_control) {
        true => Ok(value.to_owned()),
        false => Err(format!("is over {OTEL_TEXT_BYTES_MAX} bytes, or has control characters in it")),
    }
}

/// Reads `name=value,name=value`, whose values may be percent-encoded. No mistake shows a value.
fn pairs(value: &str) -> Parsed<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let nth = pairs.len() + 1;
        let (name, encoded) = part.split_once('=').ok_or_else(|| format!("has no `=` in pair {nth}"))?;
        let decoded = percent_decoded(encoded.trim()).and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded =
            decoded.filter(|text| !text.contains(char::is_control) && text.len() <= OTEL_TEXT_BYTES_MAX);
        let decoded = decoded.ok_or_else(|| format!("has a value in pair {nth} that cannot be read"))?;
        pairs.push((text(name.trim())?, decoded));
    }
    match pairs.len() {
        0 => Err("has no pair in it".to_owned()),
        1..=OTEL_PAIRS_MAX => Ok(pairs),
        count => Err(format!("has {count} pairs in it, over {OTEL_PAIRS_MAX}")),
    }
}

fn attributes(value: &str) -> Parsed<Vec<(String, String)>> {
    let pairs = pairs(value)?;
    match pairs.iter().any(|(name, _)| name.is_empty()) {
        true => Err("has a pair without a name".to_owned()),
        false => Ok(pairs),
    }
}

/// Reads fields. Their names are tokens (RFC 9110 §5.6.2), and none that the request has anyway.
fn headers(value: &str) -> Parsed<Vec<(String, Secret)>> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let mut fields = Vec::new();
    for (nth, (name, value)) in pairs(value)?.into_iter().enumerate() {
        let nth = nth + 1;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("has no name of a field in pair {nth}"));
        }
        let own = ["host", "content-length", "content-type", "connection", "transfer-encoding"];
        if own.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return Err(format!("has {} in it, which the gateway sets", quoted(&name)));
        }
        if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(format!("has a value in pair {nth} that cannot be read"));
        }
        fields.push((name, Secret(value.into_bytes())));
    }
    Ok(fields)
}

fn show_url(url: Option<&KeysUrl>) -> String {
    url.map_or_else(|| "none".to_owned(), |url| url.as_str().to_owned())
}

fn show_pairs(pairs: &[(String, String)]) -> String {
    let shown: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{config, lowered, moves, refuses};

    const COLLECTOR: &str = "http://collector:4318/";

    #[test]
    fn every_key_moves_its_own_setting() {
        moves(
            &SECTION,
            &[
                (
                    &OTEL_EXPORTER_OTLP_ENDPOINT,
                    COLLECTOR,
                    "OTEL_EXPORTER_OTLP_ENDPOINT http://collector:4318/",
                ),
                (
                    &OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
                    "https://c.example/t?a=b",
                    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT https://c.example/t?a=b",
                ),
                (
                    &OTEL_EXPORTER_OTLP_HEADERS,
                    "api-key=hunter2",
                    "OTEL_EXPORTER_OTLP_HEADERS 1 field (not shown)",
                ),
                (&OTEL_EXPORTER_OTLP_TIMEOUT, "500", "OTEL_EXPORTER_OTLP_TIMEOUT 500"),
                (&OTEL_SERVICE_NAME, "edge", "OTEL_SERVICE_NAME edge"),
                (&OTEL_RESOURCE_ATTRIBUTES, "a=b%20c, d=e", "OTEL_RESOURCE_ATTRIBUTES a=b c, d=e"),
            ],
        );
    }

    #[test]
    fn refuses_each_wrong_value_with_its_key() {
        refuses(&[
            (&TRACE_SAMPLE, "1.000001"),
            (&OTEL_EXPORTER_OTLP_ENDPOINT, "collector:4318"),
            (&OTEL_EXPORTER_OTLP_ENDPOINT, "http://collector:4318/?a=b"),
            (&OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, "grpc://collector:4317"),
            (&OTEL_EXPORTER_OTLP_HEADERS, "api-key"),
            (&OTEL_EXPORTER_OTLP_HEADERS, "a b=c"),
            (&OTEL_EXPORTER_OTLP_HEADERS, "a=b%0d%0aHost: x"),
            (&OTEL_EXPORTER_OTLP_HEADERS, "Content-Length=5"),
            (&OTEL_EXPORTER_OTLP_TIMEOUT, "10s"),
            (&OTEL_SERVICE_NAME, "a\nb"),
            (&OTEL_RESOURCE_ATTRIBUTES, "a=%zz"),
            (&OTEL_RESOURCE_ATTRIBUTES, "=b"),
        ]);
        let told = lowered(&[(&OTEL_EXPORTER_OTLP_HEADERS, "key=hunter2%0a")]).unwrap_err().to_string();
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn a_part_is_read_to_the_millionth() {
        for (text, shown) in
            [("0", "0"), ("1", "1"), ("1.0", "1"), ("0.05", "0.05"), ("0.000001", "0.000001")]
        {
            assert_eq!(sample(text).unwrap().to_string(), shown);
        }
        for wrong in ["", ".", ".5", "5.", "-1", "2", "1e-3", "0.0000001", "0.5 ", "99999999999"] {
            assert!(sample(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_sample_needs_somewhere_to_go() {
        let told = lowered(&[(&TRACE_SAMPLE, "0.1")]).unwrap_err().to_string();
        assert!(
            told.starts_with("TRACE_SAMPLE: is over 0, but OTEL_EXPORTER_OTLP_ENDPOINT is missing"),
            "{told}"
        );
        let url = |text: &str| config(text).traces.url().map(|url| url.as_str().to_owned());
        let base = "trace_sample = 1\notel_exporter_otlp_endpoint = 'http://collector:4318/'\n";
        assert_eq!(url(base).as_deref(), Some("http://collector:4318/v1/traces"));
        let both = format!("{base}otel_exporter_otlp_traces_endpoint = 'https://c.example/t'\n");
        assert_eq!(url(&both).as_deref(), Some("https://c.example/t"));
        assert_eq!(url(""), None);
        assert_eq!(lowered(&[(&TRACE_SAMPLE, "0")]).unwrap().config.traces.sample, TraceSample::OFF);
    }
}
