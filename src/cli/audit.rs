//! `foregate audit`: the file of the audit trail, filtered.
//!
//! It is read line by line, those that logrotate has moved away before the present one. What is no event (a line that
//! a crash or a full disk has cut) is passed over.
//!
//! Callers: `cli`. What is written there is `telemetry::audit`'s.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::Args;
use ipnet::IpNet;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use serde::{Deserialize, Deserializer};

use super::{CliError, note, print};
use crate::config::Config;
use crate::identity::fold;
use crate::telemetry::audit::Event;

/// Older files that logrotate keeps beside it, `.1` the youngest of them.
const ROTATED: u32 = 9;
/// Bytes of the longest line that can be an event.
const LONGEST: u64 = 64 * 1024;
/// Between two looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Args)]
pub(super) struct AuditArguments {
    /// Only what is not older: 1h, 7d, or a time such as 2026-11-21T18:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only what is about this account: a username or an account's number
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only this event, such as login_failed; repeat for more
    #[arg(long = "event", value_name = "EVENT", value_parser = event)]
    events: Vec<&'static str>,
    /// Only from this address or network
    #[arg(long, value_name = "IP", value_parser = network)]
    source: Option<IpNet>,
    /// Print the lines as they stand there
    #[arg(long)]
    json: bool,
    /// Go on with what is added, until Ctrl-C
    #[arg(long)]
    follow: bool,
}

/// What is known of one event; what a later version adds is passed over.
#[derive(Deserialize)]
struct Line {
    #[serde(deserialize_with = "time")]
    time: Timestamp,
    event: String,
    outcome: String,
    account: Option<String>,
    account_id: Option<String>,
    actor: String,
    door: Option<String>,
    uid: Option<u32>,
    source: Option<IpAddr>,
    request_id: Option<String>,
}

pub(super) fn run(config: &Config, arguments: &AuditArguments) -> Result<(), CliError> {
    let Some(path) = &config.audit else {
        return Err(CliError::Configuration(format!(
            "{}: there is no `log.audit`: name a file there, and events are kept in it from then on",
            config.file.display()
        )));
    };
    for number in (1..=ROTATED).rev() {
        let rotated = numbered(path, number);
        if rotated.exists() {
            let mut file = Tail::open(&rotated)?;
            file.read(arguments)?;
        } else if rotated.with_added_extension("gz").exists() {
            note(format_args!(
                "{} is compressed and is left out",
                rotated.with_added_extension("gz").display()
            ));
        }
    }
    if !path.exists() && !arguments.follow {
        note(format_args!("Nothing has happened yet: there is no {}.", path.display()));
        return Ok(());
    }
    let mut tail: Option<Tail> = None;
    loop {
        let moved = tail.as_ref().is_some_and(|tail| !tail.is_in_place(path));
        if let Some(tail) = &mut tail {
            tail.read(arguments)?;
        }
        if (tail.is_none() || moved) && path.exists() {
            let mut anew = Tail::open(path)?;
            anew.read(arguments)?;
            tail = Some(anew);
        }
        if !arguments.follow {
            return Ok(());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A file that is read to its end, and later on from there.
struct Tail {
    id: (u64, u64),
    /// Where the next line begins.
    position: u64,
    reader: BufReader<File>,
}

impl Tail {
    fn open(path: &Path) -> Result<Self, CliError> {
        let failed = || format!("{} can't be read", path.display());
        let file = File::open(path).with_context(failed)?;
        let found = file.metadata().with_context(failed)?;
        Ok(Self { id: (found.dev(), found.ino()), position: 0, reader: BufReader::new(file) })
    }

    fn is_in_place(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == self.id)
    }

    /// Prints what is asked for of the whole lines that there are.
    fn read(&mut self, arguments: &AuditArguments) -> Result<(), CliError> {
        self.reader.seek(SeekFrom::Start(self.position))?;
        let mut text = String::new();
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let read = (&mut self.reader).take(LONGEST).read_until(b'\n', &mut bytes)?;
            let whole = bytes.ends_with(b"\n");
            if !whole && (read as u64) < LONGEST {
                // Its end may still come.
                break;
            }
            self.position += read as u64;
            if let Ok(line) = serde_json::from_slice::<Line>(&bytes)
                && arguments.ask_for(&line)
            {
                match arguments.json {
                    true => text.push_str(&String::from_utf8_lossy(&bytes)),
                    false => text.push_str(&shown(&line)),
                }
            }
            if text.len() as u64 > LONGEST {
                print(&text)?;
                text.clear();
            }
        }
        print(&text)
    }
}

impl AuditArguments {
    fn ask_for(&self, line: &Line) -> bool {
        let user = self.user.as_ref().is_none_or(|user| {
            line.account_id.as_ref() == Some(user)
                // Who is unknown has no number, and somebody may have that very name.
                || line.account.as_ref().filter(|_| line.account_id.is_some()).is_some_and(|name| fold(name) == fold(user))
        });
        user && self.since.is_none_or(|since| line.time >= since)
            && (self.events.is_empty() || self.events.contains(&line.event.as_str()))
            && self.source.is_none_or(|network| line.source.is_some_and(|source| network.contains(&source)))
    }
}

/// One event for reading.
fn shown(line: &Line) -> String {
    let Line { time, event, outcome, account, actor, door, uid, source, request_id, account_id } = line;
    let who = match (uid, source) {
        (Some(uid), _) => format!("{actor} of user {uid}"),
        (None, Some(source)) => match door {
            Some(door) => format!("{source} by {door}"),
            None => source.to_string(),
        },
        (None, None) => actor.clone(),
    };
    let account = match (account, account_id) {
        (Some(name), None) => format!("({name})"),
        (Some(name), Some(_)) => name.clone(),
        (None, _) => "-".to_owned(),
    };
    // Written by us, and yet a file that others may have had in their hands.
    let clean =
        |text: &str| text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
    let id = request_id.as_deref().unwrap_or("-");
    format!(
        "{time:.3}  {:<22}  {:<7}  {:<24}  {}  {}\n",
        clean(event),
        clean(outcome),
        clean(&account),
        clean(&who),
        clean(id)
    )
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// A time, or how long ago.
fn moment(raw: &str) -> Result<Timestamp, String> {
    if let Ok(time) = raw.parse::<Timestamp>() {
        return Ok(time);
    }
    let ago = raw.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    let ago = ago.ok().filter(SignedDuration::is_positive);
    let ago = ago.ok_or("expected how long ago, such as 1h or 7d, or a time such as 2026-11-21T18:00:00Z")?;
    let now = Timestamp::try_from(SystemTime::now()).map_err(|error| error.to_string())?;
    now.checked_sub(ago).map_err(|error| error.to_string())
}

fn event(raw: &str) -> Result<&'static str, String> {
    let wanted = raw.to_lowercase().replace(['-', '.'], "_");
    let words = || Event::ALL.iter().map(|event| event.word());
    words().find(|word| *word == wanted).ok_or_else(|| {
        format!("there is no such event; there are {}", words().collect::<Vec<_>>().join(", "))
    })
}

fn network(raw: &str) -> Result<IpNet, String> {
    let address = raw.parse::<IpAddr>().map(IpNet::from);
    address
        .or_else(|_| raw.parse())
        .map_err(|_| "expected an address or a network such as 192.0.2.0/24".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for() {
        let line = |text: &str| serde_json::from_str::<Line>(text).expect("an event");
        let alice = line(
            r#"{"time":"2026-11-21T18:00:00.123Z","event":"login_failed","outcome":"failed","account":"Alice","account_id":"7","actor":"client","source":"192.0.2.7","request_id":"x","added":1}"#,
        );
        let nobody = line(
            r#"{"time":"2026-11-21T18:00:01.000Z","event":"login_failed","outcome":"failed","account":"unknown","actor":"client"}"#,
        );
        let none = || AuditArguments {
            since: None,
            user: None,
            events: vec![],
            source: None,
            json: false,
            follow: false,
        };
        for (arguments, expected) in [
            (none(), (true, true)),
            (AuditArguments { user: Some("alice".to_owned()), ..none() }, (true, false)),
            (AuditArguments { user: Some("7".to_owned()), ..none() }, (true, false)),
            (AuditArguments { user: Some("unknown".to_owned()), ..none() }, (false, false)),
            (AuditArguments { events: vec!["logout"], ..none() }, (false, false)),
            (
                AuditArguments { events: vec!["logout", event("LOGIN-FAILED").expect("one")], ..none() },
                (true, true),
            ),
            (AuditArguments { source: network("192.0.2.0/24").ok(), ..none() }, (true, false)),
            (AuditArguments { source: network("192.0.2.8").ok(), ..none() }, (false, false)),
            (AuditArguments { since: moment("2026-11-21T18:00:00.500Z").ok(), ..none() }, (false, true)),
        ] {
            assert_eq!((arguments.ask_for(&alice), arguments.ask_for(&nobody)), expected);
        }
        assert_eq!(
            shown(&alice),
            "2026-11-21T18:00:00.123Z  login_failed            failed   Alice                     192.0.2.7  x\n"
        );
        assert!(event("login").is_err() && network("x").is_err());
        for bad in ["", "soon", "-1h", "0h"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
        let ago = Timestamp::now().duration_since(moment("7d").expect("a time"));
        assert!((ago.as_hours() - 168).abs() <= 1, "{ago}");
    }
}
