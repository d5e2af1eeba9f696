//! The store from outside: what its callers rely on, and what disks and processes do to it.
//!
//! Some tests kill a process or crash a filesystem. The process is this binary itself, started
//! again for the one test `worker`; the filesystems need the right to mount, and without it those
//! tests say so and pass.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant, SystemTime};

use foregate::identity::UserId;
use foregate::store::{
    ConfirmationLink, Digest, EndSessions, Invitation, InvitationError, Inviters, NewUser, OneTimeToken,
    OpenError, PersonalToken, Purpose, Registered, Session, SessionError, SigningKey, Store, StoreError,
    StoreSettings, TokenError, User, UserChange, UserError,
};
use secrecy::{ExposeSecret, SecretBox};
use tokio::task::JoinSet;

// ---- what the tests are made of --------------------------------------------------------------

/// Without reserves: a test's disk is small, and the machine's may be nearly full.
fn settings(directory: &Path) -> StoreSettings {
    StoreSettings {
        cache_bytes: 8 << 20,
        directory: directory.to_owned(),
        registration_reserve_bytes: 0,
        write_reserve_bytes: 0,
    }
}

fn open(directory: &Path) -> Store {
    Store::open(settings(directory)).unwrap_or_else(|error| panic!("{error}"))
}

fn new_user(name: &str) -> NewUser {
    NewUser {
        awaits_approval: false,
        awaits_confirmation: false,
        created_at: SystemTime::now(),
        disabled: false,
        email: Some(format!("{name}@example.com").parse().expect("an address")),
        email_is_proven: false,
        language: None,
        name: name.parse().expect("a display name"),
        password_hash: Some("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".into()),
        roles: BTreeSet::new(),
        username: name.parse().expect("a username"),
    }
}

fn session(user: &User, label: &str) -> Session {
    let now = SystemTime::now();
    Session {
        authenticated_at: now,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        digest: Digest::of(label.as_bytes()),
        expires_at: now + Duration::from_secs(3600),
        idle_timeout: Duration::from_secs(1800),
        last_seen: now,
        remembered: false,
        user_agent: "Mozilla/5.0".to_owned(),
        user_id: user.id,
    }
}

fn link(user: &User, label: &str) -> OneTimeToken {
    OneTimeToken {
        digest: Digest::of(label.as_bytes()),
        expires_at: SystemTime::now() + Duration::from_secs(600),
        purpose: Purpose::SetPassword,
        user_id: user.id,
    }
}

fn personal_token(user: &User, label: &str) -> PersonalToken {
    PersonalToken {
        created_at: SystemTime::now(),
        digest: Digest::of(label.as_bytes()),
        expires_at: Some(SystemTime::now() + Duration::from_secs(3600)),
        label: label.parse().expect("a label"),
        last_used_at: None,
        routes: ["dav".to_owned()].into(),
        scopes: BTreeSet::from(["introspect".parse().expect("a scope")]),
        user_id: user.id,
    }
}

async fn assert_whole(store: &Store) {
    let found = store.verify().await.expect("a check");
    assert_eq!(found.faults, 0, "{found:?}");
}

/// Tries until it works: for what happens by itself and announces itself to nobody.
async fn eventually<T, E: std::fmt::Display>(mut attempt: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < deadline, "still after a minute: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

// ---- accounts, sessions, tokens, keys --------------------------------------------------------

#[tokio::test]
async fn an_account_is_found_by_every_spelling_and_lists_come_in_pages() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    for name in ["Bob", "alice", "Zoë"] {
        store.create_user(new_user(name).clone()).await.expect("an account");
    }
    for login in ["alice", "ALICE", "Alice@Example.COM"] {
        let found = store.user_by_login(login).expect("a read");
        assert_eq!(found.expect(login).username.as_str(), "alice");
    }
    assert!(store.user_by_login("nobody").expect("a read").is_none());
    assert!(store.user_by_login("").expect("a read").is_none());

    let users = async |after: Option<String>, limit| -> Vec<User> {
        let page = store.users(after, limit).await.expect("a page");
        page.into_iter().map(|user| user.expect("it can be read")).collect()
    };
    let first = users(None, 2).await;
    let names: Vec<_> = first.iter().map(|user| user.username.as_str()).collect();
    assert_eq!(names, ["alice", "Bob"]);
    let rest = users(Some(first[1].username.to_string()), 10).await;
    assert_eq!(rest.iter().map(|user| user.username.as_str()).collect::<Vec<_>>(), ["Zoë"]);
}

#[tokio::test]
async fn of_many_who_register_one_name_or_accept_one_invitation_exactly_one_gets_in() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let ends = SystemTime::now() + Duration::from_secs(600);
    let mut tasks = JoinSet::new();
    for n in 0..64 {
        let store = store.clone();
        let mut new = new_user(if n % 2 == 0 { "alice" } else { "ALICE" });
        new.email = Some(format!("alice-{n}@example.com").parse().expect("an address"));
        let link = ConfirmationLink { digest: Digest::of(format!("l{n}").as_bytes()), expires_at: ends };
        tasks.spawn(async move { (n, store.register(new, link).await) });
    }
    let mut made = Vec::new();
    while let Some(outcome) = tasks.join_next().await {
        match outcome.expect("no panic") {
            (n, Ok(Registered::Made(_))) => made.push(n),
            (_, Err(UserError::UsernameTaken)) => (),
            (n, other) => panic!("{n}: {other:?}"),
        }
    }
    let [winner] = made[..] else { panic!("{made:?}") };
    let link = Digest::of(format!("l{winner}").as_bytes());
    let mut confirmed = 0;
    let mut tasks = JoinSet::new();
    for _ in 0..16 {
        let store = store.clone();
        tasks.spawn(async move { store.confirm_email(link, SystemTime::now()).await });
    }
    while let Some(outcome) = tasks.join_next().await {
        confirmed += usize::from(outcome.expect("no panic").is_ok());
    }
    assert_eq!(confirmed, 1);

    let invitation = Invitation {
        digest: Digest::of(b"invitation"),
        email: "eve@example.com".parse().expect("an address"),
        expires_at: ends,
        invited_by: None,
        roles: BTreeSet::new(),
    };
    store.create_invitation(invitation.clone(), 1).await.expect("an invitation");
    assert_eq!(
        store.invitation(invitation.digest, &Inviters::Nobody, SystemTime::now()).expect("it is good").email,
        invitation.email
    );
    let mut tasks = JoinSet::new();
    for n in 0..16 {
        let store = store.clone();
        let new = NewUser { email: None, ..new_user(&format!("eve-{n}")) };
        tasks.spawn(async move {
            store.accept_invitation(Digest::of(b"invitation"), Inviters::Nobody, new, SystemTime::now()).await
        });
    }
    let mut accepted = 0;
    while let Some(outcome) = tasks.join_next().await {
        match outcome.expect("no panic") {
            Ok(_) => accepted += 1,
            Err(InvitationError::Invalid) => (),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(accepted, 1);
    assert_whole(&store).await;
}

#[tokio::test]
async fn of_many_who_want_one_name_or_address_exactly_one_gets_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let mut tasks = JoinSet::new();
    for n in 0..64 {
        let store = store.clone();
        let mut new = new_user(if n % 2 == 0 { "alice" } else { "ALICE" });
        new.email = None;
        tasks.spawn(async move { store.create_user(new).await });
    }
    let (mut made, mut taken) = (0, 0);
    while let Some(outcome) = tasks.join_next().await {
        match outcome.expect("no panic") {
            Ok(_) => made += 1,
            Err(UserError::UsernameTaken) => taken += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((made, taken), (1, 63));

    for n in 0..64 {
        let store = store.clone();
        let mut new = new_user(&format!("user-{n}"));
        new.email = Some("Same@Example.com".parse().expect("an address"));
        tasks.spawn(async move { store.create_user(new).await });
    }
    let outcomes = tasks.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Err(UserError::EmailTaken))).count(), 63);
    assert_whole(&store).await;
}

#[tokio::test]
async fn many_accounts_at_once_are_each_whole_and_unique_whoever_else_makes_some() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let taken = store.create_user(new_user("user-7")).await.expect("an account");
    let batch = || (0..1000).map(|n| new_user(&format!("user-{n}"))).collect::<Vec<_>>();
    let told = store.check_users(batch()).await.expect("a look");
    assert!(matches!(told[7], Err(UserError::UsernameTaken)), "{:?}", told[7]);
    assert_eq!(told.iter().filter(|one| one.is_ok()).count(), 999);
    assert_eq!(store.verify().await.expect("a check").accounts, 1, "a look makes nothing");

    // Four who make the same thousand, beside somebody who makes others.
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let store = store.clone();
        tasks.spawn(async move { store.create_users(batch()).await });
    }
    for n in 0..200 {
        store.create_user(new_user(&format!("other-{n}"))).await.expect("an account");
    }
    let mut made = 0;
    for results in tasks.join_all().await {
        assert_eq!(results.len(), 1000);
        for (n, result) in results.iter().enumerate() {
            match result {
                Ok(user) => {
                    assert_eq!(user.username.as_str(), format!("user-{n}"));
                    made += 1;
                }
                Err(UserError::UsernameTaken) => (),
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert_eq!(made, 999);
    assert_eq!(store.user(taken.id).expect("a read").expect("it stays").version, 1);

    // One that is refused leaves nothing of itself in the batch of the others.
    let mut large = new_user("large");
    large.roles = (0..500).map(|n| format!("role-number-{n}").parse().expect("a role")).collect();
    let mut disabled = new_user("disabled");
    disabled.disabled = true;
    let mut same = new_user("same");
    same.email.clone_from(&disabled.email);
    let results = store.create_users(vec![large, disabled, same, new_user("last")]).await;
    assert!(matches!(results[0], Err(UserError::Store(StoreError::TooLarge { .. }))), "{:?}", results[0]);
    assert!(results[1].as_ref().is_ok_and(|user| user.disabled), "{:?}", results[1]);
    assert!(matches!(results[2], Err(UserError::EmailTaken)), "{:?}", results[2]);
    assert!(results[3].is_ok(), "{:?}", results[3]);
    assert!(store.user_by_login("large@example.com").expect("a read").is_none());
    assert_whole(&store).await;
    assert_eq!(store.verify().await.expect("a check").accounts, 1202);

    let last = store.clone();
    store.close().await;
    let results = last.create_users(vec![new_user("a"), new_user("b")]).await;
    let failed = |result: &Result<User, UserError>| {
        matches!(result, Err(UserError::Store(StoreError::Unavailable(_))))
    };
    assert!(results.len() == 2 && results.iter().all(failed), "{results:?}");
}

#[tokio::test]
async fn a_one_time_token_works_once_for_all_who_hold_it_and_ends_the_sessions() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let user = store.create_user(new_user("alice")).await.expect("an account");
    store.create_session(session(&user, "s")).await.expect("a session");
    store.create_one_time_token(link(&user, "old")).await.expect("a token");
    store.create_one_time_token(link(&user, "new")).await.expect("a token");
    let now = SystemTime::now();
    let old = store.one_time_token(Digest::of(b"old"), now);
    assert!(matches!(old, Err(TokenError::Invalid)), "the older one is void: {old:?}");
    let late = store.one_time_token(Digest::of(b"new"), now + Duration::from_secs(601));
    assert!(matches!(late, Err(TokenError::Invalid)), "{late:?}");

    let mut tasks = JoinSet::new();
    for n in 0..32 {
        let store = store.clone();
        tasks.spawn(async move {
            store.set_password_with_token(Digest::of(b"new"), format!("hash-{n}").into(), now).await
        });
    }
    let outcomes = tasks.join_all().await;
    let won: Vec<_> = outcomes.iter().flatten().collect();
    assert_eq!(won.len(), 1, "{outcomes:?}");
    let kept = store.user(user.id).expect("a read").expect("the account").password_hash.expect("a hash");
    let answered = won[0].password_hash.as_ref().expect("a hash");
    assert_eq!(kept.expose_secret(), answered.expose_secret());
    assert!(store.session(Digest::of(b"s")).expect("a read").is_none(), "the session goes on");
}

#[tokio::test]
async fn disabling_ends_everything_and_nothing_new_begins() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let user = store.create_user(new_user("alice")).await.expect("an account");
    store.create_session(session(&user, "s")).await.expect("a session");
    store.create_one_time_token(link(&user, "t")).await.expect("a token");

    let change = UserChange { disabled: Some(true), ..UserChange::default() };
    let changed = store.change_user(user.id, change).await.expect("a change");
    assert!(changed.disabled && changed.version > user.version);
    assert!(store.session(Digest::of(b"s")).expect("a read").is_none());
    let token = store.one_time_token(Digest::of(b"t"), SystemTime::now());
    assert!(matches!(token, Err(TokenError::Invalid)), "{token:?}");
    let session = store.create_session(session(&user, "s2")).await;
    assert!(matches!(session, Err(SessionError::NoAccount)), "{session:?}");
    let token = store.create_one_time_token(link(&user, "t2")).await;
    assert!(matches!(token, Err(TokenError::Invalid)), "{token:?}");
    assert_whole(&store).await;
}

#[tokio::test]
async fn personal_tokens_stay_through_a_new_password_and_end_with_a_disabled_account_for_good() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let user = store.create_user(new_user("alice")).await.expect("an account");
    let other = store.create_user(new_user("bob")).await.expect("an account");
    store.create_personal_token(personal_token(&other, "theirs"), None).await.expect("a token");
    for n in 0..100 {
        store.create_personal_token(personal_token(&user, &format!("t{n}")), None).await.expect("a token");
    }
    let password = UserChange {
        password: Some(("new".into(), SystemTime::now())),
        sessions: EndSessions::All,
        ..UserChange::default()
    };
    store.change_user(user.id, password).await.expect("a change");
    assert_eq!(store.personal_tokens_of(user.id).await.expect("a list").len(), 100);
    let disabled = |disabled| UserChange { disabled: Some(disabled), ..UserChange::default() };
    store.change_user(user.id, disabled(false)).await.expect("it is enabled as it was");
    assert_eq!(store.personal_tokens_of(user.id).await.expect("a list").len(), 100);
    store.change_user(user.id, disabled(true)).await.expect("a change");
    assert_eq!(store.personal_tokens_of(user.id).await.expect("a list"), []);
    store.change_user(user.id, disabled(false)).await.expect("a change");
    store.create_personal_token(personal_token(&user, "new"), None).await.expect("a token");
    store.delete_user(user.id).await.expect("a deletion");
    assert_eq!(store.personal_token(Digest::of(b"new")).expect("a read"), None);
    assert!(store.personal_token(Digest::of(b"theirs")).expect("a read").is_some());
    assert_whole(&store).await;
}

#[tokio::test]
async fn a_deleted_account_leaves_nothing_and_frees_its_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let user = store.create_user(new_user("alice")).await.expect("an account");
    for n in 0..3 {
        store.create_session(session(&user, &format!("s{n}"))).await.expect("a session");
    }
    store.create_one_time_token(link(&user, "t")).await.expect("a token");
    store.delete_user(user.id).await.expect("a deletion");
    let again = store.delete_user(user.id).await;
    assert!(matches!(again, Err(UserError::NotFound)), "{again:?}");
    let found = store.verify().await.expect("a check");
    assert_eq!((found.accounts, found.sessions, found.one_time_tokens, found.faults), (0, 0, 0, 0));
    let new = store.create_user(new_user("alice")).await.expect("the name is free");
    assert_ne!(new.id, user.id);
}

#[tokio::test]
async fn sessions_end_one_by_one_together_and_at_the_cap() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let user = store.create_user(new_user("alice")).await.expect("an account");
    for n in 0..105_u64 {
        let mut session = session(&user, &format!("s{n}"));
        session.authenticated_at += Duration::from_secs(n);
        let ended = store.create_session(session).await.expect("a session");
        let oldest = n.checked_sub(100).map(|n| Digest::of(format!("s{n}").as_bytes()));
        assert_eq!(ended, Vec::from_iter(oldest), "for s{n}");
    }
    let kept = store.sessions_of(user.id).await.expect("a list");
    assert_eq!(kept.len(), 100);
    for (label, there) in [("s4", false), ("s5", true), ("s104", true)] {
        let found = store.session(Digest::of(label.as_bytes())).expect("a read");
        assert_eq!(found.is_some(), there, "{label}");
    }
    assert!(store.end_session(Digest::of(b"s5")).await.expect("an end"));
    assert!(!store.end_session(Digest::of(b"s5")).await.expect("an end"));
    let keep = EndSessions::Except(Digest::of(b"s6"));
    assert_eq!(store.end_sessions_of(user.id, keep).await.expect("an end"), 98);
    let left = store.sessions_of(user.id).await.expect("a list");
    assert_eq!(left.iter().map(|session| session.digest).collect::<Vec<_>>(), [Digest::of(b"s6")]);
    assert_whole(&store).await;
}

#[tokio::test]
async fn all_sessions_are_walked_through_by_account_and_one_is_found_by_its_short_id() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let mut made = BTreeSet::new();
    for name in ["alice", "bob", "carol"] {
        let user = store.create_user(new_user(name)).await.expect("an account");
        store.create_one_time_token(link(&user, name)).await.expect("a link");
        for n in 0..4 {
            let session = session(&user, &format!("{name} {n}"));
            made.insert((user.id, session.digest));
            store.create_session(session).await.expect("a session");
        }
    }
    for slice in [1, 5, 12, 100] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let some = store.sessions(after, slice).await.expect("a slice");
            assert!(some.len() <= slice);
            seen.extend(some.iter().map(|session| (session.user_id, session.digest)));
            let Some(last) = some.last() else { break };
            after = Some((last.user_id, last.digest));
        }
        assert_eq!(seen, Vec::from_iter(made.clone()), "by {slice}");
    }
    let bob = store.user_by_login("bob").expect("a read").expect("an account");
    let digest = Digest::of(b"bob 2");
    let found = store.session_by_short_id(digest.into()).expect("a read");
    assert_eq!(found.map(|session| (session.user_id, session.digest)), Some((bob.id, digest)));
    assert!(store.session_by_short_id(Digest::of(b"nobody").into()).expect("a read").is_none());
    // Only the sessions: what is on its way by mail stays good.
    assert_eq!(store.end_sessions_of(bob.id, EndSessions::AllSessions).await.expect("an end"), 4);
    assert!(store.session_by_short_id(digest.into()).expect("a read").is_none());
    store.one_time_token(Digest::of(b"bob"), SystemTime::now()).expect("the link is good");
    assert_eq!(store.sessions(None, 100).await.expect("a slice").len(), 8);
    assert_whole(&store).await;
}

#[tokio::test]
async fn a_change_for_an_account_as_it_was_is_refused_when_its_password_is_new() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let user = store.create_user(new_user("alice")).await.expect("an account");
    let to = |hash: &str, since| UserChange {
        credentials_since: Some(since),
        password: Some((hash.into(), SystemTime::now())),
        ..UserChange::default()
    };
    let changed = store.change_user(user.id, to("new", user.credentials_since)).await.expect("a change");
    let late = store.change_user(user.id, to("late", user.credentials_since)).await;
    assert!(matches!(late, Err(UserError::NotFound)), "{late:?}");
    store.change_user(user.id, to("newer", changed.credentials_since)).await.expect("a change");
}

#[tokio::test]
async fn what_is_over_is_swept_and_a_use_is_noted() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let user = store.create_user(new_user("alice")).await.expect("an account");
    let mut over = session(&user, "over");
    over.expires_at = SystemTime::now() - Duration::from_secs(10);
    store.create_session(over).await.expect("a session");
    let mut used = session(&user, "used");
    used.last_seen -= Duration::from_secs(1790);
    let before = used.last_seen;
    store.create_session(used).await.expect("a session");
    store.touch_session(Digest::of(b"used"), SystemTime::now());
    eventually(async || match store.session(Digest::of(b"used")).expect("a read") {
        Some(session) if session.last_seen > before + Duration::from_secs(1000) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    eventually(async || match store.session(Digest::of(b"over")).expect("a read") {
        None => Ok(()),
        Some(_) => Err("not swept"),
    })
    .await;
    assert_whole(&store).await;
}

#[tokio::test]
async fn keys_and_secrets_are_made_once_for_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let mut tasks = JoinSet::new();
    for n in 0..8_u8 {
        let store = store.clone();
        tasks.spawn(async move {
            let candidate = SigningKey {
                algorithm: "EdDSA".to_owned(),
                created_at: SystemTime::now(),
                kid: format!("kid-{n}"),
                private: SecretBox::new(vec![n; 48].into_boxed_slice()),
                signs_from: SystemTime::now(),
            };
            let keys = store.ensure_signing_key(candidate).await.expect("keys");
            assert_eq!(keys.len(), 1);
            let secret = store.ensure_secret("csrf", [n; 32]).await.expect("a secret");
            (keys[0].kid.clone(), keys[0].private.expose_secret().to_vec(), secret)
        });
    }
    let mut answers = tasks.join_all().await;
    answers.dedup();
    assert_eq!(answers.len(), 1, "all got the same");
    store.close().await;
    let store = open(directory.path());
    let kept = store.signing_keys().expect("keys");
    assert_eq!(kept.iter().map(|key| key.kid.clone()).collect::<Vec<_>>(), [answers[0].0.clone()]);
}

#[tokio::test]
async fn a_hash_is_upgraded_only_while_it_is_the_old_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let mut new = new_user("alice");
    new.password_hash = Some("old".into());
    let user = store.create_user(new).await.expect("an account");
    assert!(store.upgrade_hash(user.id, "old".into(), "better".into()).await.expect("an answer"));
    assert!(!store.upgrade_hash(user.id, "old".into(), "worse".into()).await.expect("an answer"));
    let kept = store.user(user.id).expect("a read").expect("the account").password_hash.expect("a hash");
    assert_eq!(kept.expose_secret(), "better");
}

#[tokio::test]
async fn a_record_that_is_too_large_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let mut new = new_user("alice");
    new.roles = (0..1000).map(|n| format!("role-number-{n}").parse().expect("a role")).collect();
    let refused = store.create_user(new).await;
    assert!(matches!(refused, Err(UserError::Store(StoreError::TooLarge { .. }))), "{refused:?}");
    store.create_user(new_user("alice")).await.expect("the name is free");
}

// ---- load ------------------------------------------------------------------------------------

#[tokio::test]
async fn sixteen_and_256_tasks_that_write_never_hang() {
    for (tasks, rounds) in [(16, 16), (256, 4)] {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(directory.path());
        let started = Instant::now();
        let mut running = JoinSet::new();
        for task in 0..tasks {
            let store = store.clone();
            running.spawn(async move {
                for round in 0..rounds {
                    let name = format!("u{task}-{round}");
                    let user = store.create_user(new_user(&name)).await.expect("an account");
                    store.create_session(session(&user, &name)).await.expect("a session");
                    store.touch_session(Digest::of(name.as_bytes()), SystemTime::now());
                    assert!(store.user_by_login(&name).expect("a read").is_some());
                    assert!(store.end_session(Digest::of(name.as_bytes())).await.expect("an end"));
                }
            });
        }
        let watchdog = Duration::from_secs(60);
        tokio::time::timeout(watchdog, running.join_all()).await.expect("a hang");
        let writes = 3 * tasks * rounds;
        println!("{tasks} tasks: {writes} durable writes in {:?}", started.elapsed());
        assert_whole(&store).await;
    }
}

#[tokio::test]
async fn a_flood_is_answered_busy_and_leaves_the_store_well() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let mut flood = JoinSet::new();
    for n in 0..4000 {
        let store = store.clone();
        flood.spawn(async move { store.create_user(new_user(&format!("u{n}"))).await });
    }
    let outcomes = flood.join_all().await;
    let made = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let busy = outcomes.iter().filter(|o| matches!(o, Err(UserError::Store(StoreError::Busy)))).count();
    assert_eq!(made + busy, 4000, "an outcome that is neither");
    assert!(made >= 1024 && busy > 0, "{made} made, {busy} refused");
    let found = store.verify().await.expect("a check");
    assert_eq!((found.accounts, found.faults), (made as u64, 0));
}

#[tokio::test]
async fn after_close_every_clone_says_unavailable_and_the_directory_is_free() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let user = store.create_user(new_user("alice")).await.expect("an account");
    let clone = store.clone();
    store.close().await;
    assert!(matches!(clone.user(user.id), Err(StoreError::Unavailable(_))));
    let write = clone.create_user(new_user("bob")).await;
    assert!(matches!(write, Err(UserError::Store(StoreError::Unavailable(_)))), "{write:?}");
    assert!(matches!(clone.health(), Err(StoreError::Unavailable(_))));
    clone.close().await;
    let store = open(directory.path());
    assert!(store.user(user.id).expect("a read").is_some());
}

// ---- opening ---------------------------------------------------------------------------------

#[tokio::test]
async fn a_second_opening_is_told_of_the_admin_socket() {
    let directory = tempfile::tempdir().expect("a directory");
    let _store = open(directory.path());
    let second = Store::open(settings(directory.path())).err().expect("refused");
    assert!(matches!(second, OpenError::Locked { .. }), "{second}");
    let socket = directory.path().join("admin.sock");
    assert!(second.to_string().contains(&socket.display().to_string()), "{second}");
}

#[tokio::test]
async fn a_store_that_lost_its_content_is_no_fresh_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    store.create_user(new_user("alice")).await.expect("an account");
    store.close().await;
    fs::write(directory.path().join("db"), b"").expect("an empty log");
    let emptied = Store::open(settings(directory.path())).err().expect("refused");
    assert!(matches!(emptied, OpenError::Emptied { .. }), "{emptied}");

    // What the engine makes of a log that a crash cut back to nothing: an empty tree, without an error.
    for foreign in [None, Some(("key", "value"))] {
        let directory = tempfile::tempdir().expect("a directory");
        let db = sled::open(directory.path()).expect("an engine");
        if let Some((key, value)) = foreign {
            db.insert(key, value).expect("a row");
        }
        db.flush().expect("a flush");
        drop(db);
        let emptied = Store::open(settings(directory.path())).err().expect("refused");
        assert!(matches!(emptied, OpenError::Emptied { .. }), "{emptied}");
    }
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    open(directory.path()).close().await;
    let db = sled::open(directory.path()).expect("an engine");
    db.insert("Mformat", &3_u32.to_be_bytes()).expect("a row");
    db.flush().expect("a flush");
    drop(db);
    let newer = Store::open(settings(directory.path())).err().expect("refused");
    assert!(matches!(newer, OpenError::Newer { found: 3, known: 2, .. }), "{newer}");
}

#[tokio::test]
async fn a_path_that_is_no_directory_is_refused_and_a_new_one_is_private() {
    use std::os::unix::fs::MetadataExt;

    let parent = tempfile::tempdir().expect("a directory");
    let file = parent.path().join("file");
    fs::write(&file, "x").expect("a file");
    let refused = Store::open(settings(&file)).err().expect("refused");
    assert!(matches!(refused, OpenError::NotADirectory { .. }), "{refused}");
    let refused = Store::open(settings(&file.join("below"))).err().expect("refused");
    assert!(matches!(refused, OpenError::NotADirectory { .. }), "{refused}");

    let new = parent.path().join("a/b");
    open(&new).close().await;
    assert_eq!(fs::metadata(&new).expect("made").mode() & 0o777, 0o700);
}

#[tokio::test]
async fn cut_and_half_written_snapshots_are_set_aside_and_nothing_is_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    for n in 0..200 {
        store.create_user(new_user(&format!("u{n}"))).await.expect("an account");
    }
    store.close().await;
    // The engine writes a snapshot of what it found when it opens.
    open(directory.path()).close().await;
    let names =
        || fs::read_dir(directory.path()).expect("a list").map(|entry| entry.expect("an entry").path());
    let is_snapshot =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"snap."));
    let snapshot = names().find(is_snapshot).expect("a snapshot after a clean stop");
    let half = fs::metadata(&snapshot).expect("a file").len() / 2;
    fs::OpenOptions::new().write(true).open(&snapshot).and_then(|file| file.set_len(half)).expect("cut");
    fs::write(directory.path().join("snap.FFFFFFFF.generating"), "half").expect("a file");

    let store = open(directory.path());
    let found = store.verify().await.expect("a check");
    assert_eq!((found.accounts, found.faults), (200, 0));
    let aside = names().find(|path| path.display().to_string().contains("aside-")).expect("kept");
    assert_eq!(fs::read_dir(aside).expect("a list").count(), 2);
}

#[tokio::test]
async fn a_damaged_log_is_refused_or_whole_and_never_cut_short_in_silence() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let mut making = JoinSet::new();
    for n in 0..3000 {
        let store = store.clone();
        making.spawn(async move {
            let name = format!("u{n}");
            while let Err(error) = store.create_user(new_user(&name)).await {
                assert!(matches!(error, UserError::Store(StoreError::Busy)), "{error}");
                tokio::task::yield_now().await;
            }
        });
    }
    making.join_all().await;
    store.close().await;
    let log = directory.path().join("db");
    let mut bytes = fs::read(&log).expect("a log");
    let (from, to) = (bytes.len() / 4, bytes.len() / 2);
    bytes[from..to].iter_mut().for_each(|byte| *byte ^= 0x5a);
    fs::write(&log, &bytes).expect("a log");
    // Which of them depends on what was where: the damage may be in space that is no longer used.
    match Store::open(settings(directory.path())) {
        Ok(store) => {
            let found = store.verify().await.expect("a check");
            assert_eq!((found.accounts, found.faults), (3000, 0), "{found:?}");
        }
        Err(refused) => {
            assert!(matches!(refused, OpenError::Corrupt { .. } | OpenError::Shortened { .. }), "{refused}");
            assert!(refused.to_string().contains("backup"), "{refused}");
        }
    }
}

#[tokio::test]
async fn a_log_that_ends_before_the_last_acknowledged_write_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    store.create_user(new_user("alice")).await.expect("an account");
    store.close().await;
    let earlier = fs::read(directory.path().join("db")).expect("a log");
    let store = open(directory.path());
    store.create_user(new_user("bob")).await.expect("an account");
    store.close().await;
    for entry in fs::read_dir(directory.path()).expect("a list") {
        let entry = entry.expect("an entry");
        if entry.file_name().as_encoded_bytes().starts_with(b"snap.") {
            fs::remove_file(entry.path()).expect("gone");
        }
    }
    fs::write(directory.path().join("db"), earlier).expect("a log");
    let refused = Store::open(settings(directory.path())).err().expect("refused");
    assert!(matches!(refused, OpenError::Shortened { .. }), "{refused}");

    // The way on that the message names.
    fs::remove_file(directory.path().join("acknowledged")).expect("gone");
    let store = open(directory.path());
    assert!(store.user_by_login("alice").expect("a read").is_some());
    assert!(store.user_by_login("bob").expect("a read").is_none());
}

// ---- kill -9 and a crash of the host ---------------------------------------------------------

const WORKER: &str = "FOREGATE_TEST_STORE_WORKER";

/// Not a test when run with the others: the process that `Worker` starts and kills. Says what it is
/// about to do and what was acknowledged, one line each.
#[tokio::test]
async fn worker() {
    let Ok(order) = std::env::var(WORKER) else { return };
    let (round, directory) = order.split_once(' ').expect("a round and a directory");
    let store = open(Path::new(directory));
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let (store, prefix) = (store.clone(), format!("r{round}-t{task}"));
        tasks.spawn(async move {
            let mut n = 0;
            // It goes on until it is killed, or until the disk is taken away.
            while churn(&store, &format!("{prefix}-{n}"), n).await.is_some() {
                n += 1;
            }
        });
    }
    tasks.join_all().await;
    say("idle", "");
    // Whoever reads is about to kill this process.
    std::future::pending::<()>().await;
}

async fn churn(store: &Store, name: &str, n: usize) -> Option<()> {
    say("making-user", name);
    let user = store.create_user(new_user(name)).await.ok()?;
    say("made-user", name);
    for twin in ["a", "b"] {
        let label = format!("{name}/{twin}");
        say("making-session", &label);
        store.create_session(session(&user, &label)).await.ok()?;
        say("made-session", &label);
    }
    for twin in ["p", "q"] {
        let label = format!("{name}/{twin}");
        say("making-token", &label);
        store.create_personal_token(personal_token(&user, &label), None).await.ok()?;
        say("made-token", &label);
    }
    if n.is_multiple_of(2) {
        let label = format!("{name}/b");
        say("ending-session", &label);
        store.end_session(Digest::of(label.as_bytes())).await.ok()?;
        say("ended-session", &label);
        let label = format!("{name}/q");
        say("ending-token", &label);
        store.revoke_personal_token(personal_token(&user, &label).id(), None).await.ok()?;
        say("ended-token", &label);
    }
    if n.is_multiple_of(3) {
        say("ending-user", name);
        store.delete_user(user.id).await.ok()?;
        say("ended-user", name);
    }
    Some(())
}

fn say(what: &str, name: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n@ {what} {name}").expect("the parent reads");
}

struct Worker {
    lines: Receiver<String>,
    process: Child,
}

impl Worker {
    fn start(directory: &Path, round: usize) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this binary"))
            .args(["worker", "--exact", "--nocapture", "--test-threads=1"])
            .env(WORKER, format!("{round} {}", directory.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let out = process.stdout.take().expect("a pipe");
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let mut out = BufReader::new(out);
            let mut line = String::new();
            // A line that the kill cut short was not said.
            while out.read_line(&mut line).is_ok_and(|read| read > 0) && line.ends_with('\n') {
                if let Some(said) = line.strip_prefix("@ ") {
                    let _ = send.send(said.trim_end().to_owned());
                }
                line.clear();
            }
        });
        Self { lines, process }
    }

    /// Everything that was said until the end.
    fn kill(mut self) -> impl Iterator<Item = String> {
        self.process.kill().expect("SIGKILL");
        self.process.wait().expect("an end");
        self.lines.into_iter()
    }
}

/// What must be there, what must not, and (`None`) what was under way.
#[derive(Default)]
struct Expected {
    acknowledged: usize,
    sessions: HashMap<String, Option<bool>>,
    tokens: HashMap<String, Option<bool>>,
    users: HashMap<String, Option<bool>>,
}

impl Expected {
    fn hear(&mut self, said: &str) {
        let Some((what, name)) = said.split_once(' ') else { return };
        let (rows, state) = match what {
            "making-user" | "ending-user" => (&mut self.users, None),
            "made-user" => (&mut self.users, Some(true)),
            "ended-user" => (&mut self.users, Some(false)),
            "making-session" | "ending-session" => (&mut self.sessions, None),
            "made-session" => (&mut self.sessions, Some(true)),
            "ended-session" => (&mut self.sessions, Some(false)),
            "making-token" | "ending-token" => (&mut self.tokens, None),
            "made-token" => (&mut self.tokens, Some(true)),
            "ended-token" => (&mut self.tokens, Some(false)),
            _ => return,
        };
        self.acknowledged += usize::from(state.is_some());
        rows.insert(name.to_owned(), state);
        if what == "ending-user" || what == "ended-user" {
            for (rows, twins) in [(&mut self.sessions, ["a", "b"]), (&mut self.tokens, ["p", "q"])] {
                for twin in twins {
                    let label = format!("{name}/{twin}");
                    if rows.get(&label) != Some(&Some(false)) {
                        rows.insert(label, state);
                    }
                }
            }
        }
    }

    /// Everything acknowledged is there; what was under way is whole, and from now on what it is.
    async fn check(&mut self, store: &Store, when: &str) {
        for (name, state) in &mut self.users {
            let there = store.user_by_login(name).expect("a read").is_some();
            assert_eq!(there, state.unwrap_or(there), "{when}: the account {name}");
            let address = format!("{name}@example.com");
            assert_eq!(store.user_by_login(&address).expect("a read").is_some(), there, "{when}: {address}");
            *state = Some(there);
        }
        for (label, state) in &mut self.sessions {
            let there = store.session(Digest::of(label.as_bytes())).expect("a read").is_some();
            assert_eq!(there, state.unwrap_or(there), "{when}: the session {label}");
            *state = Some(there);
        }
        for (label, state) in &mut self.tokens {
            let there = store.personal_token(Digest::of(label.as_bytes())).expect("a read").is_some();
            assert_eq!(there, state.unwrap_or(there), "{when}: the personal access token {label}");
            *state = Some(there);
        }
        let found = store.verify().await.expect("a check");
        assert_eq!(found.faults, 0, "{when}: {found:?}");
        let count = |rows: &HashMap<_, _>| rows.values().filter(|state| **state == Some(true)).count() as u64;
        let counted = (count(&self.users), count(&self.sessions), count(&self.tokens));
        assert_eq!(
            (found.accounts, found.sessions, found.personal_tokens),
            counted,
            "{when}: rows that nobody asked for"
        );
    }
}

/// Some milliseconds, different in each run and each round.
fn random_wait(below: u64) -> Duration {
    let random =
        UserId::generate().as_bytes()[8..].iter().fold(0_u64, |sum, byte| sum * 31 + u64::from(*byte));
    Duration::from_millis(random % below)
}

#[tokio::test]
async fn twenty_five_kills_lose_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut expected = Expected::default();
    for round in 0..25 {
        let worker = Worker::start(directory.path(), round);
        // Every fifth is killed wherever it is, in the middle of opening, say.
        if round % 5 != 0 {
            let first = worker.lines.recv_timeout(Duration::from_secs(60)).expect("a first line");
            expected.hear(&first);
        }
        // The one thing here that has to be a sleep: a random moment.
        std::thread::sleep(random_wait(200));
        worker.kill().for_each(|said| expected.hear(&said));
        let store = open(directory.path());
        expected.check(&store, &format!("round {round}")).await;
        store.close().await;
    }
    println!("25 kills, {} acknowledged writes, none lost", expected.acknowledged);
    assert!(expected.acknowledged > 500, "too few writes to prove anything: {}", expected.acknowledged);
}

/// A filesystem of its own, gone with the value.
struct Mount {
    directory: tempfile::TempDir,
}

impl Mount {
    fn tmpfs(megabytes: u32) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "none"])
            .arg(directory.path()))
        .then_some(Self { directory })
    }

    fn image(image: &Path) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(directory.path()))
            .then_some(Self { directory })
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// FS_IOC_SHUTDOWN without flushing the journal: what was not synced is gone, as it is when the
    /// power goes, and every further call is an error.
    fn crash(&self) -> bool {
        let crash = "import fcntl, os, struct, sys\n\
                     fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        run(Command::new("python3").args(["-c", crash]).arg(self.directory.path()))
    }

    /// Takes the room down to `left` bytes.
    fn fill(&self, left: u64) -> PathBuf {
        let path = self.directory.path().join("filler");
        let free = rustix::fs::statvfs(self.directory.path()).expect("statvfs");
        let fill = (free.f_bavail * free.f_frsize).saturating_sub(left);
        let mut file = fs::File::create(&path).expect("a file");
        // With nothing to be left, the end is where the disk says so.
        let copied = std::io::copy(&mut std::io::repeat(0).take(fill), &mut file);
        assert!(copied.is_ok() || left == 0, "{copied:?}");
        path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if !run(Command::new("umount").arg(self.directory.path())) {
            run(Command::new("umount").arg("--lazy").arg(self.directory.path()));
        }
    }
}

fn run(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[tokio::test]
async fn a_crash_of_the_host_loses_nothing_that_was_acknowledged() {
    let place = tempfile::tempdir().expect("a directory");
    let image = place.path().join("image");
    fs::File::create(&image).and_then(|file| file.set_len(128 << 20)).expect("an image");
    if !run(Command::new("mkfs.ext4").arg("-q").arg(&image)) {
        return println!("skipped: no mkfs.ext4 here");
    }
    let mut expected = Expected::default();
    for round in 0..4 {
        let Some(mount) = Mount::image(&image) else {
            return println!("skipped: loop devices can't be mounted here");
        };
        let worker = Worker::start(&mount.path(), round);
        let first = worker.lines.recv_timeout(Duration::from_secs(60)).expect("a first line");
        expected.hear(&first);
        std::thread::sleep(Duration::from_millis(100) + random_wait(300));
        if !mount.crash() {
            worker.kill().for_each(drop);
            return println!("skipped: the filesystem can't be shut down here");
        }
        worker.kill().for_each(|said| expected.hear(&said));
        drop(mount);
        let mount = Mount::image(&image).expect("mounted before");
        let store = open(&mount.path());
        expected.check(&store, &format!("crash {round}")).await;
        store.close().await;
    }
    println!("4 crashes, {} acknowledged writes, none lost", expected.acknowledged);
}

#[tokio::test]
async fn a_disk_that_dies_stops_writing_not_reading_and_hangs_nobody() {
    let place = tempfile::tempdir().expect("a directory");
    let image = place.path().join("image");
    fs::File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("an image");
    if !run(Command::new("mkfs.ext4").arg("-q").arg(&image)) {
        return println!("skipped: no mkfs.ext4 here");
    }
    let Some(mount) = Mount::image(&image) else {
        return println!("skipped: loop devices can't be mounted here");
    };
    let store = open(&mount.path());
    let user = store.create_user(new_user("alice")).await.expect("an account");
    if !mount.crash() {
        return println!("skipped: the filesystem can't be shut down here");
    }
    for n in 0..20 {
        let refused = store.create_user(new_user(&format!("u{n}"))).await;
        assert!(matches!(refused, Err(UserError::Store(StoreError::Unavailable(_)))), "{refused:?}");
        assert!(store.user(user.id).expect("reads go on").is_some());
    }
    // Longer than the store waits before it tries to recover, which must not cost the readers their tree.
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        assert!(store.user(user.id).expect("reads go on").is_some());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(store.health(), Err(StoreError::Unavailable(_))), "readiness is red");
    tokio::time::timeout(Duration::from_secs(60), store.close()).await.expect("a hang");
}

// ---- a full disk -----------------------------------------------------------------------------

async fn until_refused(store: &Store, prefix: &str) -> Vec<User> {
    let mut made = Vec::new();
    for n in 0..100_000 {
        match store.create_user(new_user(&format!("{prefix}{n}"))).await {
            Ok(user) => made.push(user),
            Err(UserError::Store(StoreError::Unavailable(_))) => return made,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the disk never filled up");
}

#[tokio::test]
async fn a_full_disk_stops_writing_not_reading_and_room_starts_it_again() {
    // Without a reserve the engine itself meets the end of the disk; with one it never does.
    for reserve in [0, 16 << 20] {
        let Some(mount) = Mount::tmpfs(48) else {
            return println!("skipped: tmpfs can't be mounted here");
        };
        let settings = StoreSettings { write_reserve_bytes: reserve, ..settings(&mount.path()) };
        let store = Store::open(settings).unwrap_or_else(|error| panic!("{error}"));
        let early = store.create_user(new_user("early")).await.expect("an account");
        let filler = mount.fill(if reserve == 0 { 0 } else { 1 << 20 });
        let made = until_refused(&store, "full").await;
        assert!(matches!(store.health(), Err(StoreError::Unavailable(_))), "readiness is red");
        for user in made.iter().chain([&early]) {
            assert!(store.user(user.id).expect("reads go on").is_some());
        }
        let refused = store.end_session(Digest::of(b"x")).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");

        fs::remove_file(filler).expect("room");
        eventually(async || store.create_user(new_user("late")).await).await;
        store.health().expect("readiness is green");
        for user in made.iter().chain([&early]) {
            assert!(store.user(user.id).expect("a read").is_some(), "{} was lost", user.username);
        }
        assert_whole(&store).await;
        println!("reserve {reserve}: {} accounts until the disk was full", made.len());
        store.close().await;
    }
}

#[tokio::test]
async fn a_nearly_full_disk_takes_sessions_and_no_accounts() {
    let Some(mount) = Mount::tmpfs(64) else {
        return println!("skipped: tmpfs can't be mounted here");
    };
    let settings = StoreSettings { registration_reserve_bytes: 256 << 20, ..settings(&mount.path()) };
    let store = Store::open(settings).unwrap_or_else(|error| panic!("{error}"));
    let user = store.create_user(new_user("early")).await.expect("an account");
    let filler = mount.fill(2 << 20);
    let refused = store.create_user(new_user("late")).await;
    assert!(matches!(refused, Err(UserError::Store(StoreError::Unavailable(_)))), "{refused:?}");
    store.create_session(session(&user, "s")).await.expect("sessions go on");
    fs::remove_file(filler).expect("room");
    store.create_user(new_user("late")).await.expect("an account");
    store.close().await;
}

// ---- backups ---------------------------------------------------------------------------------

#[tokio::test]
async fn a_backup_is_the_store_at_one_moment_whatever_changes_meanwhile() {
    let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let store = open(one.path());
    let mut users = Vec::new();
    for number in 0..150 {
        users.push(store.create_user(new_user(&format!("user{number}"))).await.expect("made"));
    }
    let cut = store.begin_backup();
    assert!(store.backup_changes(cut, 10, false).await.expect("it goes on").0.is_empty());
    let id = store.begin_backup();
    assert!(store.backup_changes(cut, 10, true).await.is_err(), "a new one takes its place");

    let mut rows = Vec::new();
    let mut slices = 0;
    loop {
        let after = rows.last().map_or(Vec::new(), |row: &foregate::store::BackupRow| row.key.clone());
        let slice = store.backup_rows(after, 40).await.expect("rows");
        if slice.is_empty() {
            break;
        }
        rows.extend(slice);
        slices += 1;
        // A new one, one that goes, one that gets another name for its mailbox, a login and its end.
        store.create_user(new_user(&format!("late{slices}"))).await.expect("made");
        store.delete_user(users[slices * 3].id).await.expect("gone");
        let address = format!("moved{slices}@example.com").parse().ok();
        let change = UserChange { email: Some(address), ..UserChange::default() };
        store.change_user(users[slices * 3 + 1].id, change).await.expect("changed");
        let label = format!("session{slices}");
        store.create_session(session(&users[slices * 3 + 2], &label)).await.expect("made");
        if slices % 2 == 0 {
            store.end_session(Digest::of(label.as_bytes())).await.expect("ended");
        }
    }
    assert!(slices > 5, "{slices}");
    for last in [false, true] {
        loop {
            let (some, all) = store.backup_changes(id, 7, last).await.expect("changes");
            rows.extend(some);
            if all {
                break;
            }
        }
        if !last {
            store.create_user(new_user("latest")).await.expect("made");
        }
    }
    store.create_user(new_user("too-late")).await.expect("made");
    assert!(store.backup_changes(id, 7, false).await.is_err(), "it is over");

    let copy = open(two.path());
    for unit in rows.chunks(100) {
        copy.restore_rows(unit.to_vec(), foregate::store::Restoring::All).await.expect("written");
    }
    assert_whole(&copy).await;
    let names = |users: Vec<User>| users.into_iter().map(|user| (user.id, user.email)).collect::<Vec<_>>();
    let users = async |store: &Store| -> Vec<User> {
        let page = store.users(None, 1000).await.expect("users");
        page.into_iter().map(|user| user.expect("it can be read")).collect()
    };
    let mut expected = users(&store).await;
    expected.retain(|user| user.username.as_str() != "too-late");
    assert_eq!(names(users(&copy).await), names(expected));
    for number in 1..=slices {
        let digest = Digest::of(format!("session{number}").as_bytes());
        assert_eq!(copy.session(digest).expect("a read").is_some(), number % 2 == 1);
    }
    copy.close().await;
    store.close().await;
}

#[tokio::test]
async fn a_restored_account_that_nobody_has_confirmed_still_lapses() {
    let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let store = open(one.path());
    let expires_at = SystemTime::now() + Duration::from_secs(3600);
    let confirm = ConfirmationLink { digest: Digest::of(b"confirm"), expires_at };
    store.register(new_user("newcomer"), confirm).await.expect("registered");
    let rows = store.backup_rows(Vec::new(), 1000).await.expect("rows");
    store.close().await;
    let copy = open(two.path());
    // Long enough ago for the link that it gets to be over as well.
    let since = SystemTime::now() - Duration::from_secs(4 * 24 * 3600);
    copy.restore_rows(rows, foregate::store::Restoring::WithoutSessions { since }).await.expect("written");
    assert!(copy.one_time_token(Digest::of(b"confirm"), SystemTime::now()).is_err(), "no link comes back");
    eventually(async || match copy.user_by_login("newcomer").expect("a read") {
        None => Ok(()),
        Some(_) => Err("it is there"),
    })
    .await;
    assert_whole(&copy).await;
    copy.close().await;
}

#[tokio::test]
async fn without_sessions_only_what_lasts_comes_back() {
    let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let store = open(one.path());
    let user = store.create_user(new_user("alice")).await.expect("made");
    store.create_session(session(&user, "session")).await.expect("made");
    store.create_one_time_token(link(&user, "link")).await.expect("made");
    store.ensure_secret("csrf", [7; 32]).await.expect("kept");
    let rows = store.backup_rows(Vec::new(), 1000).await.expect("rows");
    store.close().await;
    let copy = open(two.path());
    let since = SystemTime::now() + Duration::from_secs(5);
    copy.restore_rows(rows, foregate::store::Restoring::WithoutSessions { since }).await.expect("written");
    assert_whole(&copy).await;
    assert!(copy.session(Digest::of(b"session")).expect("a read").is_none());
    assert!(copy.one_time_token(Digest::of(b"link"), SystemTime::now()).is_err());
    assert_eq!(copy.ensure_secret("csrf", [8; 32]).await.expect("kept"), [7; 32]);
    let back = copy.user(user.id).expect("a read").expect("alice");
    assert!(back.credentials_since.is_some_and(|from| from + Duration::from_millis(1) > since), "{back:?}");
    copy.close().await;
}

#[tokio::test]
async fn many_accounts_that_take_their_addresses_from_unconfirmed_ones_are_all_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let expires_at = SystemTime::now() + Duration::from_secs(3600);
    let address = |n: usize| Some(format!("person{n}@example.com").parse().expect("an address"));
    for n in 0..100 {
        let link = ConfirmationLink { digest: Digest::of(format!("link{n}").as_bytes()), expires_at };
        let squatter = NewUser { email: address(n), ..new_user(&format!("squatter{n}")) };
        store.register(squatter, link).await.expect("registered");
    }
    let owner = |n| NewUser { email: address(n), email_is_proven: true, ..new_user(&format!("owner{n}")) };
    let made = store.create_users((0..100).map(owner).collect()).await;
    let names: Vec<_> = made.into_iter().map(|made| made.expect("made").username.to_string()).collect();
    assert_eq!(names, (0..100).map(|n| format!("owner{n}")).collect::<Vec<_>>());
    assert_whole(&store).await;
    store.close().await;
}

#[tokio::test]
async fn the_invitations_of_a_deleted_member_are_shown_to_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    let now = SystemTime::now();
    let member = store.create_user(new_user("member")).await.expect("made");
    for (label, invited_by) in [("a", Some(member.id)), ("b", None)] {
        let invitation = Invitation {
            digest: Digest::of(label.as_bytes()),
            email: format!("{label}@example.com").parse().expect("an address"),
            expires_at: now + Duration::from_secs(3600),
            invited_by,
            roles: Default::default(),
        };
        store.create_invitation(invitation, 5).await.expect("invited");
    }
    store.delete_user(member.id).await.expect("deleted");
    let left = store.invitations(None, 10, now).await.expect("a list");
    assert_eq!(left.iter().map(|left| left.email.as_str()).collect::<Vec<_>>(), ["b@example.com"]);
    store.close().await;
}
