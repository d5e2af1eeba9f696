//! What the writer can be asked, and how an answer is kept back until it is true.
//!
//! Callers: `sled` makes commands, `writer` evaluates them. What they mean is in `rules`.

use std::sync::Arc;
use std::time::SystemTime;

use secrecy::SecretString;
use tokio::sync::oneshot;

use super::rules;
use super::unit::{Group, Unit};
use crate::identity::{GrantId, TokenId, UserId};
use crate::store::{
    BackupRow, ConfirmError, ConfirmationLink, Confirmed, Digest, EndInvitations, EndSessions, Invitation,
    InvitationError, Inviters, MailId, NewUser, OneTimeToken, PersonalToken, PersonalTokenError, QueuedMail,
    RefreshFamily, Registered, Restoring, Rotated, Rotation, Session, SessionError, SigningKey, StoreError,
    TokenError, TriedAccount, User, UserChange, UserError,
};

/// Accounts of one `CreateUsers`: a batch without what others may put into it, three operations each. One whose
/// address is taken from somebody who has never confirmed it is more; what has no room then is asked for again.
pub(super) const USERS_PER_COMMAND: usize = 90;
const OPERATIONS_PER_USER: usize = 3;

/// Where an answer goes.
pub(super) type Reply<T, E> = oneshot::Sender<Result<T, E>>;

/// What the writer is asked to do.
pub(super) enum Command {
    BackupChanges(u64, usize, Reply<(Vec<BackupRow>, bool), StoreError>),
    AcceptInvitation(Digest, Inviters, Box<NewUser>, SystemTime, Reply<User, InvitationError>),
    ChangeKeys(Option<SigningKey>, Vec<String>, Reply<Vec<SigningKey>, StoreError>),
    ChangeUser(UserId, UserChange, Reply<User, UserError>),
    ClearFailures(TriedAccount, Reply<usize, StoreError>),
    Close(oneshot::Sender<()>),
    CreatePersonalToken(PersonalToken, Option<Digest>, Reply<(), PersonalTokenError>),
    CreateFamily(RefreshFamily, Reply<usize, SessionError>),
    ConfirmEmail(Digest, SystemTime, Reply<Confirmed, ConfirmError>),
    CreateInvitation(Invitation, usize, Reply<(), InvitationError>),
    CreateSession(Session, Reply<Vec<Digest>, SessionError>),
    CreateToken(OneTimeToken, Reply<(), TokenError>),
    PretendToken(Reply<(), TokenError>),
    CreateUser(NewUser, Reply<User, UserError>),
    CreateUsers(Arc<[NewUser]>, Reply<Vec<Result<User, UserError>>, StoreError>),
    DeleteMail(MailId, SystemTime, Reply<(), StoreError>),
    DeleteDamagedUser(UserId, Reply<bool, StoreError>),
    DeleteUser(UserId, Reply<User, UserError>),
    EndInvitations(EndInvitations, Reply<Vec<Invitation>, StoreError>),
    EndSession(Digest, Reply<bool, StoreError>),
    EndSessionsOf(UserId, EndSessions, Reply<usize, StoreError>),
    EnsureKey(SigningKey, Reply<Vec<SigningKey>, StoreError>),
    EnsureSecret(&'static str, [u8; 32], Reply<[u8; 32], StoreError>),
    RevokePersonalToken(TokenId, Option<UserId>, Reply<Option<PersonalToken>, StoreError>),
    RevokePersonalTokensOf(UserId, Reply<usize, StoreError>),
    RevokeFamily(GrantId, Reply<Option<UserId>, StoreError>),
    RevokeToken(UserId, GrantId, SystemTime, Reply<(), StoreError>),
    Rotate(Rotation, Reply<Rotated, StoreError>),
    PostponeMail(QueuedMail, SystemTime, Reply<(), StoreError>),
    PretendMail(QueuedMail, Reply<(), StoreError>),
    PutMail(QueuedMail, Reply<(), StoreError>),
    RestoreRows(Vec<BackupRow>, Restoring, Reply<(), StoreError>),
    Register(Box<NewUser>, ConfirmationLink, Reply<Registered, UserError>),
    SetPassword(Digest, SecretString, SystemTime, Reply<User, TokenError>),
    UpgradeHash(UserId, SecretString, SecretString, Reply<bool, StoreError>),
}

/// An answer that waits for the group's fate: `None` when it is durable.
pub(super) type Answer = Box<dyn FnOnce(Option<StoreError>)>;

/// What becomes of a command.
pub(super) enum Stage<'s, 'a> {
    Evaluate(&'s mut Group<'a>),
    Refuse(StoreError),
}

/// What became of it.
pub(super) enum Evaluated {
    Answer(Answer),
    Close(oneshot::Sender<()>),
    /// The last of a backup, which is no change: read between two groups.
    Backup(u64, usize, Reply<(Vec<BackupRow>, bool), StoreError>),
    /// For the next group.
    TooMuch(Command),
}

/// Answers without a look at what is asked. Gives the sender of a `Close`, which is never refused.
pub(super) fn refuse(command: Command, reason: String) -> Option<oneshot::Sender<()>> {
    match evaluate(command, Stage::Refuse(StoreError::Unavailable(reason))) {
        Evaluated::Answer(answer) => {
            answer(None);
            None
        }
        Evaluated::Close(stopped) => Some(stopped),
        Evaluated::Backup(..) => unreachable!("a refusal reads nothing"),
        Evaluated::TooMuch(_) => unreachable!("a refusal takes no room"),
    }
}

pub(super) fn evaluate(command: Command, stage: Stage<'_, '_>) -> Evaluated {
    use Command as C;
    match command {
        C::BackupChanges(id, limit, reply) => match stage {
            Stage::Evaluate(_) => Evaluated::Backup(id, limit, reply),
            Stage::Refuse(error) => Evaluated::Answer(Box::new(move |_| drop(reply.send(Err(error))))),
        },
        C::AcceptInvitation(digest, inviters, new, now, reply) => {
            settle(stage, reply, |unit| rules::accept_invitation(unit, digest, &inviters, &new, now))
                .unwrap_or_else(|reply| {
                    Evaluated::TooMuch(C::AcceptInvitation(digest, inviters, new, now, reply))
                })
        }
        C::ChangeKeys(add, remove, reply) => {
            settle(stage, reply, |unit| rules::change_signing_keys(unit, add.as_ref(), &remove))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::ChangeKeys(add, remove, reply)))
        }
        C::ChangeUser(id, change, reply) => {
            settle(stage, reply, |unit| rules::change_user(unit, id, &change))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::ChangeUser(id, change, reply)))
        }
        C::ClearFailures(account, reply) => settle(stage, reply, |unit| rules::clear_failures(unit, account))
            .unwrap_or_else(|reply| Evaluated::TooMuch(C::ClearFailures(account, reply))),
        C::Close(stopped) => Evaluated::Close(stopped),
        C::CreatePersonalToken(token, session, reply) => {
            settle(stage, reply, |unit| rules::create_personal_token(unit, &token, session))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::CreatePersonalToken(token, session, reply)))
        }
        C::CreateFamily(family, reply) => settle(stage, reply, |unit| rules::refresh::create(unit, &family))
            .unwrap_or_else(|reply| Evaluated::TooMuch(C::CreateFamily(family, reply))),
        C::ConfirmEmail(digest, now, reply) => {
            settle(stage, reply, |unit| rules::confirm_email(unit, digest, now))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::ConfirmEmail(digest, now, reply)))
        }
        C::CreateInvitation(invitation, own, reply) => {
            settle(stage, reply, |unit| rules::create_invitation(unit, &invitation, own))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::CreateInvitation(invitation, own, reply)))
        }
        C::EndInvitations(which, reply) => settle(stage, reply, |unit| rules::end_invitations(unit, &which))
            .unwrap_or_else(|reply| Evaluated::TooMuch(C::EndInvitations(which, reply))),
        C::CreateSession(session, reply) => {
            settle(stage, reply, |unit| rules::create_session(unit, &session))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::CreateSession(session, reply)))
        }
        C::CreateToken(token, reply) => {
            settle(stage, reply, |unit| rules::create_one_time_token(unit, &token))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::CreateToken(token, reply)))
        }
        C::CreateUser(new, reply) => settle(stage, reply, |unit| rules::create_user(unit, &new))
            .unwrap_or_else(|reply| Evaluated::TooMuch(C::CreateUser(new, reply))),
        C::PretendToken(reply) => settle(stage, reply, rules::pretend_one_time_token)
            .unwrap_or_else(|reply| Evaluated::TooMuch(C::PretendToken(reply))),
        C::CreateUsers(new, reply) => create_users(stage, new, reply),
        C::DeleteMail(id, due, reply) => {
            settle(stage, reply, |unit| rules::outbox::delete_mail(unit, id, due))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::DeleteMail(id, due, reply)))
        }
        C::DeleteDamagedUser(id, reply) => settle(stage, reply, |unit| rules::delete_damaged_user(unit, id))
            .unwrap_or_else(|reply| Evaluated::TooMuch(C::DeleteDamagedUser(id, reply))),
        C::DeleteUser(id, reply) => settle(stage, reply, |unit| rules::delete_user(unit, id))
            .unwrap_or_else(|reply| Evaluated::TooMuch(C::DeleteUser(id, reply))),
        C::EndSession(digest, reply) => settle(stage, reply, |unit| rules::end_session(unit, digest))
            .unwrap_or_else(|reply| Evaluated::TooMuch(C::EndSession(digest, reply))),
        C::EndSessionsOf(user, which, reply) => {
            settle(stage, reply, |unit| rules::end_sessions_of(unit, user, which))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::EndSessionsOf(user, which, reply)))
        }
        C::EnsureKey(candidate, reply) => {
            settle(stage, reply, |unit| rules::ensure_signing_key(unit, &candidate))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::EnsureKey(candidate, reply)))
        }
        C::EnsureSecret(name, candidate, reply) => {
            settle(stage, reply, |unit| rules::ensure_secret(unit, name, &candidate))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::EnsureSecret(name, candidate, reply)))
        }
        C::RevokePersonalToken(id, user, reply) => {
            settle(stage, reply, |unit| rules::revoke_personal_token(unit, id, user))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::RevokePersonalToken(id, user, reply)))
        }
        C::RevokePersonalTokensOf(user, reply) => {
            settle(stage, reply, |unit| rules::revoke_personal_tokens_of(unit, user))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::RevokePersonalTokensOf(user, reply)))
        }
        C::RevokeFamily(id, reply) => settle(stage, reply, |unit| rules::refresh::revoke_family(unit, id))
            .unwrap_or_else(|reply| Evaluated::TooMuch(C::RevokeFamily(id, reply))),
        C::RevokeToken(user, id, until, reply) => {
            settle(stage, reply, |unit| rules::refresh::revoke(unit, user, id, until))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::RevokeToken(user, id, until, reply)))
        }
        C::Rotate(rotation, reply) => settle(stage, reply, |unit| rules::refresh::rotate(unit, &rotation))
            .unwrap_or_else(|reply| Evaluated::TooMuch(C::Rotate(rotation, reply))),
        C::PostponeMail(mail, was_due, reply) => {
            settle(stage, reply, |unit| rules::outbox::postpone_mail(unit, &mail, was_due))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::PostponeMail(mail, was_due, reply)))
        }
        C::PretendMail(mail, reply) => settle(stage, reply, |unit| rules::outbox::pretend_mail(unit, &mail))
            .unwrap_or_else(|reply| Evaluated::TooMuch(C::PretendMail(mail, reply))),
        C::PutMail(mail, reply) => settle(stage, reply, |unit| rules::outbox::put_mail(unit, &mail))
            .unwrap_or_else(|reply| Evaluated::TooMuch(C::PutMail(mail, reply))),
        C::RestoreRows(rows, what, reply) => {
            settle(stage, reply, |unit| rules::restore_rows(unit, &rows, what))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::RestoreRows(rows, what, reply)))
        }
        C::Register(new, link, reply) => settle(stage, reply, |unit| rules::register(unit, &new, link))
            .unwrap_or_else(|reply| Evaluated::TooMuch(C::Register(new, link, reply))),
        C::SetPassword(digest, hash, now, reply) => {
            settle(stage, reply, |unit| rules::set_password_with_token(unit, digest, &hash, now))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::SetPassword(digest, hash, now, reply)))
        }
        C::UpgradeHash(id, old, new, reply) => {
            settle(stage, reply, |unit| rules::upgrade_hash(unit, id, &old, &new))
                .unwrap_or_else(|reply| Evaluated::TooMuch(C::UpgradeHash(id, old, new, reply)))
        }
    }
}

/// Many accounts at once: a unit for each, so that one which is refused leaves nothing of itself. Answers for those
/// that there is room for: the first of them, and at least one.
fn create_users(
    stage: Stage<'_, '_>,
    new: Arc<[NewUser]>,
    reply: Reply<Vec<Result<User, UserError>>, StoreError>,
) -> Evaluated {
    let result = match stage {
        Stage::Refuse(error) => Err(error),
        Stage::Evaluate(group) if !group.has_room_for(new.len() * OPERATIONS_PER_USER) => {
            return Evaluated::TooMuch(Command::CreateUsers(new, reply));
        }
        Stage::Evaluate(group) => {
            let mut made = Vec::with_capacity(new.len());
            for new in new.iter() {
                let mut unit = group.unit();
                let user = rules::create_user(&mut unit, new);
                if user.is_ok() && !group.absorb(unit.into_changes()) {
                    break;
                }
                made.push(user);
            }
            if made.is_empty() && !new.is_empty() {
                return Evaluated::TooMuch(Command::CreateUsers(new, reply));
            }
            Ok(made)
        }
    };
    Evaluated::Answer(Box::new(move |failure| {
        let _ = reply.send(failure.map_or(result, Err));
    }))
}

/// Evaluates a rule into the group. Gives the reply back where its changes don't fit in.
fn settle<T, E>(
    stage: Stage<'_, '_>,
    reply: Reply<T, E>,
    rule: impl FnOnce(&mut Unit<'_, '_>) -> Result<T, E>,
) -> Result<Evaluated, Reply<T, E>>
where
    T: 'static,
    E: From<StoreError> + 'static,
{
    let result = match stage {
        Stage::Refuse(error) => Err(error.into()),
        Stage::Evaluate(group) => {
            let mut unit = group.unit();
            let result = rule(&mut unit);
            let changes = unit.into_changes();
            // A refusal has changed nothing, yet it waits like the rest: what it rests on may be in this group.
            if result.is_ok() && !group.absorb(changes) {
                return Err(reply);
            }
            result
        }
    };
    Ok(Evaluated::Answer(Box::new(move |failure| {
        // Who asked may have gone.
        let _ = reply.send(failure.map_or(result, |failure| Err(failure.into())));
    })))
}
