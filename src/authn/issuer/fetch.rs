//! Fetching a set of keys: bounded in time and bytes, and from nowhere but where we were sent.
//!
//! Callers: `source`. When to fetch, and what becomes of it, is decided there.

use std::time::Duration;

use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap};
use reqwest::{Client, StatusCode, Url, redirect};
use serde_json::Value;

use super::json;
use super::keys::{InvalidKeySet, KeySet};
use super::settings::{InvalidKeyUrl, IssuerTls, KeyUrl, Location, SourceSettings};

/// For everything: the OpenID configuration and the keys.
const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of the largest answer that is read.
const MAX_BYTES: usize = 256 * 1024;
/// Redirects that are followed, and to the same origin alone.
const REDIRECTS: usize = 3;

/// Why there are no new keys. The sentence is for the operator.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchFault {
    #[error("{url} {fault}")]
    Answer { url: Url, fault: AnswerFault },
    #[error("{url} can't be fetched: {}", causes(source))]
    Connection { url: Url, source: reqwest::Error },
}

/// What is wrong with an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerFault {
    #[error("is not the OpenID configuration of this issuer: {0}")]
    Configuration(&'static str),
    #[error("names another issuer: `issuer` is {0:?} there, and has to be the same to the letter")]
    Issuer(String),
    #[error("names a `jwks_uri` that is not fetched from: {0}")]
    KeyUrl(InvalidKeyUrl),
    #[error("is no set of keys: {0}")]
    Keys(#[from] InvalidKeySet),
    #[error("is larger than {} KiB", MAX_BYTES / 1024)]
    Large,
    #[error("was answered with {0}")]
    Status(StatusCode),
}

/// Keys, and how long they may be kept by what their answer says.
pub(super) struct Fetched {
    pub(super) keys: KeySet,
    pub(super) max_age: Option<Duration>,
}

/// Fetches for one issuer.
pub(super) struct Fetcher {
    client: Client,
}

impl Fetcher {
    /// `None` where nothing is to be fetched.
    pub(super) fn new(settings: &SourceSettings) -> Option<Self> {
        let same_origin = redirect::Policy::custom(|attempt| {
            let first = attempt.previous().first().map(Url::origin);
            if attempt.previous().len() > REDIRECTS || first != Some(attempt.url().origin()) {
                attempt.error("it leads to another origin, or round in a circle")
            } else {
                attempt.follow()
            }
        });
        if matches!(settings.location, Location::File(_)) {
            return None;
        }
        let tls = settings.tls.clone().unwrap_or_else(IssuerTls::trusting_nobody);
        let builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            // Fetches are minutes apart.
            .pool_max_idle_per_host(0)
            // A proxy that the environment names was named for others.
            .no_proxy()
            .redirect(same_origin)
            .timeout(TIMEOUT)
            .tls_backend_preconfigured(tls.config())
            .user_agent(concat!("foregate/", env!("CARGO_PKG_VERSION")));
        Some(Self { client: builder.build().expect("settings without a file to read are taken") })
    }

    /// The keys as they are now.
    pub(super) async fn fetch(&self, settings: &SourceSettings) -> Result<Fetched, FetchFault> {
        let url = match &settings.location {
            Location::Discovery(configuration) => self.discover(configuration, &settings.issuer).await?,
            Location::Url(url) => url.clone(),
            Location::File(keys) => return Ok(Fetched { keys: KeySet::clone(keys), max_age: None }),
        };
        let (text, headers) = self.get(url.url()).await?;
        let keys = KeySet::parse(&text, &settings.issuer, &settings.algorithms)
            .map_err(|fault| FetchFault::Answer { url: url.url().clone(), fault: fault.into() })?;
        Ok(Fetched { keys, max_age: max_age(&headers) })
    }

    /// OpenID Connect Discovery 1.0 §4.3: it counts only where it names the issuer to the letter.
    async fn discover(&self, configuration: &KeyUrl, issuer: &str) -> Result<KeyUrl, FetchFault> {
        let fault = |fault| FetchFault::Answer { url: configuration.url().clone(), fault };
        let (text, _) = self.get(configuration.url()).await?;
        let read =
            json::object(&text).ok_or_else(|| fault(AnswerFault::Configuration("it is no JSON object")))?;
        match read.get("issuer") {
            Some(Value::String(named)) if named == issuer => {}
            Some(Value::String(named)) => {
                return Err(fault(AnswerFault::Issuer(named.chars().take(200).collect())));
            }
            Some(_) | None => return Err(fault(AnswerFault::Configuration("it has no `issuer`"))),
        }
        let Some(Value::String(url)) = read.get("jwks_uri") else {
            return Err(fault(AnswerFault::Configuration("it has no `jwks_uri`")));
        };
        let url: KeyUrl = url.parse().map_err(|invalid| fault(AnswerFault::KeyUrl(invalid)))?;
        // Who is spoken to over TLS has no reason to send us where there is none.
        if configuration.is_https() && !url.is_https() {
            return Err(fault(AnswerFault::KeyUrl(InvalidKeyUrl)));
        }
        Ok(url)
    }

    async fn get(&self, url: &Url) -> Result<(Vec<u8>, HeaderMap), FetchFault> {
        let failed = |source| FetchFault::Connection { url: url.clone(), source };
        let answer = |fault| FetchFault::Answer { url: url.clone(), fault };
        let request = self.client.get(url.clone()).header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(answer(AnswerFault::Status(response.status())));
        }
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if text.len() + chunk.len() > MAX_BYTES {
                return Err(answer(AnswerFault::Large));
            }
            text.extend_from_slice(&chunk);
        }
        Ok((text, std::mem::take(response.headers_mut())))
    }
}

/// RFC 9111 §5.2.2; no time at all where it says so in another way.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    directives.flat_map(|value| value.split(',')).find_map(|directive| {
        let directive = directive.trim().to_ascii_lowercase();
        match directive.strip_prefix("max-age=") {
            Some(seconds) => seconds.trim_matches('"').parse().ok().map(Duration::from_secs),
            None => matches!(&*directive, "no-cache" | "no-store").then_some(Duration::ZERO),
        }
    })
}

/// An error and what it came from, in one sentence: what reqwest says alone does not name the reason.
fn causes(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("it took longer than {} s", TIMEOUT.as_secs());
    }
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn an_answer_says_how_long_it_holds() {
        for (value, seconds) in [
            ("public, max-age=600", Some(600)),
            ("Max-Age=\"5\"", Some(5)),
            ("no-store", Some(0)),
            ("max-age=x", None),
            ("private", None),
            ("s-maxage=60", None),
        ] {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(value))]);
            assert_eq!(max_age(&headers), seconds.map(Duration::from_secs), "{value}");
        }
        assert_eq!(max_age(&HeaderMap::new()), None);
    }
}
