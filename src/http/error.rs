//! Protocol errors: each way in which a peer's bytes break HTTP, with its status and code.

macro_rules! protocol_errors {
    ($($(#[doc = $doc:literal])+ $name:ident $status:literal $code:literal $detail:literal;)+) => {
        /// What is wrong with a head, a body's framing or a trailer section. After any of these the
        /// connection is not used again: it is unknown where the next message begins.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ProtocolError {
            $($(#[doc = $doc])+ $name,)+
        }

        impl ProtocolError {
            /// Every error, for tables and tests.
            pub const ALL: &'static [ProtocolError] = &[$(ProtocolError::$name),+];

            /// The answer to a *client* that sent this. An upstream's mistake is a 502 whatever stands here.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// The stable machine-readable name.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// One sentence for the peer.
            pub fn detail(self) -> &'static str {
                match self { $(Self::$name => $detail,)+ }
            }
        }

        impl std::fmt::Display for ProtocolError {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.detail())
            }
        }

        impl std::error::Error for ProtocolError {}
    };
}

protocol_errors! {
    /// The first bytes are no HTTP/1 message: a TLS ClientHello, a second leading empty line, noise.
    NotHttp 400 "not_http" "The bytes received are not an HTTP/1.1 message.";
    /// An LF without its CR.
    BareLf 400 "bare_lf" "Every line must end with CRLF.";
    /// A CR without its LF.
    BareCr 400 "bare_cr" "A CR may only stand before an LF.";
    /// NUL or another control byte.
    ControlByte 400 "control_byte" "The head contains a control byte.";
    /// The head given to a parser does not end where its empty line is.
    HeadIncomplete 400 "head_incomplete" "The head is not complete.";
    /// More bytes than `HeadLimits::head_bytes`.
    HeadTooLarge 431 "head_too_large" "The request head is too large.";
    /// A longer request line than `HeadLimits::request_line_bytes`.
    RequestLineTooLong 414 "request_line_too_long" "The request line is too long.";
    /// More fields than `HeadLimits::fields`.
    TooManyFields 431 "too_many_fields" "The request has too many header fields.";
    /// More options than `limits::CONNECTION_OPTIONS_MAX` in `Connection`, or a longer one than
    /// `limits::CONNECTION_OPTION_BYTES_MAX`.
    TooManyConnectionOptions 400 "too_many_connection_options" "Connection lists too many options, or one too long.";
    /// Not three parts with one space between them.
    InvalidRequestLine 400 "invalid_request_line" "The request line must be: method, target, version.";
    /// Not a token.
    InvalidMethod 400 "invalid_method" "The method is not a token.";
    /// Neither 1.0 nor 1.1, the HTTP/2 preface included.
    UnsupportedVersion 505 "unsupported_version" "Only HTTP/1.0 and HTTP/1.1 are spoken here.";
    /// A status line that is not version, three digits and a reason, or a status outside 100–599.
    InvalidStatusLine 502 "invalid_status_line" "The status line is invalid.";
    /// A field continued on the next line, or white space before the first field.
    ObsFold 400 "obs_fold" "A header field must stand on one line.";
    /// White space between name and colon.
    SpaceBeforeColon 400 "space_before_colon" "No white space may stand before the colon of a header field.";
    /// A line that begins with its colon.
    EmptyFieldName 400 "empty_field_name" "A header field has no name.";
    /// A name that is not a token, or a line without a colon.
    InvalidFieldName 400 "invalid_field_name" "The name of a header field is not a token.";
    /// No Host in HTTP/1.1.
    MissingHost 400 "missing_host" "An HTTP/1.1 request must carry Host.";
    /// Two Host fields, even equal ones.
    DuplicateHost 400 "duplicate_host" "A request must carry Host once.";
    /// Not a host name or address with an optional port.
    InvalidHost 400 "invalid_host" "Host is not a host name or address with an optional port.";
    /// Host and the absolute-form target name two authorities.
    HostMismatch 400 "host_mismatch" "Host and the request target name different authorities.";
    /// Not 1*DIGIT, or over 2^63-1.
    ContentLengthInvalid 400 "content_length_invalid" "Content-Length is not a decimal number in range.";
    /// Content-Length twice.
    ContentLengthDuplicate 400 "content_length_duplicate" "Content-Length may stand only once.";
    /// Content-Length and Transfer-Encoding together.
    LengthAndEncoding 400 "length_and_encoding" "Content-Length and Transfer-Encoding exclude each other.";
    /// Transfer-Encoding that is not one `chunked`.
    TransferEncodingInvalid 400 "transfer_encoding_invalid" "Transfer-Encoding must be a single chunked.";
    /// A coding that exists but is not done here.
    TransferEncodingUnsupported 501 "transfer_encoding_unsupported" "Only the chunked transfer coding is supported.";
    /// Transfer-Encoding in an HTTP/1.0 message.
    TransferEncodingInHttp10 400 "transfer_encoding_in_http10" "HTTP/1.0 has no Transfer-Encoding.";
    /// An expectation other than `100-continue`.
    Expectation 417 "expectation" "The only expectation supported is 100-continue.";
    /// The CONNECT method.
    ConnectRefused 400 "connect_refused" "CONNECT is not served here.";
    /// The method TRACE, or TRACK, which some servers take for it.
    TraceRefused 405 "trace_refused" "TRACE is not served here.";
    /// `*` with another method than OPTIONS.
    AsteriskForm 400 "asterisk_form" "The target * is for OPTIONS only.";
    /// `host:port` as target.
    AuthorityForm 400 "authority_form" "The target must begin with a slash or be an absolute URI.";
    /// An absolute-form target that is neither http nor https.
    SchemeRefused 400 "scheme_refused" "The scheme of the target must be http or https.";
    /// A target of no known form.
    InvalidTarget 400 "invalid_target" "The request target is invalid.";
    /// `#` in the target.
    Fragment 400 "fragment" "The request target must not have a fragment.";
    /// `%2f` in the path.
    PathEncodedSlash 400 "path_encoded_slash" "The path contains an encoded slash.";
    /// `%5c` in the path.
    PathEncodedBackslash 400 "path_encoded_backslash" "The path contains an encoded backslash.";
    /// A raw backslash in the path.
    PathBackslash 400 "path_backslash" "The path contains a backslash.";
    /// `%00` in the path.
    PathNul 400 "path_nul" "The path contains an encoded NUL.";
    /// Any other control character in the path, encoded: `%01` to `%1F`, `%7F`, and U+0080 to U+009F in UTF-8.
    PathControl 400 "path_control" "The path contains an encoded control character.";
    /// A `.` or `..` segment, raw or encoded, with parameters or without.
    PathDotSegment 400 "path_dot_segment" "The path contains a dot segment.";
    /// `%` without two hex digits in the path.
    PathEscape 400 "path_escape" "The path contains a malformed percent escape.";
    /// White space in the path. In between: another byte that must be percent-encoded first.
    PathByte 400 "path_byte" "The path contains white space.";
    /// `//` in the path.
    PathEmptySegment 400 "path_empty_segment" "The path contains an empty segment.";
    /// Decoded twice, the path would have another `/`, `\`, `.`, NUL or control character.
    PathDoubleEncoding 400 "path_double_encoding" "The path is percent-encoded twice.";
    /// Percent-encoded bytes that are not UTF-8, overlong forms included.
    PathNotUtf8 400 "path_not_utf8" "The percent-encoded bytes of the path are not UTF-8.";
    /// White space in the query.
    QueryByte 400 "query_byte" "The query contains white space.";
    /// Not 1–16 hex digits, or over 2^63-1, or no CRLF after them.
    ChunkSize 400 "chunk_size" "A chunk size is invalid.";
    /// A chunk-size line over its bound.
    ChunkExtensionTooLong 400 "chunk_extension_too_long" "A chunk extension is too long.";
    /// A control byte in a chunk extension.
    ChunkExtension 400 "chunk_extension" "A chunk extension is invalid.";
    /// Chunk data without its CRLF.
    ChunkDataEnd 400 "chunk_data_end" "Chunk data must be followed by CRLF.";
    /// A trailer section over its bound.
    TrailerTooLarge 400 "trailer_too_large" "The trailer section is too large.";
    /// A trailer section that is not well-formed field lines.
    TrailerInvalid 400 "trailer_invalid" "The trailer section is invalid.";
    /// The connection ended before the body did.
    BodyIncomplete 400 "body_incomplete" "The connection ended before the body was complete.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_an_error_status_and_a_code_of_its_own() {
        for (index, error) in ProtocolError::ALL.iter().enumerate() {
            assert!((400..=599).contains(&error.status()), "{error:?}");
            assert!(error.code().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
            assert!(error.detail().ends_with('.'), "{error:?}");
            assert!(
                ProtocolError::ALL[index + 1..].iter().all(|other| other.code() != error.code()),
                "{error:?}"
            );
        }
    }
}
