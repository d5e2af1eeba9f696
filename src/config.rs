//! The configuration: everything that the process needs, already parsed.
//!
//! Once a `Config` exists there is nothing left to check, and no port was bound before. A file that is
//! faulty gives all of its faults, each with its place, and no `Config`.
//!
//! Callers: `gateway` and `cli`. The rooms are given their own settings and never see this.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::account::RegistrationSettings;
use crate::authn::{CacheSettings, IssuerSettings, LoginLimits, SessionSettings, TokenSettings};
use crate::mail::MailSettings;
use crate::password::PasswordSettings;
use crate::portal::{Portal, PortalSettings};
use crate::proxy::UpstreamSettings;
use crate::proxy::headers::CookieNames;
use crate::request::Limits;
use crate::request::{Origin, TrustedProxies};
use crate::route::{IdentityHeaders, Route};
use crate::telemetry::LogSettings;

mod expand;
mod fault;
mod file;
mod headers;
mod issuers;
mod look;
mod mail;
mod reader;
mod registration;
mod routes;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod tokens;
mod units;
mod upstreams;

pub use fault::{Fault, Faults};
pub use tls::{ClientCa, ServerCertificate, TlsSettings};
pub use units::{InvalidListenAddress, Listen, ListenAddress};

/// A duration as the file writes it, such as `90d`: for the command line. The error says what was expected.
pub fn parse_duration(raw: &str) -> Result<std::time::Duration, String> {
    units::duration(raw).map_err(|expected| expected.to_string())
}

/// The keys that a running process keeps, each with the fault of changing it.
#[derive(Clone)]
struct FixedKeys {
    admin_listen: Fault,
    admin_socket: Fault,
    log_format: Fault,
    store: Fault,
}

/// They say where something stands, not what is configured.
impl fmt::Debug for FixedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FixedKeys")
    }
}

/// The JSON Schema of the file, for editors: what it holds, not every rule that `foregate check` knows.
pub const SCHEMA: &str = include_str!("../config/foregate.schema.json");

/// A sound configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where metrics and health are told, if anywhere.
    pub admin_listen: Option<ListenAddress>,
    /// Where a running server takes orders.
    pub admin_socket: PathBuf,
    /// Where the audit trail is written, beside the log.
    pub audit: Option<PathBuf>,
    /// The cache of validated credentials.
    pub cache: CacheSettings,
    /// Where it stands.
    pub file: PathBuf,
    /// The files that it was read from, itself included: when one changes it is read again.
    pub files: BTreeSet<PathBuf>,
    /// What is said where a reload would change what can't change.
    fixed: FixedKeys,
    /// The headers that say who it is, where a route has none of its own.
    pub identity_headers: Arc<IdentityHeaders>,
    /// Whose tokens are taken besides our own.
    pub issuers: Vec<IssuerSettings>,
    /// What a client can make us hold.
    pub limits: Limits,
    /// Where we listen: at least one address.
    pub listen: Vec<Listen>,
    /// The log.
    pub log: LogSettings,
    /// How many failed logins are let through.
    pub login_limits: LoginLimits,
    /// How mail is sent; `None`: it isn't.
    pub mail: Option<MailSettings>,
    /// How passwords are judged and hashed.
    pub password: PasswordSettings,
    /// The pages.
    pub portal: PortalSettings,
    /// Connections of trusted proxies begin with a PROXY header.
    pub proxy_protocol: bool,
    /// The origin that browsers use.
    pub public_url: Origin,
    /// Who may make an account, and how.
    pub registration: RegistrationSettings,
    /// In the order of the file; each can be reached.
    pub routes: Vec<Route>,
    /// How long sessions live.
    pub session: SessionSettings,
    /// The folder of the store.
    pub store: PathBuf,
    /// How clients are served over TLS; `None`: over plain HTTP.
    pub tls: Option<TlsSettings>,
    /// Our own tokens.
    pub tokens: TokenSettings,
    /// Whose word about the client is taken.
    pub trusted_proxies: TrustedProxies,
    /// In the order of the file.
    pub upstreams: Vec<UpstreamSettings>,
    /// What is sound and yet unwise, for the operator to read.
    pub warnings: Vec<Fault>,
}

impl Config {
    /// Reads a file. Relative paths in it are relative to its folder.
    pub fn load(path: &Path) -> Result<Self, Faults> {
        Self::load_noting(path, &mut BTreeSet::new())
    }

    /// As `load`; notes every file that was read or looked for, also where the configuration is faulty: when one
    /// changes it may be sound.
    pub fn load_noting(path: &Path, files: &mut BTreeSet<PathBuf>) -> Result<Self, Faults> {
        files.insert(path.to_owned());
        let text = file::read(path)?;
        let file = absolute(path);
        let environment = |name: &str| std::env::var(name).ok();
        let name = path.display().to_string();
        let config = Self::parse_noting(&text, &name, &environment, folder_of(&file), files)?;
        Ok(Self { file, files: files.clone(), ..config })
    }

    /// Where the server of this file takes orders. Of the file only that has to be sound.
    pub fn admin_socket_of(path: &Path) -> Result<PathBuf, Faults> {
        let text = file::read(path)?;
        let file = absolute(path);
        let source = file::Source::new(&path.display().to_string(), &text);
        let (tree, _) = source.tree()?;
        let environment = |name: &str| std::env::var(name).ok();
        let reader = reader::Reader::new(&source, folder_of(&file), &environment, Vec::new());
        let socket = reader.root(&tree).read_in_part(|root| {
            let (store, _) = settings::store(root);
            let socket = |admin: &mut _| settings::admin_socket(admin, &store).0;
            match root.get("admin") {
                Some(admin) => admin.read_in_part(socket),
                None => root.section("admin", socket),
            }
        });
        reader.finish()?;
        Ok(socket)
    }

    /// The route whose name is most like this one, if one is like it.
    pub fn nearest_route(&self, name: &str) -> Option<&str> {
        fault::nearest(name, self.routes.iter().map(|route| &*route.name))
    }

    /// What of `next` can't take this one's place without a restart.
    pub fn refuse_change(&self, next: &Self) -> Result<(), Faults> {
        let FixedKeys { admin_listen, admin_socket, log_format, store } = &next.fixed;
        // Where nobody has set it, that the store moves says it all.
        let is_default = |config: &Self| config.admin_socket == config.store.join("admin.sock");
        let moves_with_store = is_default(self) && is_default(next);
        let changes = [
            (self.admin_listen != next.admin_listen, admin_listen),
            (self.admin_socket != next.admin_socket && !moves_with_store, admin_socket),
            (self.log.format != next.log.format, log_format),
            (self.store != next.store, store),
        ];
        let changed = changes.into_iter().filter(|(changed, _)| *changed);
        Faults::check(changed.map(|(_, fault)| fault.clone()).collect())
    }

    /// Reads a text. `name` is what faults call it; relative paths in it are relative to `base`.
    pub fn parse(
        text: &str,
        name: &str,
        environment: &dyn Fn(&str) -> Option<String>,
        base: &Path,
    ) -> Result<Self, Faults> {
        Self::parse_noting(text, name, environment, base, &mut BTreeSet::new())
    }

    fn parse_noting(
        text: &str,
        name: &str,
        environment: &dyn Fn(&str) -> Option<String>,
        base: &Path,
        files: &mut BTreeSet<PathBuf>,
    ) -> Result<Self, Faults> {
        let source = file::Source::new(name, text);
        let (tree, duplicates) = source.tree()?;
        let reader = reader::Reader::new(&source, base, environment, duplicates);
        let config = reader.root(&tree).section(|root| Self::read(root));
        files.append(&mut reader.files());
        let warnings = reader.finish()?;
        // Only a faulty `listen` or `public_url` leaves nothing, and then there was a fault.
        config.map(|config| Self { warnings, ..config }).ok_or_else(|| source.of_file("can't be used").into())
    }

    fn read(root: &mut reader::Section<'_>) -> Option<Self> {
        let (listen, listen_value) = settings::listen(root);
        let tls_value = root.get("tls");
        let public_url = settings::public_url(root, &listen, listen_value, tls_value.is_some());
        let tls = tls_value.map(|value| tls::read(&value, &listen, public_url.as_ref()));
        let trusted_proxies = settings::trusted_proxies(root);
        let proxy_protocol = settings::proxy_protocol(root, &trusted_proxies);
        let (store, store_fixed) = settings::store(root);
        let portal = settings::portal(root);
        let session = settings::session(root, public_url.as_ref());
        let cache = settings::cache(root);
        let password = settings::password(root);
        let tokens = settings::tokens(root, public_url.as_ref());
        let issuers = issuers::read(root, &tokens);
        let identity_headers = root.get("identity_headers").map(|map| headers::read(&map));
        let identity_headers = Arc::new(identity_headers.unwrap_or_else(headers::defaults));
        let (limits, login_limits, registrations) = settings::limits(root);
        let mail = mail::read(root, &portal.look);
        // A faulty one is told of itself alone.
        let has_mail = mail.is_some() || root.has("mail");
        let registration = registration::read(root, has_mail, registrations);
        let upstreams = upstreams::read(root, tokens.algorithm);
        let cookies = Portal::cookie_names(&session, &tokens);
        let around = routes::Around {
            client_headers: tls.iter().flat_map(|tls| tls.client_headers.names().cloned()).collect(),
            cookies: CookieNames::new(cookies.iter().map(String::as_str)),
            everywhere: &identity_headers,
            // A faulty one is told of itself alone.
            has_client_ca: tls_value
                .is_some_and(|value| value.read_in_part(|tls| tls.get("client_ca").is_some())),
            prefix: &portal.prefix,
            refresh_tokens: tokens.refresh_ttl.is_some(),
            token_cookies: tokens.cookies,
            token_errors: tokens.errors,
            upstreams: &upstreams,
        };
        let routes = routes::read(root, &around);
        if tokens.cookies {
            tokens::warn_of_idle_cookies(root, &routes);
        }
        if let (Some(tls), Some(value)) = (&tls, &tls_value) {
            let maps = routes.iter().map(|route| &route.identity_headers).chain([&identity_headers]);
            let names = maps.flat_map(|map| map.names());
            let place = value.read_in_part(|tls| tls.get("client_headers")).unwrap_or(*value);
            tls::refuse_shared_names(&tls.client_headers, names, &place);
        }
        let ((admin_socket, socket_fixed), (admin_listen, listen_fixed)) = root.section("admin", |admin| {
            (settings::admin_socket(admin, &store), settings::admin_listen(admin, &listen))
        });
        let (log, audit, format_fixed) = settings::log(root);
        Some(Self {
            admin_listen,
            admin_socket,
            audit,
            cache,
            file: PathBuf::new(),
            files: BTreeSet::new(),
            fixed: FixedKeys {
                admin_listen: listen_fixed,
                admin_socket: socket_fixed,
                log_format: format_fixed,
                store: store_fixed,
            },
            identity_headers,
            issuers,
            limits,
            listen,
            log,
            login_limits,
            mail,
            password,
            portal,
            proxy_protocol,
            public_url: public_url?,
            registration,
            routes,
            session,
            store,
            tls,
            tokens,
            trusted_proxies,
            upstreams,
            warnings: Vec::new(),
        })
    }
}

/// As it is for whoever may be in another folder: the path that a reload compares and that people are told.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}
