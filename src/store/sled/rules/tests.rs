//! The rules over a tree in memory.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::super::unit::{Group, OPERATIONS_PER_BATCH, Rows};
use super::*;
use crate::store::{PERSONAL_TOKENS_PER_ACCOUNT, PersonalToken, PersonalTokenError};

mod registration;

/// A tree in memory, and one unit after the other on it.
pub(super) struct Bench(pub(super) ::sled::Db);

impl Bench {
    pub(super) fn new() -> Self {
        Self(::sled::Config::new().temporary(true).open().expect("an engine"))
    }

    /// Gives what the rule gave, and how many operations it took.
    pub(super) fn run<T, E>(
        &self,
        rule: impl FnOnce(&mut Unit<'_, '_>) -> Result<T, E>,
    ) -> Result<(T, usize), E> {
        let mut group = Group::new(&self.0);
        let mut unit = group.unit();
        let done = rule(&mut unit)?;
        let changes = unit.into_changes();
        let operations = changes.len();
        assert!(group.absorb(changes));
        self.0.apply_batch(group.into_batch()).expect("a batch");
        Ok((done, operations))
    }

    pub(super) fn user(&self, name: &str) -> User {
        self.run(|unit| create_user(unit, &new_user(name))).expect("an account").0
    }
}

fn new_user(name: &str) -> NewUser {
    NewUser {
        awaits_approval: false,
        awaits_confirmation: false,
        created_at: time(1_000_000),
        disabled: false,
        email: Some(format!("{name}@example.com").parse().expect("an address")),
        email_is_proven: false,
        language: None,
        name: Default::default(),
        password_hash: Some("hash".into()),
        roles: Default::default(),
        username: name.parse().expect("a name"),
    }
}

fn session(user: &User, n: u64) -> Session {
    Session {
        authenticated_at: time(1_000_000 + n),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        digest: Digest::of(format!("{}{n}", user.id).as_bytes()),
        expires_at: time(2_000_000),
        idle_timeout: Duration::from_secs(100),
        last_seen: time(1_000_000),
        remembered: false,
        user_agent: String::new(),
        user_id: user.id,
    }
}

fn link(user: &User) -> OneTimeToken {
    OneTimeToken {
        digest: Digest::of(b"link"),
        expires_at: time(1_500_000),
        purpose: Purpose::SetPassword,
        user_id: user.id,
    }
}

fn keys(bench: &Bench, table: u8) -> usize {
    bench.0.keys_under(&[table]).expect("a scan").len()
}

#[test]
fn the_largest_unit_fits_into_one_batch() {
    let bench = Bench::new();
    let user = bench.user("alice");
    for n in 0..=SESSIONS_PER_ACCOUNT as u64 {
        bench.run(|unit| create_session(unit, &session(&user, n))).expect("a session");
    }
    bench.run(|unit| create_one_time_token(unit, &link(&user))).expect("a token");
    assert_eq!(keys(&bench, b'L'), SESSIONS_PER_ACCOUNT);
    let (_, operations) = bench.run(|unit| delete_user(unit, user.id)).expect("a deletion");
    assert!(operations <= OPERATIONS_PER_BATCH, "{operations}");
    for table in *b"UNESLTO" {
        assert_eq!(keys(&bench, table), 0, "{}", table as char);
    }
    // What was left of the expiry index goes when its time comes.
    assert_eq!(keys(&bench, b'X'), SESSIONS_PER_ACCOUNT - EXPIRY_ENTRIES_PER_UNIT);
    bench.run(|unit| sweep(unit, time(3_000_000), 90)).expect("a sweep");
    assert_eq!(keys(&bench, b'X'), 0);
}

#[test]
fn two_of_one_name_in_one_group_are_one_success_and_one_conflict() {
    let bench = Bench::new();
    let mut group = Group::new(&bench.0);
    let mut unit = group.unit();
    create_user(&mut unit, &new_user("alice")).expect("the first");
    let changes = unit.into_changes();
    assert!(group.absorb(changes));
    let second = create_user(&mut group.unit(), &new_user("Alice"));
    assert!(matches!(second, Err(UserError::UsernameTaken)), "{second:?}");
}

#[test]
fn a_stale_entry_leads_nowhere_and_keeps_no_name_from_anybody() {
    let bench = Bench::new();
    let alice = bench.user("alice");
    bench.0.insert(keys::username("mallory"), alice.id.as_bytes()).expect("a row");
    bench.0.insert(keys::email("mallory@example.com"), alice.id.as_bytes()).expect("a row");
    assert!(bench.0.user_by_login("mallory").expect("a read").is_none());
    assert!(bench.0.user_by_login("mallory@example.com").expect("a read").is_none());
    let mallory = bench.user("mallory");
    assert_eq!(bench.0.user_by_login("mallory").expect("a read").map(|user| user.id), Some(mallory.id));
}

#[test]
fn a_new_address_frees_the_old_one_and_voids_the_link_in_its_mailbox() {
    let bench = Bench::new();
    let (alice, bob) = (bench.user("alice"), bench.user("bob"));
    bench.run(|unit| create_one_time_token(unit, &link(&alice))).expect("a token");
    let to = |address: &str| UserChange {
        email: Some(Some(address.parse().expect("an address"))),
        ..UserChange::default()
    };
    let taken = bench.run(|unit| change_user(unit, alice.id, &to("BOB@example.com")));
    assert!(matches!(taken, Err(UserError::EmailTaken)));
    bench.run(|unit| change_user(unit, alice.id, &to("new@example.com"))).expect("a change");
    assert_eq!(keys(&bench, b'T') + keys(&bench, b'O') + keys(&bench, b'X'), 0);
    bench.run(|unit| change_user(unit, bob.id, &to("alice@example.com"))).expect("it is free");
    let same = bench.run(|unit| change_user(unit, bob.id, &to("Alice@example.com"))).expect("its own");
    assert_eq!(same.0.version, 3);
    assert_eq!(keys(&bench, b'E'), 2);
}

#[test]
fn a_new_password_voids_links_and_ends_the_other_sessions_as_asked() {
    let bench = Bench::new();
    let user = bench.user("alice");
    for n in 0..3 {
        bench.run(|unit| create_session(unit, &session(&user, n))).expect("a session");
    }
    bench.run(|unit| create_one_time_token(unit, &link(&user))).expect("a token");
    let change = UserChange {
        password: Some(("new".into(), time(1_200_000))),
        sessions: EndSessions::Except(session(&user, 1).digest),
        ..UserChange::default()
    };
    bench.run(|unit| change_user(unit, user.id, &change)).expect("a change");
    let left = bench.0.sessions_of(user.id).expect("a list");
    assert_eq!(left.iter().map(|kept| kept.session.digest).collect::<Vec<_>>(), [session(&user, 1).digest]);
    assert_eq!((keys(&bench, b'T'), keys(&bench, b'X')), (0, 1));
}

#[test]
fn a_login_that_raced_a_new_password_or_a_disabling_gets_no_session() {
    let bench = Bench::new();
    let password = UserChange { password: Some(("new".into(), time(1_200_000))), ..Default::default() };
    let disabled = |disabled| UserChange { disabled: Some(disabled), ..UserChange::default() };
    for (name, changes) in [("alice", vec![password]), ("bob", vec![disabled(true), disabled(false)])] {
        let user = bench.user(name);
        for change in &changes {
            bench.run(|unit| change_user(unit, user.id, change)).expect("a change");
        }
        let changed = bench.0.user(user.id).expect("a read").expect("an account");
        let since = changed.credentials_since.expect("it was changed");
        // Asked for long ago, it holds from when it is written.
        assert!(since > time(1_200_000), "{name}");
        let just_before = since - Duration::from_nanos(1);
        for (authenticated_at, is_kept) in [(just_before, false), (since, true)] {
            let login = Session { authenticated_at, ..session(&user, 1) };
            let outcome = bench.run(|unit| create_session(unit, &login)).map(drop);
            assert_eq!(outcome.is_ok(), is_kept, "{outcome:?}");
        }
    }
}

#[test]
fn a_session_in_use_outlives_its_first_entry_and_an_idle_one_does_not() {
    let bench = Bench::new();
    let user = bench.user("alice");
    for n in 0..2 {
        bench.run(|unit| create_session(unit, &session(&user, n))).expect("a session");
    }
    let used = session(&user, 0).digest;
    let touch = |at: u64| bench.run(|unit| touch(unit, &[(used, time(at))])).expect("a touch").1;
    assert_eq!(touch(1_005_000), 0, "within a tenth of the idle timeout nothing is written");
    assert_eq!(touch(1_090_000), 1);
    // Both have an entry at 1100 s; the used one lives until 1190 s.
    bench.run(|unit| sweep(unit, time(1_102_000), 90)).expect("a sweep");
    let left = bench.0.sessions_of(user.id).expect("a list");
    assert_eq!(left.iter().map(|kept| kept.session.digest).collect::<Vec<_>>(), [used]);
    assert_eq!(keys(&bench, b'X'), 1);
    bench.run(|unit| sweep(unit, time(1_192_000), 90)).expect("a sweep");
    assert_eq!(keys(&bench, b'S') + keys(&bench, b'L') + keys(&bench, b'X'), 0);
}

#[test]
fn a_session_that_may_lie_idle_for_weeks_still_says_when_it_was_used() {
    let bench = Bench::new();
    let user = bench.user("alice");
    let idle_timeout = Duration::from_secs(30 * 86_400);
    let long = Session { expires_at: time(9_000_000_000), idle_timeout, ..session(&user, 0) };
    bench.run(|unit| create_session(unit, &long)).expect("a session");
    let seen = millis(long.last_seen);
    for (minutes, written) in [(14, 0), (16, 1)] {
        let touch = [(long.digest, time(seen + minutes * 60_000))];
        assert_eq!(bench.run(|unit| super::touch(unit, &touch)).expect("a touch").1, written, "{minutes}");
    }
}

#[test]
fn a_token_is_swept_with_its_entries() {
    let bench = Bench::new();
    let user = bench.user("alice");
    bench.run(|unit| create_one_time_token(unit, &link(&user))).expect("a token");
    bench.run(|unit| sweep(unit, time(1_499_000), 90)).expect("a sweep");
    assert_eq!(keys(&bench, b'T'), 1);
    bench.run(|unit| sweep(unit, time(1_502_000), 90)).expect("a sweep");
    assert_eq!(keys(&bench, b'T') + keys(&bench, b'O') + keys(&bench, b'X'), 0);
}

fn personal_token(user: &User, n: u64, expires_at: Option<u64>) -> PersonalToken {
    PersonalToken {
        created_at: time(1_000_000 + n),
        digest: Digest::of(format!("{} token {n}", user.id).as_bytes()),
        expires_at: expires_at.map(time),
        label: "phone".parse().expect("a label"),
        last_used_at: None,
        routes: ["dav".to_owned()].into(),
        scopes: Default::default(),
        user_id: user.id,
    }
}

#[test]
fn an_account_holds_so_many_personal_tokens_and_no_more_and_they_end_in_units_that_fit() {
    let bench = Bench::new();
    let (alice, bob) = (bench.user("alice"), bench.user("bob"));
    let create = |user: &User, n| {
        bench.run(|unit| create_personal_token(unit, &personal_token(user, n, Some(1_500_000)), None))
    };
    for n in 0..PERSONAL_TOKENS_PER_ACCOUNT as u64 {
        create(&alice, n).expect("a token");
    }
    let further = create(&alice, 1000);
    assert!(matches!(further, Err(PersonalTokenError::TooMany)), "{further:?}");
    create(&bob, 0).expect("another account's");
    let mut ended = 0;
    loop {
        let (some, operations) =
            bench.run(|unit| revoke_personal_tokens_of(unit, alice.id)).expect("a revocation");
        assert!(operations <= OPERATIONS_PER_BATCH, "{operations}");
        ended += some;
        if some == 0 {
            break;
        }
    }
    assert_eq!(ended, PERSONAL_TOKENS_PER_ACCOUNT);
    assert_eq!([b'P', b'p', b'X'].map(|table| keys(&bench, table)), [1, 1, 1], "bob's stays");
    bench.run(|unit| delete_user(unit, bob.id)).expect("a deletion");
    assert_eq!([b'P', b'p', b'X'].map(|table| keys(&bench, table)), [0, 0, 0]);
}

#[test]
fn a_personal_token_is_revoked_by_its_id_and_by_its_own_account_alone() {
    let bench = Bench::new();
    let (alice, bob) = (bench.user("alice"), bench.user("bob"));
    let token = personal_token(&alice, 0, None);
    bench.run(|unit| create_personal_token(unit, &token, None)).expect("a token");
    assert_eq!(bench.0.personal_token_by_id(token.id()).expect("a read").as_ref(), Some(&token));
    let revoke =
        |user| bench.run(|unit| revoke_personal_token(unit, token.id(), user)).expect("no failure").0;
    assert_eq!(revoke(Some(bob.id)), None);
    assert_eq!(revoke(Some(alice.id)).as_ref(), Some(&token));
    assert_eq!(revoke(None), None, "it is gone");
    assert_eq!(keys(&bench, b'P') + keys(&bench, b'p') + keys(&bench, b'X'), 0);
}

#[test]
fn a_personal_token_is_made_by_a_session_that_is_there_and_for_an_account_that_is_enabled() {
    let bench = Bench::new();
    let (alice, bob) = (bench.user("alice"), bench.user("bob"));
    let create = |session: Option<Digest>| {
        bench.run(|unit| create_personal_token(unit, &personal_token(&alice, 0, None), session))
    };
    let gone = create(Some(session(&alice, 1).digest));
    assert!(matches!(gone, Err(PersonalTokenError::NoSession)), "{gone:?}");
    bench.run(|unit| create_session(unit, &session(&bob, 1))).expect("a session");
    let anothers = create(Some(session(&bob, 1).digest));
    assert!(matches!(anothers, Err(PersonalTokenError::NoSession)), "{anothers:?}");
    bench.run(|unit| create_session(unit, &session(&alice, 1))).expect("a session");
    create(Some(session(&alice, 1).digest)).expect("a token");
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    bench.run(|unit| change_user(unit, alice.id, &disable)).expect("a change");
    let disabled = create(None);
    assert!(matches!(disabled, Err(PersonalTokenError::NoAccount)), "{disabled:?}");
}

#[test]
fn the_use_of_a_personal_token_is_written_sparsely_and_its_end_swept() {
    let bench = Bench::new();
    let user = bench.user("alice");
    let token = personal_token(&user, 0, Some(2_000_000));
    bench.run(|unit| create_personal_token(unit, &token, None)).expect("a token");
    let used_at = |at: u64| bench.run(|unit| touch(unit, &[(token.digest, time(at))])).expect("a touch").1;
    assert_eq!(used_at(1_100_000), 1);
    assert_eq!(used_at(1_399_999), 0, "not again within five minutes");
    assert_eq!(used_at(1_400_000), 1);
    let kept = bench.0.personal_token(token.digest).expect("a read").expect("it is there");
    assert_eq!(kept.last_used_at, Some(time(1_400_000)));
    bench.run(|unit| sweep(unit, time(1_999_000), 90)).expect("a sweep");
    assert_eq!(keys(&bench, b'P'), 1);
    bench.run(|unit| sweep(unit, time(2_002_000), 90)).expect("a sweep");
    assert_eq!(keys(&bench, b'P') + keys(&bench, b'p') + keys(&bench, b'X'), 0);
}

#[test]
fn what_can_not_be_read_holds_up_nothing_else_and_is_looked_at_another_day() {
    let bench = Bench::new();
    let user = bench.user("alice");
    for n in 0..4 {
        bench.run(|unit| create_session(unit, &session(&user, n))).expect("a session");
    }
    // As many as one sweep looks at, all of them due before the good one.
    let good = session(&user, 3).digest;
    for n in 0..3 {
        bench.0.insert(keys::session(session(&user, n).digest), b"?").expect("a row");
    }
    let swept = |at: u64, limit| bench.run(|unit| sweep(unit, time(at), limit)).expect("a sweep").0;
    swept(1_110_000, 3);
    swept(1_110_000, 3);
    assert!(bench.0.session(good).expect("a read").is_none(), "it is swept");
    assert_eq!((keys(&bench, b'S'), keys(&bench, b'X')), (3, 3), "the rest waits");
    assert!(!swept(1_115_000, 3), "nothing is due today");

    // Somebody has mended one: another day it goes like any other.
    let mended = KeptSession { session: session(&user, 0), swept_at: 1_100 };
    let row = record::encode_session(&mended).expect("encodes");
    bench.0.insert(keys::session(mended.session.digest), row).expect("a row");
    swept(1_110_000 + 2 * 24 * 3_600_000, 90);
    assert_eq!((keys(&bench, b'S'), keys(&bench, b'X')), (2, 2));
}
