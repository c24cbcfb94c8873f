//! The access-log line of one exchange, as JSON.

use std::io::Write;
use std::net::IpAddr;

use super::TunnelEnd;
use crate::clock::civil;

/// The fields of one line. Those that are `None` are left out.
#[derive(Debug, Clone, Copy)]
pub struct AccessRecord<'a> {
    /// When the exchange ended: Unix time in µs.
    pub time_us: u64,
    /// The request id: from a trusted proxy, or made by the gateway.
    pub request_id: &'a [u8],
    /// The id of the trace that it is part of.
    pub trace_id: Option<&'a [u8]>,
    /// The client's address, which may be from a trusted proxy.
    pub client: IpAddr,
    /// The method as the client sent it.
    pub method: &'a [u8],
    /// The path *without* its query: queries carry tokens.
    pub path: &'a [u8],
    /// The authority that the client asked for.
    pub host: Option<&'a [u8]>,
    /// The program of the client, as it names itself.
    pub user_agent: Option<&'a [u8]>,
    /// The name of the route.
    pub route: Option<&'a str>,
    /// The verified subject.
    pub user: Option<&'a str>,
    /// The status sent to the client.
    pub status: u16,
    /// The code of the error, if the gateway itself answered.
    pub code: Option<&'a str>,
    /// What caused that, where the code does not say it.
    pub cause: Option<&'a str>,
    /// The limit that refused it.
    pub limit: Option<&'a str>,
    /// Bytes from the client: the head, and the body without its framing.
    pub bytes_in: u64,
    /// Bytes to the client: head and body.
    pub bytes_out: u64,
    /// From the complete head to the last byte of the response, in µs.
    pub total_us: u64,
    /// Time to connect to the upstream, in µs; `None` if no connection was opened.
    pub connect_us: Option<u64>,
    /// From the first byte of the request upstream to the head of its response, in µs.
    pub upstream_head_us: Option<u64>,
    /// The fields of a WebSocket tunnel that has ended.
    pub tunnel: Option<TunnelRecord>,
    /// The upstream's name.
    pub upstream_name: Option<&'a str>,
    /// The upstream's address.
    pub upstream: Option<&'a str>,
    /// The upstream connection had been used before.
    pub reused: Option<bool>,
    /// The version of HTTP that the client speaks; `None`: HTTP/1.
    pub protocol: Option<&'a str>,
    /// The version of TLS that the client speaks; `None`: none.
    pub tls_version: Option<&'a str>,
    /// Its cipher suite.
    pub tls_cipher: Option<&'a str>,
    /// The host name that the client asked for in the TLS handshake.
    pub sni: Option<&'a str>,
}

/// The additional fields of a tunnel.
#[derive(Debug, Clone, Copy)]
pub struct TunnelRecord {
    /// Messages from the client.
    pub messages_in: u64,
    /// Messages to the client.
    pub messages_out: u64,
    /// Why it ended.
    pub end: TunnelEnd,
    /// The code of the first Close frame that passed or that the gateway sent to the client.
    pub close_code: Option<u16>,
}

impl AccessRecord<'_> {
    /// Appends the record and a line feed.
    ///
    /// The line is valid JSON (RFC 8259) and valid UTF-8 for every input: bytes that are not UTF-8 become `\ufffd`,
    /// control characters (including C1, which terminals obey) become `\u00XX`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        write_time(out, self.time_us);
        out.push(b'"');
        text(out, b"request_id", self.request_id);
        if let Some(id) = self.trace_id {
            text(out, b"trace_id", id);
        }
        out.extend_from_slice(b",\"client\":\"");
        write!(out, "{}\"", self.client).expect("writing to a Vec cannot fail");
        text(out, b"method", self.method);
        text(out, b"path", self.path);
        let optional = |out: &mut Vec<u8>, name, value: Option<&str>| {
            if let Some(value) = value {
                text(out, name, value.as_bytes());
            }
        };
        for (name, value) in [(&b"host"[..], self.host), (b"user_agent", self.user_agent)] {
            if let Some(value) = value {
                text(out, name, value);
            }
        }
        optional(out, b"route", self.route);
        optional(out, b"user", self.user);
        number(out, b"status", self.status.into());
        optional(out, b"code", self.code);
        optional(out, b"cause", self.cause);
        optional(out, b"limit", self.limit);
        number(out, b"bytes_in", self.bytes_in);
        number(out, b"bytes_out", self.bytes_out);
        number(out, b"total_us", self.total_us);
        if let Some(us) = self.connect_us {
            number(out, b"connect_us", us);
        }
        if let Some(us) = self.upstream_head_us {
            number(out, b"upstream_head_us", us);
        }
        if let Some(tunnel) = &self.tunnel {
            tunnel.write_json(out);
        }
        optional(out, b"upstream_name", self.upstream_name);
        optional(out, b"upstream", self.upstream);
        if let Some(reused) = self.reused {
            key(out, b"reused");
            out.extend_from_slice(if reused { b"true" } else { b"false" });
        }
        optional(out, b"protocol", self.protocol);
        optional(out, b"tls_version", self.tls_version);
        optional(out, b"tls_cipher", self.tls_cipher);
        optional(out, b"sni", self.sni);
        out.extend_from_slice(b"}\n");
    }
}

impl TunnelRecord {
    fn write_json(&self, out: &mut Vec<u8>) {
        number(out, b"messages_in", self.messages_in);
        number(out, b"messages_out", self.messages_out);
        text(out, b"end", self.end.text().as_bytes());
        if let Some(code) = self.close_code {
            number(out, b"close_code", code.into());
        }
    }
}

fn key(out: &mut Vec<u8>, name: &[u8]) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name);
    out.extend_from_slice(b"\":");
}

fn text(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    key(out, name);
    out.push(b'"');
    // Nearly every value has only plain characters.
    let plain = value.iter().position(|&byte| !is_plain(byte)).unwrap_or(value.len());
    out.extend_from_slice(&value[..plain]);
    if plain < value.len() {
        escape(out, &value[plain..]);
    }
    out.push(b'"');
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

#[cold]
fn escape(out: &mut Vec<u8>, value: &[u8]) {
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
                _ if c.is_control() => {
                    write!(out, "\\u{:04x}", u32::from(c)).expect("writing to a Vec cannot fail");
                }
                _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

fn number(out: &mut Vec<u8>, name: &[u8], value: u64) {
    key(out, name);
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// RFC 3339 in UTC: `2026-01-31T23:59:59.000001Z`.
fn write_time(out: &mut Vec<u8>, unix_us: u64) {
    let (seconds, us) = (unix_us / 1_000_000, unix_us % 1_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    decimal(out, year, 4, b'-');
    decimal(out, month, 2, b'-');
    decimal(out, day, 2, b'T');
    decimal(out, second / 3600, 2, b':');
    decimal(out, second / 60 % 60, 2, b':');
    decimal(out, second % 60, 2, b'.');
    decimal(out, us, 6, b'Z');
}

/// Writes exactly `width` digits and the character after them.
fn decimal(out: &mut Vec<u8>, value: u64, width: usize, after: u8) {
    let mut digits = [b'0'; 7];
    let mut rest = value;
    for digit in digits[..width].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits[width] = after;
    out.extend_from_slice(&digits[..=width]);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::Value;

    pub(in crate::telemetry) fn record() -> AccessRecord<'static> {
        AccessRecord {
            time_us: 1_769_903_999_000_001,
            request_id: b"r-1",
            trace_id: None,
            client: IpAddr::from([192, 0, 2, 1]),
            method: b"GET",
            path: b"/api/v1/users/7",
            host: Some(b"chat.example"),
            user_agent: Some(b"curl/8"),
            route: Some("users"),
            user: Some("u-7"),
            status: 200,
            code: None,
            cause: None,
            limit: None,
            bytes_in: 0,
            bytes_out: u64::MAX,
            total_us: 1234,
            connect_us: None,
            upstream_head_us: Some(900),
            upstream_name: Some("profile"),
            upstream: Some("10.0.0.4:5004"),
            reused: Some(true),
            protocol: None,
            tls_version: None,
            tls_cipher: None,
            sni: None,
            tunnel: None,
        }
    }

    fn line(record: &AccessRecord<'_>) -> String {
        let mut out = Vec::new();
        record.write_json(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_one_line_with_every_field_that_is_known() {
        assert_eq!(
            line(&record()),
            "{\"time\":\"2026-01-31T23:59:59.000001Z\",\"request_id\":\"r-1\",\"client\":\"192.0.2.1\",\
             \"method\":\"GET\",\"path\":\"/api/v1/users/7\",\"host\":\"chat.example\",\"user_agent\":\"curl/8\",\
             \"route\":\"users\",\"user\":\"u-7\",\
             \"status\":200,\"bytes_in\":0,\"bytes_out\":18446744073709551615,\"total_us\":1234,\
             \"upstream_head_us\":900,\"upstream_name\":\"profile\",\"upstream\":\"10.0.0.4:5004\",\"reused\":true}\n"
        );
        let bare = AccessRecord {
            host: None,
            user_agent: None,
            route: None,
            user: None,
            code: Some("upstream_unreachable"),
            cause: Some("ECONNREFUSED"),
            limit: Some("shop:2"),
            upstream_head_us: None,
            connect_us: Some(0),
            upstream_name: None,
            upstream: None,
            reused: None,
            protocol: Some("HTTP/2"),
            tls_version: Some("TLSv1.3"),
            tls_cipher: Some("TLS_AES_128_GCM_SHA256"),
            sni: Some("chat.example"),
            tunnel: None,
            client: "2001:db8::1".parse().unwrap(),
            ..record()
        };
        let value: Value = serde_json::from_str(&line(&bare)).unwrap();
        assert_eq!(
            (&value["code"], &value["cause"]),
            (&"upstream_unreachable".into(), &"ECONNREFUSED".into())
        );
        assert_eq!((&value["client"], &value["limit"]), (&"2001:db8::1".into(), &"shop:2".into()));
        assert_eq!(value["connect_us"], 0);
        assert!(value.get("route").is_none() && value.get("reused").is_none());
        let tls = (&value["tls_version"], &value["tls_cipher"], &value["sni"]);
        assert_eq!(tls, (&"TLSv1.3".into(), &"TLS_AES_128_GCM_SHA256".into(), &"chat.example".into()));
    }

    #[test]
    fn no_client_can_break_out_of_its_string() {
        for (sent, read) in [
            (&b"/a\",\"status\":999,\"x\":\""[..], "/a\",\"status\":999,\"x\":\""),
            (b"/a\\", "/a\\"),
            (b"/a\\\"", "/a\\\""),
            (b"/a\r\n{\"forged\":1}", "/a\r\n{\"forged\":1}"),
            (b"/\0\x1b[2J\x7f", "/\0\u{1b}[2J\u{7f}"),
            (b"/\xc2\x9b2J", "/\u{9b}2J"),
            (b"/\xff\xc3", "/\u{fffd}\u{fffd}"),
            (b"/\xe2\x82", "/\u{fffd}"),
            (b"/\xed\xa0\x80x", "/\u{fffd}\u{fffd}\u{fffd}x"),
            ("/é€😀\u{2028}".as_bytes(), "/é€😀\u{2028}"),
            (b"", ""),
        ] {
            let user = String::from_utf8_lossy(sent).into_owned();
            let hostile =
                AccessRecord { path: sent, method: sent, request_id: sent, user: Some(&user), ..record() };
            let line = line(&hostile);
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(!line.trim_end().chars().any(char::is_control), "{line:?}");
            let value: Value = serde_json::from_str(&line).unwrap();
            for name in ["path", "method", "request_id", "user"] {
                assert_eq!(value[name], read, "{name} of {sent:?}");
            }
            assert_eq!(value["status"], 200);
            assert!(value.get("forged").is_none() && value.get("x").is_none());
        }
    }

    #[test]
    fn every_byte_gives_a_line_that_parses() {
        for byte in 0..=255_u8 {
            let path = [b'/', byte, b'x'];
            let value: Value =
                serde_json::from_str(&line(&AccessRecord { path: &path, ..record() })).unwrap();
            assert!(value["path"].as_str().unwrap().ends_with('x'), "{byte}");
        }
    }

    #[test]
    fn time_is_rfc_3339() {
        for (unix_us, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (951_868_799_999_999, "2000-02-29T23:59:59.999999Z"),
            (1_709_164_800_000_000, "2024-02-29T00:00:00.000000Z"),
            (1_735_689_599_000_000, "2024-12-31T23:59:59.000000Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
        ] {
            let mut out = Vec::new();
            write_time(&mut out, unix_us);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
