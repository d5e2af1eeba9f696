//! What lasts as long as the process, and the rooms under one configuration.
//!
//! A reload builds the rooms anew and swaps them as one value; a request keeps those that it began
//! with. What must not be forgotten (failed logins, ends of sessions, counts) is handed on.
//!
//! Callers: `gateway` builds; its threads serve with what is built.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::StartError;
use super::slot::Connections;
use super::tls::Tls;
use crate::account::Accounts;
use crate::admin::{LinkBase, NotReady};
use crate::authn::assertion::Asserter;
use crate::authn::throttle::Throttle;
use crate::authn::{Authenticator, PasswordLogin, Tokens, bearer};
use crate::config::Config;
use crate::gate::Gate;
use crate::identity::Credential;
use crate::mail::{Links, Mailer};
use crate::password::Passwords;
use crate::policy::Policy;
use crate::portal::{Portal, PortalDoors};
use crate::proxy::{HealthBoard, ProxySettings};
use crate::response::{PageSettings, Pages};
use crate::route::{Route, Table};
use crate::store::{OpenError, SigningKey, Store, StoreSettings};
use crate::telemetry::AccessWriter;
use crate::telemetry::metrics::Metrics;

/// The store, and the rooms that change what is in it: all that administration needs.
pub struct AccountRooms {
    /// Changes accounts.
    pub accounts: Accounts,
    /// Verifies credentials.
    pub authenticator: Arc<Authenticator>,
    /// What tokens in forms are made with.
    csrf_key: [u8; 32],
    /// The outbox.
    pub mailer: Mailer,
    /// The figures.
    pub metrics: Metrics,
    /// To be closed at the end.
    pub store: Store,
}

impl AccountRooms {
    /// Opens the store, and builds on it.
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        let store = open_store(config, Duration::ZERO).await?;
        Self::build(config, store, Metrics::new(SystemTime::now())).await
    }

    /// On an open store: makes the keys that are not there yet.
    pub async fn build(config: &Config, store: Store, metrics: Metrics) -> Result<Self, StartError> {
        let keys = signing_keys(config, &store).await?;
        let mut random = [0; 32];
        getrandom::fill(&mut random).expect("the operating system gives random bytes");
        let csrf_key = store.ensure_secret("csrf", random).await?;
        let passwords = Passwords::start(config.password);
        let throttle = Throttle::remembered(config.login_limits, store.clone()).await?;
        let login = PasswordLogin::new(store.clone(), passwords, throttle, metrics.clone());
        let tokens = Tokens::new(config.tokens.clone(), &keys)?;
        let authenticator =
            Authenticator::new(store.clone(), login, tokens, config.session.clone(), config.cache);
        let authenticator = Arc::new(authenticator.with_issuers(config.issuers.clone()));
        let mailer = Mailer::new(store.clone(), config.mail.clone(), mail_links(config)).await?;
        let accounts = Accounts::new(
            store.clone(),
            Arc::clone(&authenticator),
            mailer.clone(),
            config.registration.clone(),
            config.public_url.host(),
        );
        Ok(Self { accounts, authenticator, csrf_key, mailer, metrics, store })
    }
}

/// Where the links in mails begin.
pub(super) fn mail_links(config: &Config) -> Links {
    Links::new(&config.public_url.to_string(), &config.portal.prefix)
}

/// The keys in the store, with one for new tokens among them.
async fn signing_keys(config: &Config, store: &Store) -> Result<Vec<SigningKey>, StartError> {
    let algorithm = config.tokens.algorithm;
    let keys = store.signing_keys()?;
    if !config.tokens.keys.is_empty() || keys.iter().any(|key| key.algorithm == algorithm.as_str()) {
        return Ok(keys);
    }
    Ok(store.ensure_signing_key(bearer::generate_key(algorithm, SystemTime::now())).await?)
}

/// The routes that look at a token, each name once, in the order of the file.
fn token_routes(routes: &[Route]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for route in routes.iter().filter(|route| !matches!(route.policy, Policy::Public | Policy::PublicIf(_))) {
        let takes =
            [Credential::Bearer, Credential::Basic].iter().any(|kind| route.credentials.contains(kind));
        if takes && !names.iter().any(|name| **name == *route.name) {
            names.push(route.name.to_string());
        }
    }
    names
}

/// What outlasts a configuration.
pub(super) struct Process {
    pub(super) access: AccessWriter,
    pub(super) connections: Arc<Connections>,
    csrf_key: [u8; 32],
    pub(super) draining: AtomicBool,
    /// Servers that stay are known to the next configuration.
    pub(super) health: HealthBoard,
    pub(super) mailer: Mailer,
    pub(super) metrics: Metrics,
    /// How many connections there are file descriptors for.
    pub(super) room: usize,
    pub(super) store: Store,
}

/// The rooms under one configuration.
pub(super) struct Rooms {
    pub(super) accounts: Accounts,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) config: Config,
    pub(super) gate: Arc<Gate>,
    pub(super) pages: Arc<Pages>,
    pub(super) portal: Portal,
    pub(super) process: Arc<Process>,
    /// `None`: plain HTTP.
    pub(super) tls: Option<Arc<Tls>>,
}

impl Rooms {
    /// Of the configuration that the process starts with.
    pub(super) async fn first(config: Config, store: Store, room: usize) -> Result<Self, StartError> {
        let metrics = Metrics::new(SystemTime::now());
        let AccountRooms { accounts, authenticator, csrf_key, mailer, metrics, store } =
            AccountRooms::build(&config, store, metrics).await?;
        // Administration by itself has no use for them.
        authenticator.start_issuers();
        let tls = Tls::renewed(None, config.tls.as_ref())?;
        let process = Process {
            access: AccessWriter::start(config.log),
            connections: Arc::new(Connections::new(metrics.clone())),
            csrf_key,
            draining: AtomicBool::new(false),
            health: HealthBoard::new(),
            mailer,
            metrics,
            room,
            store,
        };
        Ok(Self::over(config, accounts, authenticator, Arc::new(process), tls))
    }

    /// Of the configuration that takes this one's place.
    pub(super) async fn renewed(&self, config: Config) -> Result<Self, StartError> {
        let tls = Tls::renewed(self.tls.as_ref(), config.tls.as_ref())?;
        let authenticator = self.renewed_authenticator(&config).await?;
        let (registration, site) = (config.registration.clone(), config.public_url.host());
        let accounts = self.accounts.renewed(Arc::clone(&authenticator), registration, site);
        Ok(Self::over(config, accounts, authenticator, Arc::clone(&self.process), tls))
    }

    async fn renewed_authenticator(&self, config: &Config) -> Result<Arc<Authenticator>, StartError> {
        let old = &self.config;
        let is_same = old.cache == config.cache
            && old.login_limits == config.login_limits
            && old.password == config.password
            && old.session == config.session
            && old.tokens == config.tokens
            && old.issuers == config.issuers;
        if is_same {
            return Ok(Arc::clone(&self.authenticator));
        }
        let keys = signing_keys(config, &self.process.store).await?;
        let login = self.authenticator.login().renewed(config.password, config.login_limits);
        let tokens = Tokens::new(config.tokens.clone(), &keys)?;
        let renewed = self.authenticator.renewed(login, tokens, config.session.clone(), config.cache);
        let renewed = renewed.with_issuers(config.issuers.clone());
        renewed.start_issuers();
        Ok(Arc::new(renewed))
    }

    fn over(
        config: Config,
        accounts: Accounts,
        authenticator: Arc<Authenticator>,
        process: Arc<Process>,
        tls: Option<Arc<Tls>>,
    ) -> Self {
        let pages = Arc::new(Pages::new(PageSettings {
            prefix: config.portal.prefix.clone(),
            look: config.portal.look.clone(),
        }));
        let table = Table::new(config.routes.clone());
        let gate = Arc::new(Gate::new(table, Arc::clone(&authenticator), config.public_url.clone()));
        let ready = {
            let process = Arc::clone(&process);
            move || process.is_ready()
        };
        let doors = PortalDoors {
            accounts: accounts.clone(),
            authenticator: Arc::clone(&authenticator),
            csrf_key: process.csrf_key,
            pages: Arc::clone(&pages),
            ready: Arc::new(ready),
            token_routes: token_routes(&config.routes),
        };
        let hosts = config.routes.iter().filter_map(|route| route.host.clone()).collect();
        let portal =
            Portal::new(config.portal.clone(), &config.session, config.public_url.clone(), hosts, doors);
        Self { accounts, authenticator, config, gate, pages, portal, process, tls }
    }

    /// Where links to our pages begin.
    pub(super) fn links(&self) -> LinkBase {
        LinkBase::new(&self.config.public_url.to_string(), &self.config.portal.prefix)
    }

    pub(super) fn proxy_settings(&self) -> ProxySettings {
        let config = &self.config;
        let own = config.routes.iter().map(|route| &route.identity_headers);
        let maps = own.chain([&config.identity_headers]);
        let client_headers = config.tls.iter().flat_map(|tls| tls.client_headers.names().cloned());
        let edits = config.routes.iter().flat_map(|route| &route.headers);
        ProxySettings {
            asserter: Some(Asserter::new(Arc::clone(&self.authenticator))),
            body_bytes: config.limits.body_bytes,
            cookie_names: Portal::cookie_names(&config.session, &config.tokens),
            edited_names: edits.map(|edit| edit.name.clone()).collect(),
            identity_names: maps.flat_map(|map| map.names().cloned()).chain(client_headers).collect(),
        }
    }
}

impl Process {
    /// Whether new requests are welcome: not draining, and the store works.
    pub(super) fn is_ready(&self) -> bool {
        self.readiness().is_ok()
    }

    /// Why they are not, where they are not.
    pub(super) fn readiness(&self) -> Result<(), NotReady> {
        match self.draining.load(Ordering::Relaxed) {
            true => Err(NotReady::Draining),
            false => self.store.health().map_err(|_| NotReady::Store),
        }
    }
}

/// Opens the store that the configuration names. Where another process has it, it is waited for, for as long as that.
pub(super) async fn open_store(config: &Config, patience: Duration) -> Result<Store, StartError> {
    let began = Instant::now();
    loop {
        let settings = StoreSettings::at(&config.store);
        let opened = tokio::task::spawn_blocking(|| Store::open(settings)).await;
        match opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
            Err(OpenError::Locked { directory }) if began.elapsed() < patience => {
                tracing::info!(store.path = %directory.display(), "waiting for another process to let go of the store");
            }
            opened => return Ok(opened?),
        }
    }
}
