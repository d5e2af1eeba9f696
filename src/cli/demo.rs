//! `foregate demo`: the gateway in front of a sample application, to be tried out at once.
//!
//! What it shows is what anybody can set up: a configuration file, accounts made as `foregate user add`
//! makes them, and the gateway as `foregate serve` runs it. All of it lives in a scratch directory
//! that goes at the end.
//!
//! Callers: `cli`.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::administration::Administration;
use super::{CliError, DemoArguments, note, print, serve};
use crate::admin::{AddUser, Command, Password, Secret};
use crate::config::Config;

mod sample;
mod scratch;

pub use sample::SampleApplication;

use scratch::Scratch;

const TEMPLATE: &str = include_str!("demo/foregate.yaml");
/// What passwords are made of: nothing that reads like something else.
const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// How long open connections may hold up the end.
const DRAIN: Duration = Duration::from_secs(3);

/// One of the demo's accounts.
#[derive(Clone, Debug)]
pub struct DemoAccount {
    /// Random, made anew at each start.
    pub password: SecretString,
    /// Its roles.
    pub roles: &'static [&'static str],
    /// Its login name.
    pub username: &'static str,
    /// For display.
    name: &'static str,
}

/// The demo's accounts, with new passwords.
pub fn demo_accounts() -> [DemoAccount; 2] {
    [
        DemoAccount { password: password(), roles: &["user"], username: "alice", name: "Alice" },
        DemoAccount {
            password: password(),
            roles: &["admin", "user"],
            username: "admin",
            name: "The Administrator",
        },
    ]
}

/// The demo's configuration; its store is the folder `data` beside the file.
pub fn demo_config(listen: SocketAddr, upstream: SocketAddr) -> String {
    TEMPLATE
        .replace("@listen@", &listen.to_string())
        .replace("@public_url@", &url(listen))
        .replace("@upstream@", &upstream.to_string())
}

/// Runs `foregate demo` until it is interrupted.
pub(super) fn run(arguments: &DemoArguments) -> Result<(), CliError> {
    let listen = free(arguments.listen)?;
    let application = SampleApplication::start().context("can't start the sample application")?;
    let scratch = Scratch::new().context("can't make a temporary directory; $TMPDIR names another place")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        // From here on an interruption ends the demo by the way out, which removes what it made.
        let mut interruption = Interruption::listen()?;
        let config = configuration(scratch.path(), &demo_config(listen, application.address()))?;
        let accounts = demo_accounts();
        tokio::select! {
            made = make(&config, &accounts) => made?,
            () = interruption.came() => return Ok(()),
        }
        let ready = || announce(listen, &accounts, arguments.json);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let served = serve::until(config, ready, async { drop(stopped.await) });
        let mut served = std::pin::pin!(served);
        tokio::select! {
            ended = &mut served => return ended,
            () = interruption.came() => drop(stop),
        }
        // Somebody's open page must not keep the terminal.
        tokio::time::timeout(DRAIN, served).await.unwrap_or(Ok(()))
    });
    serve::leave(runtime);
    served
}

/// The same address with a port that is free now.
fn free(listen: SocketAddr) -> Result<SocketAddr, CliError> {
    let bound = TcpListener::bind(listen).and_then(|listener| listener.local_addr());
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => CliError::Failed(anyhow!(
            "{listen} is in use by another program; choose another address, as in `foregate demo --listen 127.0.0.1:0`"
        )),
        _ => CliError::Failed(anyhow!(
            "can't listen on {listen} ({error}); choose another address with --listen"
        )),
    })
}

fn configuration(directory: &Path, text: &str) -> Result<Config, CliError> {
    let file = directory.join("foregate.yaml");
    fs::write(&file, text).with_context(|| format!("can't write {}", file.display()))?;
    Config::load(&file).map_err(|faults| CliError::Configuration(faults.to_string()))
}

async fn make(config: &Config, accounts: &[DemoAccount]) -> Result<(), CliError> {
    let administration = Administration::open(config).await?;
    let mut made = Ok(());
    for account in accounts {
        let user = AddUser {
            email: Some(format!("{}@example.com", account.username).parse()?),
            name: account.name.parse()?,
            password: Password::Plain(Secret(account.password.clone())),
            roles: account.roles.iter().map(|role| role.parse()).collect::<Result<_, _>>()?,
            username: account.username.parse()?,
        };
        made = administration.perform(Command::UserAdd(user)).await.map(drop);
        if made.is_err() {
            break;
        }
    }
    administration.close(config).await;
    made
}

/// The data alone on stdout, each on a line of its own; the words around it on stderr.
fn announce(listen: SocketAddr, accounts: &[DemoAccount], json: bool) -> Result<(), CliError> {
    if json {
        return print(&as_json(listen, accounts));
    }
    note("A sample application without a login, and Foregate in front of it. Open it and sign in:\n");
    print(&as_lines(listen, accounts))?;
    note("\nCtrl-C stops it. Nothing is left behind.");
    Ok(())
}

fn as_lines(listen: SocketAddr, accounts: &[DemoAccount]) -> String {
    let accounts: String = accounts
        .iter()
        .map(|account| format!("{}  {}\n", account.username, account.password.expose_secret()))
        .collect();
    format!("{}\n{accounts}", url(listen))
}

fn as_json(listen: SocketAddr, accounts: &[DemoAccount]) -> String {
    let users: Vec<_> = accounts
        .iter()
        .map(|account| {
            json!({
                "username": account.username,
                "password": account.password.expose_secret(),
                "roles": account.roles,
            })
        })
        .collect();
    format!("{}\n", json!({ "url": url(listen), "users": users }))
}

/// The origin for a browser on this machine.
fn url(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        // Every address of the machine: also this one.
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

/// Three groups of five letters and digits: 74 bits, and short enough to be typed.
fn password() -> SecretString {
    let letters: Vec<u8> = std::iter::repeat_with(letter).take(15).collect();
    let groups: Vec<_> = letters.chunks(5).map(String::from_utf8_lossy).collect();
    groups.join("-").into()
}

fn letter() -> u8 {
    loop {
        let mut random = [0];
        getrandom::fill(&mut random).expect("the operating system gives random bytes");
        // Five bits; one of their values has no letter, and is thrown again so that all are as likely.
        if let Some(&letter) = LETTERS.get(usize::from(random[0] & 31)) {
            return letter;
        }
    }
}

/// Ctrl-C, `kill`, and the terminal that goes away.
struct Interruption([Signal; 3]);

impl Interruption {
    fn listen() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn came(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 8080))
    }

    #[test]
    fn the_configuration_is_sound() {
        let upstream = SocketAddr::from(([127, 0, 0, 1], 3000));
        let text = demo_config(listen(), upstream);
        assert!(!text.contains('@'), "{text}");
        match Config::parse(&text, "foregate.yaml", &|_| None, Path::new("/tmp/demo")) {
            Ok(config) => {
                assert_eq!(config.store, Path::new("/tmp/demo/data"));
                assert_eq!(config.public_url.to_string(), "http://127.0.0.1:8080");
                assert_eq!(config.warnings.len(), 0, "{:?}", config.warnings);
            }
            Err(faults) => panic!("{faults}"),
        }
    }

    #[test]
    fn a_password_is_typed_easily_and_never_the_same() {
        let [alice, admin] = demo_accounts();
        let password = alice.password.expose_secret();
        assert_eq!(password.len(), 17, "{password}");
        assert!(password.split('-').all(|group| group.len() == 5), "{password}");
        assert_ne!(password, admin.password.expose_secret());
    }

    #[test]
    fn what_is_printed_can_be_read_by_a_program() {
        let accounts = demo_accounts();
        let json: serde_json::Value = serde_json::from_str(&as_json(listen(), &accounts)).expect("JSON");
        assert_eq!(json["url"], "http://127.0.0.1:8080");
        assert_eq!(json["users"][1]["roles"], json!(["admin", "user"]));
        let text = as_lines(listen(), &accounts);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "http://127.0.0.1:8080");
        assert_eq!(lines[1], format!("alice  {}", accounts[0].password.expose_secret()));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_browser_is_sent_to_an_address_that_it_can_open() {
        for (listen, expected) in [
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:8080", "http://[::1]:8080"),
            ("10.0.0.1:8080", "http://10.0.0.1:8080"),
        ] {
            assert_eq!(url(listen.parse().expect("an address")), expected);
        }
    }
}
