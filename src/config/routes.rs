//! `routes`: the rules, in the order of the file, each of which some request can reach.
//!
//! Callers: `config`. Looking a request up is `route`'s.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderName, Method};

use super::fault::{quote, suggest};
use super::headers::{self, Way};
use super::reader::{Section, Value};
use super::settings::plain_path;
use super::units::{Expected, duration, network};
use crate::identity::{
    Credential, InvalidUsername, Role, TokenErrors, TokenLocation, TokenLocations, Username,
};
use crate::policy::{CertificateRequirement, Conditions, NamePattern, Policy, Requirements, SubjectPattern};
use crate::proxy::UpstreamSettings;
use crate::proxy::headers::{CookieNames, ReservedNames};
use crate::route::{
    HeaderEdit, HostPattern, IdentityHeaders, PathPattern, PathRewrite, Route, Segment, TokenEndpoint,
    Unauthenticated,
};

/// Each is compared with those before it; so many are done in a moment.
const MAX_ROUTES: usize = 5000;

/// A route, and where its path and what it changes stand.
struct Read<'a> {
    edits: Vec<Edited<'a>>,
    path: Value<'a>,
    route: Route,
}

/// The name of a field that a route changes, and where it stands.
type Edited<'a> = (HeaderName, Value<'a>);

/// What routes are read against.
pub(super) struct Around<'a> {
    /// The names that tell of a client's certificate.
    pub(super) client_headers: Vec<HeaderName>,
    /// Our own cookies.
    pub(super) cookies: CookieNames,
    /// The identity headers of routes that have none of their own.
    pub(super) everywhere: &'a Arc<IdentityHeaders>,
    /// Whether clients are asked for certificates.
    pub(super) has_client_ca: bool,
    /// What lies under it is the portal's.
    pub(super) prefix: &'a str,
    /// Whether our tokens come in cookies.
    pub(super) token_cookies: bool,
    /// Whether there are refresh tokens.
    pub(super) refresh_tokens: bool,
    /// In which words a refused token is answered.
    pub(super) token_errors: TokenErrors,
    pub(super) upstreams: &'a [UpstreamSettings],
}

/// Every sound route.
pub(super) fn read(root: &mut Section<'_>, around: &Around<'_>) -> Vec<Route> {
    let example = "expected a list of routes, such as `- { path: /**, upstream: app }`";
    let Some(list) = root.require("routes", example) else { return Vec::new() };
    let values = list.list_of_some(example);
    if let Some(value) = values.get(MAX_ROUTES) {
        value.reader().add(value.fault(format!("there are more than {MAX_ROUTES} routes")));
        return Vec::new();
    }
    let routes: Vec<Read<'_>> =
        values.iter().filter_map(|value| value.section(|section| route(section, around))).collect();
    report_unreachable(&routes, around.prefix);
    report_edited_identities(&routes, around);
    routes.into_iter().map(|read| read.route).collect()
}

fn route<'a>(section: &mut Section<'a>, around: &Around<'_>) -> Option<Read<'a>> {
    let name = section.get("name").and_then(|value| value.line(100));
    let host = section.get("host").map(|value| value.parse(HostPattern::from_str));
    let path_value = section.require("path", "expected a path such as `/admin/**`");
    let path = path_value.and_then(|value| value.parse(PathPattern::from_str));
    let methods = section.get("methods").map(|value| methods(&value));
    let policy = policy(section, around.has_client_ca);
    let credentials = section.get("credentials").map(|value| credentials(&value));
    let locations_value = section.get("token_locations");
    let token_locations = locations_value.map(|value| token_locations(&value, around));
    if let (Some(value), Some(credentials)) = (locations_value, &credentials)
        && !credentials.contains(&Credential::Bearer)
    {
        let fault = value.fault_of_key("no token counts on this route: `credentials` has no `bearer`");
        value.reader().add(fault.help("list `bearer` there as well, or leave this out"));
    }
    let forward_authorization = section.get("forward_authorization").and_then(|value| value.flag());
    let unauthenticated = section.get("unauthenticated").and_then(|value| {
        value.word(&[
            ("auto", Unauthenticated::Auto),
            ("login", Unauthenticated::Login),
            ("status", Unauthenticated::Status),
        ])
    });
    let identity_headers = section.get("identity_headers").map(|value| Arc::new(headers::read(&value)));
    let headers_value = section.get("headers");
    let headers = headers_value.map(|map| headers::edits(&map, Way::Request)).unwrap_or_default();
    if forward_authorization == Some(true) {
        report_authorization_twice(&headers);
    }
    let response_headers = section.get("response_headers");
    let response_headers =
        response_headers.map(|map| headers::edits(&map, Way::Answer(&around.cookies))).unwrap_or_default();
    let rewrite = rewrite(section, path.as_ref().zip(path_value));
    let csrf_value = section.get("csrf");
    let csrf = csrf_value.and_then(|value| value.flag());
    let endpoint_value = section.get("token_endpoint");
    let token_endpoint = endpoint_value.and_then(|value| {
        value.word(&[
            ("token", TokenEndpoint::Token),
            ("refresh", TokenEndpoint::Refresh),
            ("revoke", TokenEndpoint::Revoke),
        ])
    });
    if let Some(value) = endpoint_value {
        refuse_beside(section, &value);
        if token_endpoint == Some(TokenEndpoint::Refresh) && !around.refresh_tokens {
            let fault = value.fault("nobody has a refresh token: `tokens.refresh_ttl` is 0");
            value.reader().add(fault.help("leave this route out, or set `tokens: { refresh_ttl: 30d }`"));
        }
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS];
        let listed = methods.as_ref().and_then(Option::as_ref);
        if listed.is_some_and(|methods| methods.iter().all(|method| reads.contains(method))) {
            let fault = value.fault_of_key("nobody can ask for a token here: `methods` has no `POST`");
            value.reader().add(fault.help("list `POST` there as well, or leave `methods` out"));
        }
    }
    if let Some((value, false)) = csrf_value.zip(csrf)
        && token_locations.as_ref().is_some_and(|locations| locations.has(TokenLocation::Cookie))
    {
        let warning = value.fault("any site can make a browser use a token in a cookie here");
        value
            .reader()
            .warn(warning.help("without `csrf: false` the header X-CSRF-TOKEN has to repeat its claim"));
    }
    let upstream = section.get("upstream").map(|value| upstream(&value, around.upstreams));
    let edited = headers.iter().chain(&response_headers).map(|(edit, value)| (edit.name.clone(), *value));
    let edits = edited.collect();
    let only = |edits: Vec<(HeaderEdit, Value<'a>)>| edits.into_iter().map(|(edit, _)| edit).collect();

    // A host, method or upstream that is faulty must not make the route one for all of them: it would cover others.
    let path = path?;
    let route = Route {
        credentials: credentials.unwrap_or_else(|| BTreeSet::from([Credential::Session, Credential::Bearer])),
        csrf: csrf.unwrap_or(true),
        forward_authorization: forward_authorization.unwrap_or(false),
        headers: only(headers),
        host: match host {
            None => None,
            Some(host) => Some(host?),
        },
        identity_headers: identity_headers.unwrap_or_else(|| Arc::clone(around.everywhere)),
        methods: match methods {
            None => None,
            Some(methods) => Some(methods?),
        },
        name: name.unwrap_or_else(|| path.to_string()).into(),
        path,
        // Whoever comes there has no token yet, or brings it along as the endpoint has it.
        policy: if endpoint_value.is_some() { Policy::Public } else { policy },
        response_headers: only(response_headers),
        rewrite,
        token_endpoint,
        token_errors: around.token_errors,
        token_locations: token_locations.unwrap_or_default(),
        unauthenticated: unauthenticated.unwrap_or_default(),
        upstream: match upstream {
            None => None,
            Some(upstream) => Some(upstream?),
        },
    };
    Some(Read { edits, path: path_value?, route })
}

/// `strip_prefix` and `add_prefix`. With the former every path of the route has to begin.
fn rewrite(section: &mut Section<'_>, path: Option<(&PathPattern, Value<'_>)>) -> Option<PathRewrite> {
    let plain = |raw: &str| {
        plain_path(raw).ok_or(Expected(
            "a path such as `/api`: letters, digits, `.`, `_`, `~` and `-`, and no `/` at the end",
        ))
    };
    let strip_value = section.get("strip_prefix");
    let strip = strip_value.and_then(|value| value.parse(plain));
    let add = section.get("add_prefix").and_then(|value| value.parse(plain));
    if let (Some(strip), Some(value), Some((path, path_value))) = (&strip, strip_value, path)
        && !begins_with(path, strip)
    {
        let fault = value.fault(format!("this route also takes paths that do not begin with `{strip}`"));
        let fault = fault.help("expected the first segments of the route's `path`, as they stand there");
        value.reader().add(path_value.relate(fault, "the paths that it takes"));
    }
    let (strip, add) = (strip.unwrap_or_default(), add.unwrap_or_default());
    (!strip.is_empty() || !add.is_empty()).then(|| PathRewrite::new(strip, add))
}

fn begins_with(path: &PathPattern, prefix: &str) -> bool {
    let mut segments = path.segments.iter();
    prefix.split('/').skip(1).all(|name| match segments.next() {
        Some(Segment::Literal(text)) => text == name,
        Some(Segment::Any) | None => false,
    })
}

fn report_authorization_twice(headers: &[(HeaderEdit, Value<'_>)]) {
    if let Some((_, value)) = headers.iter().find(|(edit, _)| edit.name == AUTHORIZATION) {
        let message =
            "`forward_authorization: true` passes the client's `Authorization` on, and this replaces it";
        value.reader().add(value.fault_of_key(message).help("expected one of them alone"));
    }
}

/// An identity header of any route is ours to set on all of them, for two routes may lead to one backend.
fn report_edited_identities(routes: &[Read<'_>], around: &Around<'_>) {
    if routes.iter().all(|read| read.edits.is_empty()) {
        return;
    }
    let own = routes.iter().flat_map(|read| read.route.identity_headers.names());
    let reserved = ReservedNames::new(around.everywhere.names().chain(own).chain(&around.client_headers));
    for (name, value) in routes.iter().flat_map(|read| &read.edits) {
        if reserved.contains(name) {
            let fault = value.fault_of_key(format!("a route can't change `{}`", value.key()));
            value.reader().add(fault.help("some backend takes it for one of the `identity_headers`"));
        }
    }
}

fn methods(value: &Value<'_>) -> Option<Vec<Method>> {
    let method = |raw: &str| {
        // Methods are compared exactly: `get` would never match.
        let valid = !raw.is_empty() && raw.chars().all(|c| c.is_ascii_uppercase() || c == '-');
        let refused = matches!(raw, "CONNECT" | "TRACE");
        let expected = Expected("a method in capitals such as `GET`; CONNECT and TRACE are always refused");
        Method::from_bytes(raw.as_bytes()).ok().filter(|_| valid && !refused).ok_or(expected)
    };
    let list = value.list_of_some("expected a list with at least one method; left out, it means all");
    let methods: Vec<Method> = list.iter().filter_map(|value| value.parse(method)).collect();
    Some(methods).filter(|methods| !methods.is_empty())
}

fn credentials(value: &Value<'_>) -> BTreeSet<Credential> {
    let words = [Credential::Session, Credential::Bearer, Credential::Basic].map(|one| (one.as_str(), one));
    let list = value.list_of_some("expected a list with at least one of `session`, `bearer` and `basic`");
    list.iter().filter_map(|value| value.word(&words)).collect()
}

/// An endpoint of ours is for everybody, and nothing goes on from there.
fn refuse_beside(section: &mut Section<'_>, endpoint: &Value<'_>) {
    for key in
        ["upstream", "access", "require", "credentials", "token_locations", "strip_prefix", "add_prefix"]
    {
        if let Some(value) = section.get(key) {
            let fault = value.fault_of_key(format!("`{key}` has no meaning where Foregate itself answers"));
            let fault = fault.help("leave it out, or `token_endpoint`");
            value.reader().add(endpoint.relate_key(fault, "it answers here"));
        }
    }
}

/// In their order, for the first that has a token decides.
fn token_locations(value: &Value<'_>, around: &Around<'_>) -> TokenLocations {
    let all = [TokenLocation::Header, TokenLocation::Cookie, TokenLocation::Query];
    let words = all.map(|one| (one.as_str(), one));
    let list = value.list_of_some("expected a list with at least one of `header`, `cookie` and `query`");
    let mut found = Vec::new();
    for (value, location) in list.iter().filter_map(|value| Some((value, value.word(&words)?))) {
        if found.contains(&location) {
            value.refuse("expected each place once");
        } else if location == TokenLocation::Cookie && !around.token_cookies {
            let fault = value.fault("no token gets into a cookie: `tokens.cookies` is not set");
            value.reader().add(fault.help("set `tokens: { cookies: true }`"));
        }
        found.push(location);
    }
    TokenLocations::new(found)
}

fn upstream(value: &Value<'_>, upstreams: &[UpstreamSettings]) -> Option<Arc<str>> {
    let name = value.text()?;
    if let Some(upstream) = upstreams.iter().find(|upstream| upstream.name == name) {
        return Some(upstream.name.as_str().into());
    }
    if value.reader().is_full() {
        return None;
    }
    let written = value.written().unwrap_or_default();
    let fault = value.fault(format!("there is no upstream `{}`", quote(written)));
    value.reader().add(fault.help(suggest(written, upstreams.iter().map(|upstream| upstream.name.as_str()))));
    None
}

/// `access` and `require` in one.
fn policy(section: &mut Section<'_>, has_client_ca: bool) -> Policy {
    let access_value = section.get("access");
    let access = access_value.and_then(|value| {
        value.word(&[
            ("public", Access::Public),
            ("optional", Access::Optional),
            ("authenticated", Access::Authenticated),
        ])
    });
    let require = section
        .get("require")
        .map(|value| (value, value.section(|section| requirements(section, has_client_ca))));
    match (access, require) {
        (Some(Access::Public), None) => Policy::Public,
        (Some(Access::Optional), None) => Policy::Optional,
        (Some(Access::Authenticated) | None, None) => Policy::Authenticated,
        (Some(Access::Authenticated) | None, Some((_, requirements))) => {
            if requirements == Requirements::default() {
                Policy::Authenticated
            } else {
                Policy::Require(requirements)
            }
        }
        // What asks for nothing but a certificate or a network needs no login.
        (
            Some(Access::Public),
            Some((
                _,
                Requirements { conditions, roles: None, users: None, email_domains: None, fresh_login: None },
            )),
        ) if conditions != Conditions::default() => Policy::PublicIf(conditions),
        (Some(Access::Public | Access::Optional), Some((require, requirements))) => {
            if let Some(access) = access_value {
                let written = access.written().unwrap_or_default();
                let fault =
                    access.fault(format!("`access: {written}` lets everybody in, and `require` does not"));
                let fault = fault.help("expected one of them, or `access: authenticated`");
                access.reader().add(require.relate(fault, "what is required"));
            }
            Policy::Require(requirements)
        }
    }
}

#[derive(Clone, Copy)]
enum Access {
    Authenticated,
    Optional,
    Public,
}

fn requirements(section: &mut Section<'_>, has_client_ca: bool) -> Requirements {
    // An empty list asks for nothing, as in the reference.
    let roles = section.get("roles").and_then(|value| value.parse_list(role));
    let users = section.get("users").and_then(|value| value.parse_list(user));
    let email_domains = section.get("email_domains").and_then(|value| value.parse_list(email_domain));
    let networks = section.get("networks").and_then(|value| value.parse_list(network));
    let client_certificate = section.get("client_certificate").and_then(|value| {
        let wanted = client_certificate(&value)?;
        if !has_client_ca {
            let fault = value.fault_of_key("nobody is asked for a certificate: `tls.client_ca` is not set");
            value.reader().add(fault.help("set it to a file with the certificates of your authorities"));
        }
        Some(wanted)
    });
    Requirements {
        roles: roles.map(BTreeSet::from_iter),
        users: users.map(BTreeSet::from_iter),
        email_domains: email_domains.map(BTreeSet::from_iter),
        conditions: Conditions { client_certificate, networks },
        fresh_login: section.get("fresh_login").and_then(|value| value.parse(duration)),
    }
}

/// `true`, or which ones.
fn client_certificate(value: &Value<'_>) -> Option<CertificateRequirement> {
    if !value.is_mapping() {
        return value.flag()?.then(CertificateRequirement::default);
    }
    Some(value.section(|section| CertificateRequirement {
        subjects: section.get("subjects").and_then(|value| value.parse_list(SubjectPattern::from_str)),
        alternative_names: section.get("sans").and_then(|value| value.parse_list(NamePattern::from_str)),
    }))
}

pub(super) fn role(raw: &str) -> Result<Role, Expected> {
    raw.parse().map_err(|_| Expected("a role: up to 64 characters without blank, comma, semicolon or bar"))
}

fn user(raw: &str) -> Result<String, InvalidUsername> {
    raw.parse().map(|name: Username| name.folded())
}

pub(super) fn email_domain(raw: &str) -> Result<String, Expected> {
    // The rule for addresses, applied to one of this domain.
    let expected = Expected("a domain such as `example.com`");
    format!("a@{raw}").parse().map(|email: crate::identity::Email| email.domain()).map_err(|_| expected)
}

/// Routes that leave no request to a later one, and those where the portal answers.
fn report_unreachable(routes: &[Read<'_>], prefix: &str) {
    let portal: Option<PathPattern> = format!("{prefix}/**").parse().ok();
    for (at, Read { route, path, .. }) in routes.iter().enumerate() {
        if portal.as_ref().is_some_and(|portal| portal.covers(&route.path)) {
            let fault = path.fault("no request reaches this route");
            path.reader().add(fault.help("what lies under `portal.prefix` is the portal's, on every host"));
        } else if let Some(first) = routes[..at].iter().find(|earlier| earlier.route.covers(route)) {
            let fault = path.fault("no request reaches this route");
            let fault = fault.help("the first that matches decides: move it up, or remove it");
            path.reader().add(first.path.relate(fault, "this route takes all of its requests"));
        }
    }
}
