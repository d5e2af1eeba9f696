//! `issuers`: whose tokens are taken besides our own.
//!
//! Callers: `config`. What a token has to say is checked in `authn::issuer`.

use std::cell::LazyCell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::fault::{quote, suggest};
use super::reader::{Section, Value};
use super::units::{Expected, duration, duration_or_zero};
use crate::authn::TokenSettings;
use crate::authn::issuer::{
    ClaimNames, ClaimPath, IssuerSettings, IssuerTls, KeySet, KeyUrl, Location, Separator,
    SignatureAlgorithm, SourceSettings,
};
use crate::identity::{Role, Username};
use crate::proxy::tls::{Authorities, UpstreamTls};

const ISSUER: &str = "expected who signs, as `iss` of the tokens has it, such as `https://idp.example.com`";
const AUDIENCES: &str = "expected what `aud` of the tokens has to name, such as `[api]`: without it, a token that \
    the issuer made for any other application would be good here";
const LEEWAY: Expected = Expected("`60s` at most: clocks that differ by more need a time service");
const REFRESH: Expected = Expected("a time from `1s` to `1d`");
const SEPARATORS: [(&str, Separator); 2] = [("space", Separator::Space), ("comma", Separator::Comma)];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the system trusts; `None` where it trusts nobody.
type OfTheSystem = LazyCell<Option<Authorities>>;

/// Every issuer in which nothing is faulty.
pub(super) fn read(root: &mut Section<'_>, own: &TokenSettings) -> Vec<IssuerSettings> {
    let Some(list) = root.get("issuers") else { return Vec::new() };
    // Some hundred certificates: read once for all, and only where they are needed.
    let of_the_system: OfTheSystem = LazyCell::new(Authorities::of_the_system);
    let mut names: Vec<(String, Value<'_>)> = Vec::new();
    let mut found = Vec::new();
    for value in list.list() {
        let settings = value.section(|section| {
            let name = section.require("issuer", ISSUER).and_then(|value| Some((value.line(500)?, value)));
            if let Some((name, value)) = &name {
                if let Some((_, first)) = names.iter().find(|(known, _)| known == name) {
                    let fault = value.fault(format!("the issuer `{}` is there twice", quote(name)));
                    let fault = fault.help("expected one entry with all of its `audiences`");
                    value.reader().add(first.relate(fault, "the first"));
                }
                if *name == own.issuer {
                    let fault = value.fault(format!("`{}` is ourselves", quote(name)));
                    let help = "what we sign is taken anyway (`tokens`); an issuer of the same name could sign as us";
                    value.reader().add(fault.help(help));
                }
                names.push((name.clone(), *value));
            }
            issuer(section, name, &of_the_system)
        });
        found.extend(settings);
    }
    found
}

fn issuer(
    section: &mut Section<'_>,
    name: Option<(String, Value<'_>)>,
    of_the_system: &OfTheSystem,
) -> Option<IssuerSettings> {
    let audiences = section.require("audiences", AUDIENCES).map(|value| {
        let audiences = value.one_or_more(AUDIENCES);
        audiences.iter().filter_map(|audience| audience.line(500)).collect::<Vec<_>>()
    });
    let algorithms = section.get("algorithms").map(|value| algorithms(&value));
    let algorithms = algorithms.unwrap_or_else(|| {
        vec![SignatureAlgorithm::Rs256, SignatureAlgorithm::Es256, SignatureAlgorithm::EdDsa]
    });
    let claims = section.section("claims", |claims| ClaimNames {
        email: claim(claims, "email").unwrap_or_else(|| known("email")),
        name: claim(claims, "name").unwrap_or_else(|| known("name")),
        roles: claim(claims, "roles"),
        username: claim(claims, "username").unwrap_or_else(|| known("sub")),
    });
    let required = section.get("required_claims").map(|value| required(&value)).unwrap_or_default();
    let roles_separator = section.get("roles_separator").and_then(|value| value.word(&SEPARATORS));
    let roles_prefix = section.get("roles_prefix").and_then(|value| {
        value.parse(|raw| match format!("{raw}x").parse::<Role>() {
            Ok(_) if !raw.is_empty() => Ok(raw.to_owned()),
            Ok(_) | Err(_) => Err(Expected("what a role can begin with, such as `idp:`")),
        })
    });
    let username_prefix = section.get("username_prefix").and_then(|value| {
        value.parse(|raw| match format!("{raw}x").parse::<Username>() {
            Ok(_) if !raw.is_empty() => Ok(raw.to_owned()),
            Ok(_) | Err(_) => Err(Expected("what a username can begin with, such as `idp:`")),
        })
    });
    let leeway = section.get("leeway").and_then(|value| {
        value
            .parse(|raw| duration_or_zero(raw).ok().filter(|it| *it <= Duration::from_secs(60)).ok_or(LEEWAY))
    });
    let refresh = section.get("refresh").and_then(|value| {
        let bounds = Duration::from_secs(1)..=DAY;
        value.parse(|raw| duration(raw).ok().filter(|it| bounds.contains(it)).ok_or(REFRESH))
    });
    let (name, location, tls) = place(section, name, &algorithms, of_the_system)?;
    Some(IssuerSettings {
        audiences: audiences.filter(|audiences| !audiences.is_empty())?,
        claims,
        leeway: leeway.unwrap_or(Duration::from_secs(30)),
        required,
        roles_prefix: roles_prefix.unwrap_or_default(),
        roles_separator,
        source: SourceSettings {
            algorithms,
            issuer: name,
            location,
            refresh: refresh.unwrap_or(Duration::from_secs(15 * 60)),
            tls,
        },
        username_prefix: username_prefix.unwrap_or_default(),
    })
}

/// Where the keys are, and how they are fetched.
fn place(
    section: &mut Section<'_>,
    name: Option<(String, Value<'_>)>,
    algorithms: &[SignatureAlgorithm],
    of_the_system: &OfTheSystem,
) -> Option<(String, Location, Option<IssuerTls>)> {
    let jwks = section.get("jwks");
    let ca = section.get("ca");
    let authorities = ca.map(|value| authorities(&value));
    let (name, name_value) = name?;
    let location = match &jwks {
        None => match KeyUrl::of_openid_configuration(&name) {
            Ok(url) => Location::Discovery(url),
            Err(invalid) => {
                let fault = name_value.fault(format!("`{}` has no OpenID configuration", quote(&name)));
                name_value.reader().add(
                    fault.help(format!("set `jwks` to a URL or a file; for the issuer itself: {invalid}")),
                );
                return None;
            }
        },
        Some(value) if value.written().is_some_and(|raw| raw.contains("://")) => {
            Location::Url(value.parse(|raw| raw.parse::<KeyUrl>())?)
        }
        Some(value) => Location::File(Arc::new(keys(value, &name, algorithms)?)),
    };
    let over_tls = match &location {
        Location::Discovery(url) | Location::Url(url) => url.is_https(),
        Location::File(_) => false,
    };
    if !over_tls {
        if let Some(ca) = &ca {
            let warning = ca.fault_of_key("`ca` has no effect: no keys are fetched over https here");
            ca.reader().warn(warning.help("leave it out"));
        }
        return Some((name, location, None));
    }
    let authorities = match &authorities {
        // What is wrong with it was said.
        Some(None) => return None,
        Some(Some(authorities)) => Some(authorities),
        None => of_the_system.as_ref(),
    };
    let place = jwks.unwrap_or(name_value);
    let Some(authorities) = authorities else {
        let fault = place.fault("no server can be trusted: this machine has no root certificates");
        place
            .reader()
            .add(fault.help("set `ca: FILE`, or install the system's (in Debian: ca-certificates)"));
        return None;
    };
    match UpstreamTls::new(authorities, None, None, false) {
        Ok(tls) => Some((name, location, Some(IssuerTls::new(tls.client_config(), tls.seal())))),
        Err(fault) => {
            place.reader().add(place.fault(format!("TLS can't be set up: `ca` {fault}")));
            None
        }
    }
}

fn algorithms(value: &Value<'_>) -> Vec<SignatureAlgorithm> {
    let names = || SignatureAlgorithm::ALL.iter().map(|one| one.as_str());
    let mut found = Vec::new();
    for value in value.one_or_more("expected at least one algorithm, such as `RS256`") {
        let written = value.written().unwrap_or_default().to_owned();
        let known = SignatureAlgorithm::ALL.into_iter().find(|one| one.as_str() == written);
        match known {
            Some(algorithm) if !found.contains(&algorithm) => found.push(algorithm),
            Some(_) => value.refuse("it is there already"),
            None if written.starts_with("HS") => value.refuse(
                "whoever can verify with a shared secret can sign with it: expected an algorithm with a public key, \
                 such as `RS256`, `ES256` or `EdDSA`",
            ),
            None if written.eq_ignore_ascii_case("none") => {
                value.refuse("a token that nobody has signed says nothing: expected `RS256`, `ES256` or `EdDSA`");
            }
            None => value.refuse(suggest(&written, names())),
        }
    }
    found
}

fn claim(claims: &mut Section<'_>, key: &'static str) -> Option<ClaimPath> {
    claims.get(key)?.parse(|raw| raw.parse::<ClaimPath>())
}

fn known(name: &'static str) -> ClaimPath {
    name.parse().expect("a word is the name of a claim")
}

/// Claims, each with a value or the values of which one has to be there.
fn required(map: &Value<'_>) -> Vec<(ClaimPath, Vec<String>)> {
    let expected = "expected claims and their values, such as `hd: example.com` or `tid: [one, other]`";
    let mut found = Vec::new();
    for value in map.entries(expected) {
        let Ok(path) = value.key().parse::<ClaimPath>() else {
            let fault = value.fault_of_key(format!("`{}` is the name of no claim", quote(value.key())));
            value.reader().add(fault.help("expected one such as `hd`, or one in another such as `realm.id`"));
            continue;
        };
        let one = |value: &Value<'_>| {
            value.parse(|raw| match raw.is_empty() {
                true => Err(Expected("a value: a text, a number, `true` or `false`")),
                false => Ok(raw.to_owned()),
            })
        };
        let values = value.one_or_more(expected);
        found.push((path, values.iter().filter_map(one).collect()));
    }
    found
}

/// The keys of a file: at least one that can be used.
fn keys(value: &Value<'_>, issuer: &str, algorithms: &[SignatureAlgorithm]) -> Option<KeySet> {
    let path = value.path()?;
    let shown = format!("`{}`", quote(&path.to_string_lossy()));
    let refuse = |message: String| {
        let help = "expected a URL, or a file with a JSON Web Key Set: {\"keys\": [...]}";
        value.reader().add(value.fault(message).help(help));
        None
    };
    let text = match value.reader().read_file(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return refuse(format!("there is no file {shown}"));
        }
        Err(error) => return refuse(format!("{shown} can't be read: {error}")),
    };
    match KeySet::parse(&text, issuer, algorithms) {
        Ok(keys) if keys.is_empty() => refuse(format!(
            "{shown} holds no key that can verify {}",
            algorithms.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", ")
        )),
        Ok(keys) => Some(keys),
        Err(invalid) => refuse(format!("{shown} can't be used: {invalid}")),
    }
}

fn authorities(value: &Value<'_>) -> Option<Authorities> {
    let path = value.path()?;
    let shown = format!("`{}`", quote(&path.to_string_lossy()));
    let fault = match value.reader().read_file(&path).map(|pem| Authorities::from_pem(&pem)) {
        Ok(Ok(authorities)) => return Some(authorities),
        Ok(Err(invalid)) => value.fault(format!("{shown} {invalid}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            value.fault(format!("there is no file {shown}"))
        }
        Err(error) => value.fault(format!("{shown} can't be read: {error}")),
    };
    value.reader().add(fault.help("expected `-----BEGIN CERTIFICATE-----` and what follows it"));
    None
}
