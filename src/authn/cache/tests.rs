//! What has ended is never found, in whatever order things happen.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::identity::Principal;

const NOON: SystemTime = SystemTime::UNIX_EPOCH;

fn at(seconds: u64) -> SystemTime {
    NOON + Duration::from_secs(seconds)
}

fn cache(ttl: u64) -> Cache {
    Cache::new(CacheSettings { capacity: 1000, ttl: Duration::from_secs(ttl) })
}

fn identity(user_id: UserId, credential: Credential) -> Identity {
    Identity {
        access_token: None,
        authenticated_at: NOON,
        credential,
        email: None,
        expires_at: None,
        name: "".parse().expect("a name"),
        roles: BTreeSet::new(),
        session: None,
        token: None,
        principal: Principal::Account(user_id),
        username: "alice".parse().expect("a username"),
    }
}

fn session(user_id: UserId, digest: Digest, idle: u64, lifetime: u64) -> Session {
    Session {
        authenticated_at: NOON,
        client: IpAddr::from([127, 0, 0, 1]),
        digest,
        expires_at: at(lifetime),
        idle_timeout: Duration::from_secs(idle),
        last_seen: NOON,
        remembered: false,
        user_agent: String::new(),
        user_id,
    }
}

fn keep_session(cache: &Cache, user: UserId, token: &[u8]) -> Digest {
    let digest = Digest::of(token);
    let session = session(user, digest, 100, 1000);
    cache.keep(digest, Entry::of_session(identity(user, Credential::Session), &session, cache.epoch(), NOON));
    digest
}

#[test]
fn an_entry_lives_until_the_first_of_its_limits() {
    let user = UserId::generate();
    let digest = Digest::of(b"1");
    for (idle, lifetime, ttl, last) in [(10, 100, 50, 9), (100, 20, 50, 19), (100, 100, 5, 4)] {
        let cache = cache(ttl);
        let session = session(user, digest, idle, lifetime);
        cache.keep(
            digest,
            Entry::of_session(identity(user, Credential::Session), &session, cache.epoch(), NOON),
        );
        assert!(cache.find(digest, Credential::Session, at(last)).is_some());
        assert!(cache.find(digest, Credential::Session, at(last + 1)).is_none());
    }
}

#[test]
fn use_slides_the_idle_limit_and_is_written_once_in_a_tenth_of_it() {
    let (user, digest) = (UserId::generate(), Digest::of(b"2"));
    let session = session(user, digest, 100, 1000);
    let cache = cache(1000);
    let entry = cache.keep(digest, Entry::of_session(identity(user, Credential::Session), &session, 1, NOON));
    assert_eq!(entry.note_use(at(9)), None);
    assert_eq!(entry.note_use(at(10)), Some(Use::Session(digest)));
    assert_eq!(entry.note_use(at(11)), None);
    assert!(cache.find(digest, Credential::Session, at(110)).is_some());
    assert!(cache.find(digest, Credential::Session, at(111)).is_none());
}

#[test]
fn an_entry_of_another_kind_is_none() {
    let cache = cache(100);
    let digest = keep_session(&cache, UserId::generate(), b"3");
    assert!(cache.find(digest, Credential::Session, NOON).is_some());
    assert!(cache.find(digest, Credential::Bearer, NOON).is_none());
}

#[test]
fn a_fill_that_began_before_an_end_loses() {
    let cache = cache(100);
    let (user, digest) = (UserId::generate(), Digest::of(b"4"));
    let before = cache.epoch();
    // The facts are read here, then the account is disabled, and only then the entry is kept.
    cache.ended(Ended::User(user));
    cache.keep(digest, Entry::until(identity(user, Credential::Bearer), at(1000), before, NOON));
    assert!(cache.find(digest, Credential::Bearer, NOON).is_none());
}

#[test]
fn ends_of_others_leave_an_entry_and_too_many_of_them_do_not() {
    let cache = cache(100);
    let digest = keep_session(&cache, UserId::generate(), b"5");
    for _ in 0..REMEMBERED_ENDS {
        cache.ended(Ended::User(UserId::generate()));
    }
    assert!(cache.find(digest, Credential::Session, NOON).is_some());
    for _ in 0..=REMEMBERED_ENDS {
        cache.ended(Ended::User(UserId::generate()));
    }
    assert!(cache.find(digest, Credential::Session, NOON).is_none());
}

proptest! {
    /// Whatever is kept, looked up and ended in whatever order, on two threads' fronts: nothing
    /// that has ended is found, and what is found is what was kept.
    #[test]
    fn nothing_that_has_ended_is_found(steps in prop::collection::vec((0..4_u8, 0..6_usize), 1..200)) {
        let cache = cache(1000);
        let users: Vec<UserId> = (0..3).map(|_| UserId::generate()).collect();
        let tokens: Vec<Digest> = (0..6_u8).map(|n| Digest::of(&[n])).collect();
        let mut live = [false; 6];
        for (step, which) in steps {
            let user = users[which % 3];
            match step {
                0 => {
                    let session = session(user, tokens[which], 1000, 1000);
                    let entry = Entry::of_session(identity(user, Credential::Session), &session, cache.epoch(), NOON);
                    cache.keep(tokens[which], entry);
                    live[which] = true;
                }
                1 => {
                    cache.ended(Ended::Session(tokens[which]));
                    live[which] = false;
                }
                2 => {
                    cache.ended(Ended::User(user));
                    (0..6).filter(|n| n % 3 == which % 3).for_each(|n| live[n] = false);
                }
                _ => {
                    let elsewhere = std::thread::scope(|scope| {
                        let find = || cache.find(tokens[which], Credential::Session, NOON).is_some();
                        scope.spawn(find).join().expect("no panic")
                    });
                    prop_assert_eq!(elsewhere, live[which]);
                }
            }
            for n in 0..6 {
                let found = cache.find(tokens[n], Credential::Session, NOON);
                prop_assert_eq!(found.is_some(), live[n]);
                prop_assert!(found.is_none_or(|entry| entry.identity().account() == Some(users[n % 3])));
            }
        }
    }
}

#[test]
fn what_is_ended_through_one_cache_is_ended_in_the_one_that_took_its_place() {
    let settings = CacheSettings { capacity: 10, ttl: Duration::from_secs(30) };
    let old = Cache::new(settings);
    let mut told = old.subscribe();
    let new = old.renewed(settings);
    let what = Ended::User(UserId::generate());
    let before = new.epoch();
    new.ended(what);
    assert_eq!(told.try_recv().ok(), Some(what), "who waits at the old one is told");
    assert!(old.epoch() > before);
    old.ended(what);
    assert_eq!(new.epoch(), old.epoch());
}
