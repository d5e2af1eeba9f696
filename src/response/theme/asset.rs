//! A picture or a font of a theme, as it is served.
//!
//! Callers: `theme`; `portal` answers with it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

/// Which kinds are served, by the end of the name.
const KINDS: [(&str, &str); 11] = [
    ("avif", "image/avif"),
    ("gif", "image/gif"),
    ("ico", "image/x-icon"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("ttf", "font/ttf"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
];

pub(super) const KINDS_IN_WORDS: &str = "expected a picture (.avif, .gif, .ico, .jpeg, .jpg, .png, .svg, .webp) or a font (.ttf, .woff, .woff2) with a plain name";

/// One file that pages of the theme may name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asset {
    /// Its content.
    pub bytes: Bytes,
    /// What tells this content from another, in quotes.
    pub entity_tag: String,
    /// As `Content-Type`.
    pub kind: &'static str,
}

impl Asset {
    /// By its name; `None` where that is of no kind, or could not stand in an address as it is.
    pub(super) fn read(name: &str, bytes: Bytes) -> Option<Self> {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        let (_, suffix) = name.rsplit_once('.')?;
        let (_, kind) =
            KINDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(suffix)).filter(|_| plain)?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
        let entity_tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]));
        Some(Self { bytes, entity_tag, kind })
    }
}
