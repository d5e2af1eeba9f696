//! What can be wrong with the bytes of a request: one list for head, chunked body and trailers.
//!
//! Callers: the readers beside it make them; `gateway` answers them.

use http::StatusCode;

use crate::response::texts::Text;

/// Why the bytes are no request that everybody reads alike. After one the connection carries nothing more.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeadFault {
    /// RFC 9112 §6.3: the classic of request smuggling.
    #[error("Content-Length and Transfer-Encoding on one request")]
    BothFramings,
    /// RFC 9112 §7.1.
    #[error("a chunk of the body is malformed")]
    Chunk,
    /// RFC 9113 §8.2.2.
    #[error("a field that describes an HTTP/1 connection, on HTTP/2")]
    ConnectionField,
    /// RFC 9110 §8.6.
    #[error("Content-Length is repeated, a list or not a plain number")]
    ContentLength,
    /// RFC 9110 §5.5.
    #[error("a control character in the head")]
    Control,
    /// RFC 9112 §2.2.
    #[error("more than one empty line before the request line")]
    EmptyLine,
    /// RFC 9110 §5.1.
    #[error("a field name is not a token, or blanks stand before its colon")]
    FieldName,
    /// A backend that reads `_` as `-` would frame the body by it.
    #[error("a framing field under a disguised name")]
    FieldNameDisguised,
    /// RFC 9112 §5.2.
    #[error("a folded field line")]
    Fold,
    /// RFC 9112 §3.2.
    #[error("no Host field")]
    HostMissing,
    /// RFC 9112 §3.2.
    #[error("more than one Host field")]
    HostRepeated,
    /// RFC 9112 §2.2.
    #[error("a line that doesn't end in CR LF, or a CR within a line")]
    LineEnd,
    /// RFC 9110 §9.1.
    #[error("the method is not a token of at most 32 characters without a lower-case letter")]
    Method,
    /// CONNECT would make a tunnel, TRACE shows what it was sent (RFC 9110 §9.3.6, §9.3.8).
    #[error("CONNECT and TRACE are refused")]
    MethodRefused,
    /// RFC 8441 §4: WebSocket alone is known.
    #[error("a CONNECT for a protocol other than `websocket`")]
    ProtocolUnknown,
    /// RFC 9112 §3.
    #[error("the request line is not method, target and version with one space between")]
    RequestLine,
    /// RFC 9112 §3.2.
    #[error("the target is no path, no http or https URL and no asterisk of OPTIONS")]
    Target,
    /// RFC 9110 §15.5.15.
    #[error("the target is too long")]
    TargetTooLong,
    /// RFC 6585 §5.
    #[error("the head or the trailer section is too large")]
    TooLarge,
    /// RFC 6585 §5.
    #[error("too many header or trailer fields")]
    TooManyFields,
    /// RFC 9110 §6.5.1.
    #[error("a framing field, Connection or Host among the trailers")]
    Trailer,
    /// RFC 9112 §6.1.
    #[error("Transfer-Encoding is repeated, other than exactly `chunked`, or on HTTP/1.0")]
    TransferEncoding,
    /// RFC 9112 §2.3.
    #[error("the protocol version is malformed")]
    Version,
    /// RFC 9110 §15.6.6.
    #[error("a protocol version other than HTTP/1.0 and HTTP/1.1")]
    VersionUnsupported,
}

impl HeadFault {
    /// A stable word for problem details, logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::MethodRefused => "method_not_allowed",
            Self::ProtocolUnknown => "not_implemented",
            Self::TargetTooLong => "uri_too_long",
            Self::TooLarge | Self::TooManyFields => "header_too_large",
            Self::VersionUnsupported => "version_not_supported",
            Self::BothFramings
            | Self::Chunk
            | Self::ConnectionField
            | Self::ContentLength
            | Self::Control
            | Self::EmptyLine
            | Self::FieldName
            | Self::FieldNameDisguised
            | Self::Fold
            | Self::HostMissing
            | Self::HostRepeated
            | Self::LineEnd
            | Self::Method
            | Self::RequestLine
            | Self::Target
            | Self::Trailer
            | Self::TransferEncoding
            | Self::Version => "bad_request",
        }
    }

    /// For the client: what to do, and nothing about the inside.
    pub fn public_message(self) -> Text {
        match self {
            Self::MethodRefused => Text::new("unsound-method"),
            Self::ProtocolUnknown => Text::new("unsound-protocol"),
            Self::TargetTooLong => Text::new("unsound-target-long"),
            Self::TooLarge | Self::TooManyFields => Text::new("problem-headers"),
            Self::VersionUnsupported => Text::new("unsound-version"),
            Self::BothFramings
            | Self::Chunk
            | Self::ConnectionField
            | Self::ContentLength
            | Self::Control
            | Self::EmptyLine
            | Self::FieldName
            | Self::FieldNameDisguised
            | Self::Fold
            | Self::HostMissing
            | Self::HostRepeated
            | Self::LineEnd
            | Self::Method
            | Self::RequestLine
            | Self::Target
            | Self::Trailer
            | Self::TransferEncoding
            | Self::Version => Text::new("unsound-http"),
        }
    }

    /// What it is answered with, before the connection closes. A 405 wants an `Allow` field beside it.
    pub fn status(self) -> StatusCode {
        match self.code() {
            "method_not_allowed" => StatusCode::METHOD_NOT_ALLOWED,
            "not_implemented" => StatusCode::NOT_IMPLEMENTED,
            "uri_too_long" => StatusCode::URI_TOO_LONG,
            "header_too_large" => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "version_not_supported" => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}
