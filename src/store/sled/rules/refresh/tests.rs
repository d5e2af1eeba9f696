//! The rule of refresh tokens against a model of it, and the size of what ends them all.

use std::time::Duration;

use proptest::prelude::*;

use super::super::tests::Bench;
use super::*;
use crate::store::sled::unit::{Group, OPERATIONS_PER_BATCH};
use crate::store::{Digest, UserChange};

const GRACE: u64 = 10;
const LIFETIME: u64 = 1000;

/// One more than the last second of the account's own making.
const LOGIN: u64 = 2_000_000_000;

fn at(second: u64) -> SystemTime {
    time((LOGIN + second) * 1000)
}

/// The token of this number of the family `id`.
fn token(id: GrantId, number: u8) -> Digest {
    Digest::of(format!("{id} {number}").as_bytes())
}

fn grant(number: u8) -> GrantId {
    GrantId::from_bytes([number; 16])
}

fn family(user: UserId, id: GrantId) -> RefreshFamily {
    RefreshFamily {
        access_until: at(60),
        authenticated_at: at(0),
        current: token(id, 0),
        expires_at: at(LIFETIME),
        id,
        last_used: at(0),
        previous: None,
        user_id: user,
    }
}

/// Shows the token of this number; its successor would be the one of the next.
fn shows(id: GrantId, number: u8, second: u64) -> Rotation {
    Rotation {
        access_until: at(second + 60),
        family: id,
        grace: Duration::from_secs(GRACE),
        lifetime: Duration::from_secs(LIFETIME),
        next: token(id, number + 1),
        nonce: [number; 32],
        now: at(second),
        shown: token(id, number),
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Shows the token so many before the present one.
    Show { back: u8, later: u64 },
    /// Shows what was never a token of the family.
    Forge { later: u64 },
    /// Revokes the family.
    Revoke,
    /// A new password, or disabled and enabled again.
    EndAll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let later = prop_oneof![Just(0), 0..GRACE, GRACE - 1..GRACE + 2, 0..LIFETIME / 2];
    let step = prop_oneof![
        12 => (prop_oneof![5 => Just(0), 3 => Just(1), 1 => 2u8..4], later.clone())
            .prop_map(|(back, later)| Step::Show { back, later }),
        1 => later.prop_map(|later| Step::Forge { later }),
        1 => Just(Step::Revoke),
        1 => Just(Step::EndAll),
    ];
    proptest::collection::vec(step, 1..24)
}

/// What the rule promises, said in another way.
struct Model {
    /// The number of the present token.
    current: u8,
    /// Why it is over.
    over: Option<&'static str>,
    replaced_at: u64,
}

impl Model {
    fn show(&mut self, number: Option<u8>, now: u64) -> &'static str {
        match self.over {
            Some("all ended") if now < LIFETIME => return "account gone",
            Some("all ended") => return "expired",
            Some(_) => return "unknown",
            None if now >= LIFETIME => return "expired",
            None => {}
        }
        match number {
            Some(number) if number == self.current => {
                self.current += 1;
                self.replaced_at = now;
                "rotated"
            }
            Some(number) if number + 1 == self.current && now < self.replaced_at + GRACE => "grace",
            _ => {
                self.over = Some("revoked");
                "reused"
            }
        }
    }
}

fn name(rotated: &Rotated) -> &'static str {
    match rotated {
        Rotated::AccountGone => "account gone",
        Rotated::Expired => "expired",
        Rotated::Grace { .. } => "grace",
        Rotated::Reused { .. } => "reused",
        Rotated::Rotated { .. } => "rotated",
        Rotated::Unknown => "unknown",
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_family_lives_as_the_rule_says(steps in steps()) {
        let bench = Bench::new();
        let user = bench.user("alice");
        let id = grant(1);
        bench.run(|unit| create(unit, &family(user.id, id))).expect("a family");
        let mut model = Model { current: 0, over: None, replaced_at: 0 };
        let mut now = 1;
        for step in steps {
            let (number, later) = match step {
                Step::Show { back, later } => (model.current.checked_sub(back), later),
                Step::Forge { later } => (None, later),
                Step::Revoke => {
                    let revoked = bench.run(|unit| revoke_family(unit, id)).expect("revoked").0;
                    prop_assert_eq!(revoked.is_some(), model.over.is_none_or(|over| over == "all ended"));
                    model.over = Some("revoked");
                    continue;
                }
                Step::EndAll => {
                    // The account's new moment is the wall's, and the family's login was made later than that.
                    let mut ended = bench.run(|unit| unit.user(user.id)).expect("a read").0.expect("a user");
                    ended.credentials_since = Some(at(1));
                    let row = record::encode_user(&ended).expect("a row");
                    bench.run(|unit| { unit.put(keys::user(user.id), row.clone()); Ok::<_, StoreError>(()) }).expect("kept");
                    model.over = model.over.or(Some("all ended"));
                    continue;
                }
            };
            now += later;
            let mut rotation = shows(id, number.unwrap_or(200), now);
            if number.is_none() {
                rotation.shown = Digest::of(b"forged");
            }
            let seen = bench.run(|unit| rotate(unit, &rotation)).expect("an outcome").0;
            prop_assert_eq!(name(&seen), model.show(number, now));
            match seen {
                Rotated::Rotated { family, .. } => {
                    prop_assert_eq!(family.current, token(id, model.current));
                    prop_assert_eq!(family.authenticated_at, at(0), "a refresh is no login");
                }
                // With the token before, this leads to the present one: everybody ends up with the same.
                Rotated::Grace { family, nonce, .. } => {
                    prop_assert_eq!(nonce, [model.current - 1; 32]);
                    prop_assert_eq!(family.current, token(id, model.current));
                }
                Rotated::Reused { .. } => {
                    let key = keys::revoked(user.id, id);
                    prop_assert!(bench.run(|unit| unit.get(&key)).expect("a read").0.is_some());
                }
                Rotated::AccountGone | Rotated::Expired | Rotated::Unknown => {}
            }
        }
    }
}

#[test]
fn an_account_holds_so_many_families_and_the_least_used_make_room() {
    let bench = Bench::new();
    let user = bench.user("alice");
    let made: Vec<GrantId> = (0..FAMILIES_PER_ACCOUNT as u8).map(grant).collect();
    for id in &made {
        bench.run(|unit| create(unit, &family(user.id, *id))).expect("a family");
    }
    for id in &made[1..] {
        bench.run(|unit| rotate(unit, &shows(*id, 0, 5))).expect("refreshed");
    }
    assert_eq!(bench.run(|unit| create(unit, &family(user.id, grant(200)))).expect("one more").0, 1);
    let left = bench.run(|unit| unit.families_of(user.id)).expect("a read").0;
    assert_eq!(left.len(), FAMILIES_PER_ACCOUNT);
    assert!(!left.iter().any(|family| family.id == made[0]), "the one that was never used went");
    let revoked = bench.run(|unit| unit.get(&keys::revoked(user.id, made[0]))).expect("a read").0;
    assert!(revoked.is_none(), "its access tokens live out their time");
}

#[test]
fn a_login_from_before_a_new_password_makes_no_family() {
    let bench = Bench::new();
    let user = bench.user("alice");
    let change = UserChange { password: Some(("hash".into(), at(1))), ..UserChange::default() };
    bench.run(|unit| super::super::change_user(unit, user.id, &change)).expect("changed");
    let made = bench.run(|unit| create(unit, &family(user.id, grant(1))));
    assert!(matches!(made, Err(SessionError::OldLogin)));
    let of_nobody = bench.run(|unit| create(unit, &family(UserId::generate(), grant(1))));
    assert!(matches!(of_nobody, Err(SessionError::NoAccount)));
}

#[test]
fn the_sweeper_takes_ended_families_in_units_of_a_fair_size() {
    let bench = Bench::new();
    let users: Vec<User> = (0..20).map(|n| bench.user(&format!("user{n}"))).collect();
    for (n, user) in users.iter().enumerate() {
        for m in 0..40 {
            let id = GrantId::from_bytes([[n as u8; 8], [m; 8]].concat().try_into().expect("sixteen"));
            bench.run(|unit| create(unit, &family(user.id, id))).expect("a family");
        }
        bench.run(|unit| super::super::delete_user(unit, user.id)).expect("deleted");
    }
    let mut rounds = 0;
    loop {
        let mut group = Group::new(&bench.0);
        let mut unit = group.unit();
        super::super::sweep(&mut unit, at(0), 90).expect("swept");
        let changes = unit.into_changes();
        assert!(changes.len() <= OPERATIONS_PER_BATCH, "{} operations", changes.len());
        if changes.is_empty() {
            break;
        }
        assert!(group.absorb(changes));
        bench.0.apply_batch(group.into_batch()).expect("a batch");
        rounds += 1;
        assert!(rounds < 200, "it never ends");
    }
    assert_eq!(bench.0.scan_prefix(b"F").count() + bench.0.scan_prefix(b"R").count(), 0);
}

#[test]
fn with_too_many_revocations_all_tokens_of_the_account_end() {
    let bench = Bench::new();
    let user = bench.user("alice");
    let jti = |n: u32| GrantId::from_bytes([n.to_be_bytes(); 4].concat().try_into().expect("sixteen"));
    for n in 0..REVOCATIONS_PER_ACCOUNT as u32 {
        bench.run(|unit| revoke(unit, user.id, jti(n), at(60))).expect("revoked");
    }
    assert!(
        bench.run(|unit| unit.user(user.id)).expect("a read").0.expect("a user").credentials_since
            < Some(at(0))
    );
    bench.run(|unit| revoke(unit, user.id, jti(u32::MAX), at(60))).expect("revoked");
    let since = bench.run(|unit| unit.user(user.id)).expect("a read").0.expect("a user").credentials_since;
    assert!(since.is_some_and(|since| since >= SystemTime::now() - Duration::from_secs(60)), "{since:?}");
    let mut rounds = 0;
    while bench.run(|unit| super::super::sweep(unit, at(62), 90)).expect("swept").1 > 0 {
        rounds += 1;
        assert!(rounds < 100, "it never ends");
    }
    assert_eq!(bench.0.scan_prefix(b"J").count(), 0, "what has ended by itself is not remembered");
}
