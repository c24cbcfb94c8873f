//! The text that `demo` prints: three `curl` lines that work when pasted in order, and the address of the page.

use super::entrance::Entrance;
use crate::http::Scheme;

/// The whole text. The lines about the page are comments for a shell, so all of it can be pasted.
pub(super) fn greeting(gateway: Entrance, page_port: u16) -> String {
    let page = format!("# Chat in two tabs: http://localhost:{page_port}/ (alice, wonderland; bob, builder)");
    let trust = match gateway.scheme {
        Scheme::Http => String::new(),
        Scheme::Https => format!(
            "# The certificate is self-signed: first let the browser accept it at https://localhost:{}/healthz\n",
            gateway.port
        ),
    };
    format!("{}{trust}{page}\n", curl_lines(gateway))
}

/// Log in, call a protected route with the token, see a 401. One command per line, each ending in a newline;
/// they need `curl` and `sed`, nothing else.
fn curl_lines(gateway: Entrance) -> String {
    let port = gateway.port;
    // `-k`: nobody has issued the certificate.
    let (flag, at) = match gateway.scheme {
        Scheme::Http => ("", ""),
        Scheme::Https => ("k", "https://"),
    };
    let login = format!("curl -s{flag} {at}localhost:{port}/api/v1/auth/login -d '{ALICE}'");
    let login = format!("TOKEN=$({login} | sed '{TOKEN_ALONE}')");
    let protected =
        format!(r#"curl -i{flag} -H "Authorization: Bearer $TOKEN" {at}localhost:{port}/api/v1/users/me"#);
    let refused = format!("curl -i{flag} {at}localhost:{port}/api/v1/users/me");
    format!("{login}\n{protected}\n{refused}\n")
}

/// A user that is registered from the start.
const ALICE: &str = r#"{"user":"alice","password":"wonderland"}"#;
/// What is between the quotes after `"token":`.
const TOKEN_ALONE: &str = r#"s/.*"token":"\([^"]*\)".*/\1/"#;

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: Entrance = Entrance { scheme: Scheme::Http, port: 8081 };

    #[test]
    fn names_the_page_on_a_line_that_a_shell_passes_over() {
        let greeting = greeting(HTTP, 8091);
        assert_eq!(greeting.lines().count(), 4);
        let last = greeting.lines().last().unwrap();
        assert!(last.starts_with("# ") && last.contains(" http://localhost:8091/ "), "{last}");
    }

    #[test]
    fn prints_three_lines_for_the_port() {
        let lines = curl_lines(HTTP);
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.contains("localhost:8081/api/v1/")));
        assert!(lines[0].starts_with("TOKEN=$(curl -s ") && lines[0].ends_with(r#"\([^"]*\)".*/\1/')"#));
        assert!(lines[0].contains(r#"-d '{"user":"alice","password":"wonderland"}'"#));
        assert!(lines[1].contains("Bearer $TOKEN") && !lines[2].contains("Bearer"));
    }
}
