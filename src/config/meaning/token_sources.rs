//! Where the requests of a route may carry their token.

use std::fmt;

/// Where the requests of a route may carry their token. Each list is in the order written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenSources {
    /// In `Authorization: Bearer …`.
    pub header: bool,
    /// In a field of one of these names, which are in lower case, as it is.
    pub fields: Vec<String>,
    /// As a subprotocol of a handshake, behind one of these prefixes.
    pub subprotocols: Vec<TokenPrefix>,
    /// In the query, as a parameter of one of these names.
    pub queries: Vec<String>,
    /// As a cookie of one of these names.
    pub cookies: Vec<String>,
}

/// How a subprotocol that is a token begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPrefix {
    /// The beginning, in any case.
    pub prefix: String,
    /// What follows.
    pub encoding: TokenEncoding,
}

/// How a token stands in a subprotocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenEncoding {
    /// As it is.
    Plain,
    /// In base64url, without padding.
    Base64url,
}

impl TokenSources {
    /// The header alone: the default of a route that takes no handshakes.
    #[must_use]
    pub fn header() -> TokenSources {
        TokenSources { header: true, ..TokenSources::default() }
    }

    /// Header, `bearer.…` and `access_token`: the default of a route that takes handshakes.
    #[must_use]
    pub fn of_handshakes() -> TokenSources {
        TokenSources {
            header: true,
            fields: Vec::new(),
            subprotocols: vec![TokenPrefix::bearer()],
            queries: vec![ACCESS_TOKEN.to_owned()],
            cookies: Vec::new(),
        }
    }

    /// Whether nothing but the header is looked at.
    pub fn is_header_alone(&self) -> bool {
        self.header && self.len() == 1
    }

    /// Whether there is no source.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many sources there are.
    pub fn len(&self) -> usize {
        usize::from(self.header)
            + self.fields.len()
            + self.subprotocols.len()
            + self.queries.len()
            + self.cookies.len()
    }

    /// Adds the sources of another route.
    pub(crate) fn join(&mut self, other: &TokenSources) {
        self.header |= other.header;
        add(&mut self.fields, &other.fields);
        add(&mut self.subprotocols, &other.subprotocols);
        add(&mut self.queries, &other.queries);
        add(&mut self.cookies, &other.cookies);
    }
}

fn add<T: Clone + PartialEq>(known: &mut Vec<T>, others: &[T]) {
    for other in others {
        if !known.contains(other) {
            known.push(other.clone());
        }
    }
}

impl TokenPrefix {
    /// `bearer.…`
    #[must_use]
    pub fn bearer() -> TokenPrefix {
        TokenPrefix { prefix: BEARER.to_owned(), encoding: TokenEncoding::Plain }
    }
}

impl fmt::Display for TokenSources {
    /// The sources as the configuration writes them: `header, query`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.header.then(|| "header".to_owned());
        let subprotocol = |TokenPrefix { prefix, encoding }: &TokenPrefix| match encoding {
            TokenEncoding::Plain if prefix == BEARER => "subprotocol".to_owned(),
            TokenEncoding::Plain => format!("subprotocol:{prefix}"),
            TokenEncoding::Base64url => format!("subprotocol-base64url:{prefix}"),
        };
        let query = |name: &String| match name.as_str() {
            ACCESS_TOKEN => "query".to_owned(),
            name => format!("query:{name}"),
        };
        let cookie = |name: &String| format!("cookie:{name}");
        let names = header
            .into_iter()
            .chain(self.fields.iter().map(|name| format!("header:{name}")))
            .chain(self.subprotocols.iter().map(subprotocol))
            .chain(self.queries.iter().map(query))
            .chain(self.cookies.iter().map(cookie));
        f.write_str(&names.collect::<Vec<_>>().join(", "))
    }
}

/// How a subprotocol begins that is a token wherever handshakes are taken.
pub const BEARER: &str = "bearer.";
/// The parameter of RFC 6750 §2.3.
pub const ACCESS_TOKEN: &str = "access_token";
