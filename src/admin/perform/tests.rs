//! Commands carried out on a real store.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::*;
use crate::account::{RegistrationMode, RegistrationSettings};
use crate::authn::bearer::generate_key;
use crate::authn::throttle::Throttle;
use crate::authn::{
    Algorithm, Authenticator, CacheSettings, LoginLimits, PasswordLogin, Rate, SameSite, SessionSettings,
    TokenSettings, Tokens,
};
use crate::mail::{Links, Mailer};
use crate::password::{PasswordSettings, Passwords};
use crate::store::{Store, StoreSettings};
use crate::telemetry::metrics::Metrics;

const NOON: SystemTime = SystemTime::UNIX_EPOCH;
const HASH: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

struct Office {
    accounts: Accounts,
    _directory: TempDir,
    links: LinkBase,
    store: Store,
}

impl Office {
    async fn open() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(StoreSettings::at(directory.path().join("data"))).expect("a store");
        let passwords = Passwords::start(PasswordSettings {
            iterations: 1,
            memory_kib: 64,
            min_length: 8,
            min_score: 3,
            parallelism: 1,
            workers: 1,
        });
        let minute = Duration::from_secs(60);
        let rate = Rate { count: 10, period: minute };
        let throttle = Throttle::new(LoginLimits { per_account: rate, per_ip: rate });
        let tokens = TokenSettings {
            access_ttl: minute,
            algorithm: Algorithm::EdDsa,
            audience: "https://login.test".to_owned(),
            cookies: false,
            errors: Default::default(),
            issuer: "https://login.test".to_owned(),
            key_rotation: None,
            keys: Vec::new(),
            refresh_grace: Duration::from_secs(10),
            refresh_ttl: Some(Duration::from_secs(3600)),
        };
        let keys = [generate_key(Algorithm::EdDsa, NOON)];
        let sessions = SessionSettings {
            cookie_domain: None,
            cookie_name: "foregate".to_owned(),
            idle_timeout: minute,
            lifetime: minute,
            remember: None,
            same_site: SameSite::Lax,
            secure: false,
        };
        let authenticator = Authenticator::new(
            store.clone(),
            PasswordLogin::new(store.clone(), passwords, throttle, Metrics::new(SystemTime::now())),
            Tokens::new(tokens, &keys).expect("keys"),
            sessions,
            CacheSettings { capacity: 100, ttl: minute },
        );
        let links = Links::new("https://login.test", "/.auth");
        let mailer = Mailer::new(store.clone(), None, links).await.expect("an outbox");
        let registration = RegistrationSettings {
            confirm_email: false,
            members_invite: None,
            email_domains: BTreeSet::new(),
            mode: RegistrationMode::Approval,
            per_ip: rate,
            roles: BTreeSet::new(),
        };
        Self {
            accounts: Accounts::new(store.clone(), authenticator.into(), mailer, registration, "login.test"),
            _directory: directory,
            links: LinkBase::new("https://login.test", "/.auth"),
            store,
        }
    }

    async fn ask(&self, command: Command) -> Reply {
        perform(&self.accounts, &self.links, command, NOON).await
    }

    async fn fail(&self, command: Command) -> Failure {
        match self.ask(command).await {
            Reply::Failed(failure) => failure,
            reply => panic!("{reply:?}"),
        }
    }

    async fn account(&self, command: Command) -> AccountView {
        match self.ask(command).await {
            Reply::Account(account) => account,
            reply => panic!("{reply:?}"),
        }
    }
}

fn new(username: &str, password: Password) -> Command {
    Command::UserAdd(AddUser {
        email: format!("{username}@example.com").parse().ok(),
        name: username.parse().expect("a name"),
        password,
        roles: BTreeSet::from(["staff".parse().expect("a role")]),
        username: username.parse().expect("a username"),
    })
}

fn change(login: &str) -> SetUser {
    SetUser { email: None, login: login.to_owned(), name: None, password: None, roles: None }
}

fn plain(password: &str) -> Password {
    Password::Plain(Secret(password.into()))
}

#[tokio::test]
async fn an_account_from_its_making_to_its_end() {
    let office = Office::open().await;
    let reply = office.ask(new("alice", Password::Link)).await;
    let Reply::Added { account, link: Some(Secret(link)) } = reply else { panic!("{reply:?}") };
    assert!(!account.has_password);
    let token = link.expose_secret().strip_prefix("https://login.test/.auth/reset?token=");
    let token = token.expect("the page that sets a password");
    assert!(office.accounts.password_link(token, NOON).is_ok());

    let by_address = || "ALICE@example.com".to_owned();
    let roles = Some(BTreeSet::new());
    let password = Some(Secret("correct horse battery".into()));
    let set = Command::UserSet(SetUser { roles, password, ..change(&by_address()) });
    let account = office.account(set).await;
    assert!(account.roles.is_empty() && account.has_password);
    assert!(office.account(Command::UserDisable { login: by_address() }).await.disabled);
    assert!(!office.account(Command::UserEnable { login: by_address() }).await.disabled);
    office.account(Command::UserDelete { login: by_address() }).await;
    office.fail(Command::UserShow { login: by_address() }).await;
    office.store.close().await;
}

#[tokio::test]
async fn what_is_in_the_way_is_named_and_nothing_is_done() {
    let office = Office::open().await;
    office.ask(new("alice", Password::Hash(Secret(HASH.into())))).await;
    office.ask(new("bob", plain("correct horse battery"))).await;
    let taken = office.fail(new("Alice", Password::Link)).await;
    assert!(matches!(&taken, Failure::UsernameTaken { username } if username.as_str() == "Alice"), "{taken}");
    let email = "Alice@example.com".parse().ok();
    let taken = office.fail(Command::UserSet(SetUser { email, ..change("bob") })).await;
    assert_eq!(taken, Failure::EmailTaken { email: "Alice@example.com".to_owned() });
    let weak = office.fail(new("carol", plain("carol123"))).await;
    assert!(matches!(weak, Failure::Weak { .. }), "{weak}");
    let hash = office.fail(new("carol", Password::Hash(Secret("md5$secret".into())))).await;
    assert!(matches!(hash, Failure::Hash { .. }) && !hash.to_string().contains("secret"), "{hash}");
    let nearest = "alice".parse().ok();
    for command in [
        Command::UserShow { login: " alcie ".to_owned() },
        Command::UserDelete { login: "alcie".to_owned() },
        Command::UserSet(change("alcie")),
    ] {
        let expected = Failure::NotFound { login: "alcie".to_owned(), nearest: nearest.clone() };
        assert_eq!(office.fail(command).await, expected);
    }
    office.store.close().await;
}

#[tokio::test]
async fn slices_hold_every_account_once() {
    let office = Office::open().await;
    let count = SLICE + 3;
    for number in 0..count {
        office.ask(new(&format!("user-{number:04}"), Password::Hash(Secret(HASH.into())))).await;
    }
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let reply = office.ask(Command::UserList { after }).await;
        let Reply::Accounts { accounts, damaged: _, next } = reply else { panic!("{reply:?}") };
        names.extend(accounts.into_iter().map(|account| account.username));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names.len(), count);
    assert!(names.is_sorted());
    office.store.close().await;
}

fn nearest_of(login: &str, names: &[&str]) -> Option<String> {
    let mut best = Nearest::to(login);
    for name in names {
        best.consider(name.parse().expect("a username"));
    }
    best.found.map(|(_, name)| name.to_string())
}

#[test]
fn the_nearest_name_is_close_or_none() {
    let names = ["alice", "alicia", "bob", "Zoë"];
    assert_eq!(nearest_of("alcie", &names).as_deref(), Some("alice"));
    assert_eq!(nearest_of("ALICIAA", &names).as_deref(), Some("alicia"));
    assert_eq!(nearest_of("zoe", &names).as_deref(), Some("Zoë"));
    assert_eq!(nearest_of("mallory", &names), None);
    assert_eq!(nearest_of("", &names), None);
}

#[test]
fn every_failure_of_an_account_has_its_sentence() {
    let email = Some("a@example.com".to_owned());
    let taken = failure(UserError::EmailTaken.into(), "bob", email);
    assert!(taken.to_string().contains("a@example.com"), "{taken}");
    let store = failure(UserError::Store(StoreError::Busy).into(), "bob", None);
    assert!(matches!(store, Failure::Store { .. }), "{store}");
}
