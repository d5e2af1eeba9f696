//! Registrations, confirmations and invitations over a tree in memory.

use std::collections::BTreeSet;

use super::*;
use crate::identity::Role;
use crate::store::{
    ConfirmError, ConfirmationLink, Confirmed, EndInvitations, INVITATIONS, Invitation, InvitationError,
    Inviters, Registered,
};

const NOW: u64 = 1_000_000;

fn confirmation(label: &str) -> ConfirmationLink {
    ConfirmationLink { digest: Digest::of(label.as_bytes()), expires_at: time(1_500_000) }
}

fn registered(bench: &Bench, new: &NewUser, label: &str) -> Registered {
    bench.run(|unit| register(unit, new, confirmation(label))).expect("a registration").0
}

fn confirm(bench: &Bench, label: &str, at: u64) -> Result<Confirmed, ConfirmError> {
    bench.run(|unit| confirm_email(unit, Digest::of(label.as_bytes()), time(at))).map(|(done, _)| done)
}

fn new_address(user: &User, label: &str, email: &str) -> OneTimeToken {
    let purpose = Purpose::ConfirmNewEmail(email.parse().expect("an address"));
    OneTimeToken { digest: Digest::of(label.as_bytes()), purpose, ..link(user) }
}

fn invitation(label: &str, email: &str) -> Invitation {
    Invitation {
        digest: Digest::of(label.as_bytes()),
        email: email.parse().expect("an address"),
        expires_at: time(1_500_000),
        invited_by: None,
        roles: ["guest".parse().expect("a role")].into(),
    }
}

fn accept(unit: &mut Unit<'_, '_>, label: &str, new: &NewUser, at: u64) -> Result<User, InvitationError> {
    accept_invitation(unit, Digest::of(label.as_bytes()), &Inviters::Everybody, new, time(at))
}

fn by_login(bench: &Bench, login: &str) -> Option<User> {
    bench.0.user_by_login(login).expect("a read")
}

#[test]
fn a_registration_waits_for_its_link_and_the_link_works_once() {
    let bench = Bench::new();
    let Registered::Made(user) = registered(&bench, &new_user("alice"), "link") else { panic!("taken") };
    assert!(user.awaits_confirmation && !user.may_sign_in());
    assert!(bench.run(|unit| create_session(unit, &session(&user, 1))).is_err(), "no session");
    let Ok(Confirmed::Own(confirmed)) = confirm(&bench, "link", NOW) else { panic!("it is good") };
    assert!(confirmed.may_sign_in() && confirmed.version > user.version);
    assert!(matches!(confirm(&bench, "link", NOW), Err(ConfirmError::Invalid)), "once");
    assert_eq!(keys(&bench, b'T') + keys(&bench, b'O') + keys(&bench, b'X'), 0);
    bench.run(|unit| create_session(unit, &session(&user, 1))).expect("a session");
}

#[test]
fn a_link_is_good_for_its_own_purpose_alone_and_not_after_its_end() {
    let bench = Bench::new();
    registered(&bench, &new_user("alice"), "link");
    let as_reset =
        |at| bench.run(|unit| set_password_with_token(unit, Digest::of(b"link"), &"hash".into(), time(at)));
    assert!(matches!(as_reset(NOW), Err(TokenError::Invalid)));
    assert!(matches!(confirm(&bench, "link", 1_500_000), Err(ConfirmError::Invalid)), "its time is over");
    let bob = bench.user("bob");
    bench
        .run(|unit| create_one_time_token(unit, &OneTimeToken { digest: Digest::of(b"reset"), ..link(&bob) }))
        .expect("a link");
    assert!(
        matches!(confirm(&bench, "reset", NOW), Err(ConfirmError::Invalid)),
        "a reset confirms nothing here"
    );
    confirm(&bench, "link", NOW).expect("nothing was used up");
}

#[test]
fn a_taken_address_takes_the_same_rows_and_keeps_the_name_as_a_free_one_does() {
    let bench = Bench::new();
    let owner = bench.user("owner");
    let taken = NewUser { email: owner.email.clone(), ..new_user("mallory") };
    let (outcome, operations) =
        bench.run(|unit| register(unit, &taken, confirmation("a"))).expect("answered");
    let Registered::AddressTaken { owner: found } = outcome else { panic!("it is taken") };
    assert_eq!(found.id, owner.id);
    let (_, free) = bench.run(|unit| register(unit, &new_user("free"), confirmation("b"))).expect("answered");
    // Less the entry of the address alone, and by it both are found who were registered with it.
    let newcomer =
        |folded: &str| bench.0.newcomer(folded).expect("a read").map(|user| user.username.to_string());
    assert_eq!(newcomer("owner@example.com").as_deref(), Some("mallory"));
    assert_eq!(newcomer("free@example.com").as_deref(), Some("free"));
    assert_eq!(operations + 1, free);
    assert_eq!(by_login(&bench, "owner@example.com").map(|user| user.id), Some(owner.id));

    // A second try for the name, now with an address that is free, tells nothing either.
    for name in ["mallory", "free"] {
        let again = NewUser { email: None, ..new_user(name) };
        let refused = bench.run(|unit| register(unit, &again, confirmation("c")));
        assert!(matches!(refused, Err(UserError::UsernameTaken)), "{name}");
    }
    let ghost = by_login(&bench, "mallory").expect("it is there");
    assert!(ghost.email.is_none() && !ghost.may_sign_in());
}

#[test]
fn an_address_that_nobody_confirmed_is_whose_link_is_opened_first() {
    let bench = Bench::new();
    let of = |name: &str| NewUser {
        email: Some("Owner@example.com".parse().expect("an address")),
        ..new_user(name)
    };
    let contend = |name: &str, label: &str| {
        let outcome = bench.run(|unit| register(unit, &of(name), confirmation(label))).expect("answered").0;
        match outcome {
            Registered::Contended { email, user } => (email.to_string(), user),
            other => panic!("{other:?}"),
        }
    };
    let Registered::Made(stranger) = registered(&bench, &of("stranger"), "strangers") else {
        panic!("taken")
    };
    let (to, owner) = contend("owner", "owners");
    contend("third", "thirds");
    assert_eq!((to.as_str(), &owner.email), ("Owner@example.com", &None));
    let contended = |user: &User| contended(&*bench.0, user).expect("a read");
    assert_eq!(contended(&owner).map(|email| email.folded()).as_deref(), Some("owner@example.com"));
    assert_eq!(contended(&stranger), None, "it is the address that it has");

    let Ok(Confirmed::Own(confirmed)) = confirm(&bench, "owners", NOW) else { panic!("it is good") };
    assert!(confirmed.may_sign_in() && confirmed.id == owner.id);
    assert_eq!(by_login(&bench, "owner@example.com").map(|user| user.id), Some(owner.id));
    // Nothing is left in the mailbox that gives it to another.
    for late in ["strangers", "thirds", "owners"] {
        assert!(matches!(confirm(&bench, late, NOW), Err(ConfirmError::Invalid)), "{late}");
    }
    for left in ["stranger", "third"] {
        let left = by_login(&bench, left).expect("it goes with its link");
        assert!(left.is_stand_in() && contended(&left).is_none());
    }
    let late = bench.run(|unit| register(unit, &of("late"), confirmation("late"))).expect("answered").0;
    assert!(matches!(late, Registered::AddressTaken { owner: found } if found.id == owner.id));
    assert!(matches!(confirm(&bench, "late", NOW), Err(ConfirmError::Invalid)), "nobody was sent it");
}

#[test]
fn a_registration_goes_with_its_last_link_and_a_confirmed_one_stays() {
    let bench = Bench::new();
    for name in ["alice", "bob", "carol"] {
        registered(&bench, &new_user(name), name);
    }
    confirm(&bench, "bob", NOW).expect("a confirmation");
    let carol = by_login(&bench, "carol").expect("there");
    let resent = OneTimeToken {
        digest: Digest::of(b"resent"),
        expires_at: time(1_900_000),
        purpose: Purpose::ConfirmEmail,
        user_id: carol.id,
    };
    bench.run(|unit| create_one_time_token(unit, &resent)).expect("a link");
    bench.run(|unit| sweep(unit, time(1_502_000), 90)).expect("a sweep");
    let left = ["alice", "bob", "carol"].map(|name| by_login(&bench, name).is_some());
    assert_eq!(left, [false, true, true]);
    assert!(matches!(confirm(&bench, "carol", NOW), Err(ConfirmError::Invalid)), "the older link is void");
    bench.run(|unit| sweep(unit, time(1_902_000), 90)).expect("a sweep");
    assert!(by_login(&bench, "carol").is_none());
    assert_eq!((keys(&bench, b'N'), keys(&bench, b'E'), keys(&bench, b'X')), (1, 1, 0));
}

#[test]
fn many_that_were_never_confirmed_are_swept_within_the_bound_of_a_batch() {
    let bench = Bench::new();
    for n in 0..80 {
        registered(&bench, &new_user(&format!("u{n}")), &format!("l{n}"));
    }
    let mut sweeps = 0;
    loop {
        let (more, operations) = bench.run(|unit| sweep(unit, time(1_502_000), 90)).expect("a sweep");
        assert!(operations <= OPERATIONS_PER_BATCH, "{operations}");
        sweeps += 1;
        if !more {
            break;
        }
    }
    assert!(sweeps > 1 && keys(&bench, b'U') == 0, "{sweeps} sweeps");
}

#[test]
fn a_changed_address_is_claimed_when_it_is_confirmed_and_frees_the_old_one() {
    let bench = Bench::new();
    let (alice, bob) = (bench.user("alice"), bench.user("bob"));
    bench
        .run(|unit| create_one_time_token(unit, &new_address(&alice, "a", "new@example.com")))
        .expect("a link");
    bench
        .run(|unit| create_one_time_token(unit, &new_address(&bob, "b", "New@example.com")))
        .expect("a link");
    assert!(by_login(&bench, "new@example.com").is_none(), "nobody has it yet");
    bench.run(|unit| create_one_time_token(unit, &link(&alice))).expect("a reset link in the old mailbox");

    let Ok(Confirmed::Changed { old, user }) = confirm(&bench, "a", NOW) else { panic!("it is good") };
    assert_eq!((old, user.id), (alice.email.clone(), alice.id));
    assert!(by_login(&bench, "alice@example.com").is_none(), "the old one is free");
    assert_eq!(by_login(&bench, "new@example.com").map(|user| user.id), Some(alice.id));
    assert!(bench.0.token(link(&alice).digest).expect("a read").is_none(), "the old mailbox opens nothing");

    assert!(matches!(confirm(&bench, "b", NOW), Err(ConfirmError::EmailTaken)));
    assert_eq!(by_login(&bench, "bob@example.com").map(|user| user.id), Some(bob.id), "nothing has changed");
}

#[test]
fn a_new_password_or_address_voids_the_links_that_confirm() {
    let bench = Bench::new();
    let password = UserChange { password: Some(("new".into(), time(NOW))), ..UserChange::default() };
    let email = UserChange {
        email: Some(Some("other@example.com".parse().expect("an address"))),
        ..UserChange::default()
    };
    for (name, change) in [("alice", password), ("bob", email)] {
        let user = bench.user(name);
        bench
            .run(|unit| create_one_time_token(unit, &new_address(&user, name, "new@example.com")))
            .expect("a link");
        bench.run(|unit| change_user(unit, user.id, &change)).expect("a change");
        assert!(matches!(confirm(&bench, name, NOW), Err(ConfirmError::Invalid)), "{name}");
    }
}

#[test]
fn a_reset_confirms_the_address_and_approval_lets_in() {
    let bench = Bench::new();
    let new = NewUser { awaits_approval: true, ..new_user("alice") };
    let Registered::Made(user) = registered(&bench, &new, "link") else { panic!("taken") };
    bench
        .run(|unit| {
            create_one_time_token(unit, &OneTimeToken { digest: Digest::of(b"reset"), ..link(&user) })
        })
        .expect("a link");
    let reset =
        bench.run(|unit| set_password_with_token(unit, Digest::of(b"reset"), &"hash".into(), time(NOW)));
    assert_eq!(reset.expect("it is good").0.standing(), crate::store::Standing::Waiting);
    let approved = UserChange { approved: true, ..UserChange::default() };
    assert!(bench.run(|unit| change_user(unit, user.id, &approved)).expect("a change").0.may_sign_in());
}

#[test]
fn an_invitation_makes_one_account_with_its_address_and_roles() {
    let bench = Bench::new();
    let owner = bench.user("owner");
    let to_owner = bench.run(|unit| create_invitation(unit, &invitation("x", "Owner@example.com"), 1));
    assert!(matches!(to_owner, Err(InvitationError::EmailTaken)), "{owner:?}");
    bench
        .run(|unit| create_invitation(unit, &invitation("older", "eve@example.com"), 1))
        .expect("an invitation");
    bench
        .run(|unit| create_invitation(unit, &invitation("newer", "Eve@example.com"), 1))
        .expect("an invitation");

    let staff = ["staff".parse().expect("a role")].into();
    let new = NewUser { email: None, roles: staff, ..new_user("eve") };
    let accept = |label: &str, at| bench.run(|unit| accept(unit, label, &new, at));
    assert!(matches!(accept("older", NOW), Err(InvitationError::Invalid)), "the newer one voids it");
    assert!(matches!(accept("newer", 1_500_000), Err(InvitationError::Invalid)), "its time is over");
    let eve = accept("newer", NOW).expect("it is good").0;
    assert!(eve.may_sign_in());
    assert_eq!(eve.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>(), ["guest", "staff"]);
    assert_eq!(by_login(&bench, "eve@example.com").map(|user| user.id), Some(eve.id));
    assert!(matches!(accept("newer", NOW), Err(InvitationError::Invalid)), "once");
    assert_eq!(keys(&bench, b'I') + keys(&bench, b'X'), 0);
}

#[test]
fn an_address_that_nobody_confirmed_goes_to_whoever_shows_it_and_its_first_holder_is_told_nothing() {
    let bench = Bench::new();
    let Registered::Made(stranger) = registered(&bench, &new_user("victim"), "link") else { panic!("taken") };
    let reset = OneTimeToken { digest: Digest::of(b"reset"), ..link(&stranger) };
    bench.run(|unit| create_one_time_token(unit, &reset)).expect("a link");

    let wanted = |name: &str, email_is_proven| NewUser {
        email: stranger.email.clone(),
        email_is_proven,
        ..new_user(name)
    };
    let unproven = bench.run(|unit| create_user(unit, &wanted("other", false)));
    assert!(matches!(unproven, Err(UserError::EmailTaken)), "one stranger is as good as another");
    let owner = bench.run(|unit| create_user(unit, &wanted("owner", true))).expect("it is theirs").0;
    assert_eq!(by_login(&bench, "victim@example.com").map(|user| user.id), Some(owner.id));

    // The name is kept, as for an address that was taken from the beginning, and what is in the mailbox is void.
    let left = by_login(&bench, "victim").expect("it is there");
    assert!(left.is_stand_in() && left.id == stranger.id && !left.may_sign_in());
    assert!(matches!(confirm(&bench, "link", NOW), Err(ConfirmError::Invalid)));
    let set = bench.run(|unit| set_password_with_token(unit, Digest::of(b"reset"), &"h".into(), time(NOW)));
    assert!(matches!(set, Err(TokenError::Invalid)));
    bench.run(|unit| sweep(unit, time(9_000_000), 100)).expect("a sweep");
    assert!(by_login(&bench, "victim").is_none(), "and it goes when it would have gone");
    assert!(by_login(&bench, "owner").is_some());

    // Whoever has confirmed it keeps it.
    let again = bench.run(|unit| create_user(unit, &wanted("another", true)));
    assert!(matches!(again, Err(UserError::EmailTaken)));
}

#[test]
fn an_invitation_and_a_change_of_address_take_it_from_who_never_confirmed_it() {
    let bench = Bench::new();
    let (alice, new) = (bench.user("alice"), new_user("eve"));
    for (name, label) in [("first", "one"), ("second", "two"), ("third", "three")] {
        registered(&bench, &new_user(name), label);
    }
    bench.run(|unit| create_invitation(unit, &invitation("i", "first@example.com"), 1)).expect("it is free");
    let eve = bench.run(|unit| accept(unit, "i", &new, NOW)).expect("made").0;
    assert_eq!(eve.email.map(|email| email.to_string()).as_deref(), Some("first@example.com"));

    let change = UserChange { email: Some("second@example.com".parse().ok()), ..UserChange::default() };
    bench.run(|unit| change_user(unit, alice.id, &change)).expect("an administrator vouches for it");
    let shown = new_address(&alice, "shown", "third@example.com");
    bench.run(|unit| create_one_time_token(unit, &shown)).expect("a link");
    let Ok(Confirmed::Changed { .. }) = confirm(&bench, "shown", NOW) else {
        panic!("its mailbox has shown it")
    };
    for name in ["first", "second", "third"] {
        assert!(by_login(&bench, name).expect("it stays").is_stand_in(), "{name}");
    }
}

/// A member's, which brings no roles.
fn from(user: &User, label: &str, email: &str) -> Invitation {
    Invitation { invited_by: Some(user.id), roles: Default::default(), ..invitation(label, email) }
}

#[test]
fn members_invite_beside_each_other_and_a_bound_of_their_own() {
    let bench = Bench::new();
    let (alice, bob) = (bench.user("alice"), bench.user("bob"));
    let create = |invitation: Invitation| bench.run(|unit| create_invitation(unit, &invitation, 2));
    create(invitation("root", "eve@example.com")).expect("an administrator's");
    create(from(&alice, "alice", "eve@example.com")).expect("a member's");
    create(from(&bob, "bob", "Eve@example.com")).expect("another's");
    let is_good = |label: &str| {
        let tree: &::sled::Tree = &bench.0;
        live_invitation(tree, Digest::of(label.as_bytes()), &Inviters::Everybody, time(NOW)).is_ok()
    };
    assert!(is_good("root") && is_good("alice") && is_good("bob"), "nobody's voids another's");
    create(from(&alice, "again", "EVE@example.com")).expect("in place of the older");
    assert!(!is_good("alice") && is_good("again") && is_good("root"));

    // A taken address takes the same rows, and counts.
    create(from(&alice, "taken", "bob@example.com")).expect("nobody is told");
    let third = create(from(&alice, "third", "third@example.com"));
    assert!(matches!(third, Err(InvitationError::TooManyOwn { limit: 2 })));
    let new = NewUser { email: None, ..new_user("mallory") };
    let used = bench.run(|unit| accept(unit, "taken", &new, NOW));
    assert!(matches!(used, Err(InvitationError::EmailTaken)));

    // Only one's own by its id, and all of an address by an administrator.
    let id = Digest::of(b"bob").into();
    let end = |which| bench.run(|unit| end_invitations(unit, &which)).expect("a change").0.len();
    assert_eq!(end(EndInvitations::One { id, of: Some(alice.id) }), 0);
    assert_eq!(end(EndInvitations::To("eve@EXAMPLE.com".parse().expect("an address"))), 3);
    assert!(!is_good("root") && !is_good("again") && !is_good("bob") && is_good("taken"));

    // An invitation is as good as its member.
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    bench.run(|unit| change_user(unit, alice.id, &disable)).expect("a change");
    assert!(!is_good("taken"));
    let refused = create(from(&alice, "late", "late@example.com"));
    assert!(matches!(refused, Err(InvitationError::Invalid)));
    bench.run(|unit| sweep(unit, time(1_502_000), 90)).expect("a sweep");
    assert_eq!(keys(&bench, b'I') + keys(&bench, b'X'), 0);
}

#[test]
fn of_several_invitations_to_an_address_the_first_that_is_used_brings_what_an_administrator_gave_and_ends_all()
 {
    let bench = Bench::new();
    let (alice, bob) = (bench.user("alice"), bench.user("bob"));
    let create = |invitation: Invitation| {
        bench.run(|unit| create_invitation(unit, &invitation, 9)).expect("an invitation");
    };
    create(invitation("root", "eve@example.com"));
    create(from(&alice, "alice", "Eve@example.com"));
    create(from(&bob, "bob", "eve@example.com"));
    create(from(&bob, "other", "other@example.com"));
    let tree: &::sled::Tree = &bench.0;
    let shown = live_invitation(tree, Digest::of(b"alice"), &Inviters::Everybody, time(NOW)).expect("good");
    assert!(shown.invited_by.is_none() && shown.roles.len() == 1, "worth an administrator's: {shown:?}");
    let new = NewUser { email: None, ..new_user("eve") };
    let eve = bench.run(|unit| accept(unit, "alice", &new, NOW)).expect("it is good").0;
    assert_eq!(eve.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>(), ["guest"]);
    assert_eq!(keys(&bench, b'I'), 2, "the other address's and its entry");
    assert_eq!(keys(&bench, b'X'), 1);

    // What an administrator has given is given until its time is over.
    create(Invitation { expires_at: time(NOW), ..invitation("root", "ended@example.com") });
    create(from(&alice, "ended", "ended@example.com"));
    let shown = live_invitation(tree, Digest::of(b"ended"), &Inviters::Everybody, time(NOW)).expect("good");
    assert!(shown.invited_by == Some(alice.id) && shown.roles.is_empty(), "{shown:?}");

    // An administrator's alone ends with an address that comes to an account by another way.
    create(invitation("root", "late@example.com"));
    create(from(&alice, "late", "late@example.com"));
    let change = UserChange { email: Some("Late@example.com".parse().ok()), ..UserChange::default() };
    bench.run(|unit| change_user(unit, bob.id, &change)).expect("an administrator vouches for it");
    let left = bench.run(|unit| {
        end_invitations(unit, &EndInvitations::To("late@example.com".parse().expect("an address")))
    });
    assert_eq!(
        left.expect("a change").0.iter().map(|one| one.invited_by).collect::<Vec<_>>(),
        [Some(alice.id)]
    );
}

#[test]
fn an_invitation_of_who_may_not_invite_any_more_is_void() {
    let bench = Bench::new();
    let alice = bench.user("alice");
    let sent = Invitation { invited_by: Some(alice.id), ..invitation("i", "eve@example.com") };
    bench.run(|unit| create_invitation(unit, &sent, 9)).expect("an invitation");
    let staff: BTreeSet<Role> = ["staff".parse().expect("a role")].into();
    let accepted = |inviters: Inviters| {
        let new = NewUser { email: None, ..new_user("eve") };
        let done = bench.run(|unit| accept_invitation(unit, sent.digest, &inviters, &new, time(NOW)));
        let tree: &::sled::Tree = &bench.0;
        let shown = live_invitation(tree, sent.digest, &inviters, time(NOW)).is_ok();
        (shown, done.map(|_| ()))
    };
    let void = |told| matches!(told, (false, Err(InvitationError::Invalid)));
    assert!(void(accepted(Inviters::Nobody)));
    assert!(void(accepted(Inviters::With(staff.clone()))));
    let change = UserChange { roles: Some(staff.clone()), ..UserChange::default() };
    bench.run(|unit| change_user(unit, alice.id, &change)).expect("a change");
    assert!(accepted(Inviters::With(staff)).1.is_ok());
}

#[test]
fn invitations_are_swept_and_bounded() {
    let bench = Bench::new();
    bench.run(|unit| create_invitation(unit, &invitation("a", "a@example.com"), 1)).expect("an invitation");
    bench.run(|unit| sweep(unit, time(1_502_000), 90)).expect("a sweep");
    assert_eq!(keys(&bench, b'I') + keys(&bench, b'X'), 0);

    for n in 0..INVITATIONS {
        let key = keys::invitation(Digest::of(n.to_string().as_bytes()));
        bench.0.insert(key, &[0; 32]).expect("a row");
    }
    let refused = bench.run(|unit| create_invitation(unit, &invitation("b", "b@example.com"), 1));
    assert!(matches!(refused, Err(InvitationError::TooMany { .. })));
}

#[test]
fn who_came_from_elsewhere_does_not_go_with_a_link_that_a_stranger_asked_for() {
    let bench = Bench::new();
    let imported = NewUser { awaits_confirmation: true, ..new_user("legacy") };
    let user = bench.run(|unit| create_user(unit, &imported)).expect("made").0;
    registered(&bench, &new_user("newcomer"), "registration");
    let asked = OneTimeToken { purpose: Purpose::ConfirmEmail, ..link(&user) };
    bench.run(|unit| create_one_time_token(unit, &asked)).expect("a link");
    bench.run(|unit| sweep(unit, time(9_000_000), 100)).expect("a sweep");
    assert!(by_login(&bench, "newcomer").is_none(), "nobody has confirmed it");
    assert!(by_login(&bench, "legacy").is_some());
}

#[test]
fn a_sweep_leaves_a_link_whose_account_can_not_be_read_as_it_was() {
    let bench = Bench::new();
    let Registered::Made(user) = registered(&bench, &new_user("alice"), "a") else { panic!("taken") };
    registered(&bench, &new_user("bob"), "b");
    bench.0.insert(keys::user(user.id), b"?").expect("a row");
    bench.run(|unit| sweep(unit, time(1_502_000), 90)).expect("a sweep");
    assert!(by_login(&bench, "bob").is_none(), "the other one goes");
    // Or nothing would be left that takes the account away once it can be read.
    assert_eq!(["T", "O", "X"].map(|table| keys(&bench, table.as_bytes()[0])), [1, 1, 1]);
}

#[test]
fn a_members_invitations_go_with_the_member() {
    let bench = Bench::new();
    let (alice, bob) = (bench.user("alice"), bench.user("bob"));
    let from = |user: &User, n: usize| Invitation {
        invited_by: Some(user.id),
        roles: Default::default(),
        ..invitation(&format!("{}{n}", user.id), &format!("friend{n}@example.com"))
    };
    for n in 0..12 {
        bench.run(|unit| create_invitation(unit, &from(&alice, n), 100)).expect("a member's");
    }
    bench.run(|unit| create_invitation(unit, &from(&bob, 0), 100)).expect("another's");
    bench.run(|unit| delete_user(unit, alice.id)).expect("a deletion");
    // Long before their time is over.
    for _ in 0..3 {
        bench.run(|unit| sweep(unit, time(NOW), 90)).expect("a sweep");
    }
    assert_eq!(keys(&bench, b'I'), 2, "the other member's and its entry");
    assert_eq!(keys(&bench, b'X'), 1);
}

#[test]
fn a_disabled_newcomer_is_looked_for_by_no_address_any_more() {
    let bench = Bench::new();
    let Registered::Made(user) = registered(&bench, &new_user("alice"), "a") else { panic!("taken") };
    assert_eq!(keys(&bench, b'W'), 2);
    let disable = UserChange { disabled: Some(true), ..UserChange::default() };
    bench.run(|unit| change_user(unit, user.id, &disable)).expect("a change");
    assert_eq!(keys(&bench, b'W'), 0, "or each login by an address would cost two hashes from now on");
}
