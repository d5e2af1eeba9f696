//! `registration`: who may make an account, and what it takes.
//!
//! Callers: `config`.

use std::collections::BTreeSet;

use super::reader::Section;
use super::routes::{email_domain, role};
use crate::account::{MembersInvite, RegistrationMode, RegistrationSettings};
use crate::authn::Rate;

const MODES: &[(&str, RegistrationMode)] = &[
    ("closed", RegistrationMode::Closed),
    ("invite", RegistrationMode::Invite),
    ("approval", RegistrationMode::Approval),
    ("open", RegistrationMode::Open),
];

/// `has_mail`: mails can be sent, or what would say so is faulty and told of itself.
pub(super) fn read(root: &mut Section<'_>, has_mail: bool, per_ip: Rate) -> RegistrationSettings {
    root.section("registration", |registration| {
        let mode_value = registration.get("mode");
        let mode = mode_value.and_then(|value| value.word(MODES)).unwrap_or(RegistrationMode::Closed);
        let confirm_value = registration.get("confirm_email");
        let confirm_email = confirm_value.and_then(|value| value.flag()).unwrap_or(true);
        // An invitation proves the address by itself, and to who is closed nothing comes.
        let confirms = match mode {
            RegistrationMode::Approval | RegistrationMode::Open => confirm_email,
            RegistrationMode::Closed | RegistrationMode::Invite => false,
        };
        if let Some(value) = confirm_value.or(mode_value).filter(|_| confirms && !has_mail) {
            let message = match confirm_value {
                Some(_) => "addresses can't be confirmed: `mail` is not set",
                None => "addresses of new accounts are confirmed by mail, and `mail` is not set",
            };
            let help = "set `mail`, or set `registration.confirm_email` to `false`";
            value.reader().add(value.fault(message).help(help));
        }
        let domains = registration.get("email_domains").and_then(|value| value.parse_list(email_domain));
        let roles = registration.get("roles").and_then(|value| value.parse_list(role));
        let invite_value = registration.get("members_invite");
        let members_invite = invite_value.and_then(|value| value.flag()).unwrap_or(false);
        let inviters_value = registration.get("inviter_roles");
        let inviters = inviters_value.and_then(|value| value.parse_list(role));
        let limit_value = registration.get("invitations_per_member");
        let limit = limit_value.and_then(|value| value.number(1..=1000));
        // Written as `false` it is switched off, and what it would need may stay for the day when it is on again.
        let named = inviters_value.filter(|_| inviters.as_ref().is_some_and(|roles| !roles.is_empty()));
        for value in [named, limit_value].into_iter().flatten().filter(|_| invite_value.is_none()) {
            let fault = value.fault_of_key("no member invites: `members_invite` is not set");
            let help = "set `registration.members_invite` to `true`, or leave this out";
            value.reader().add(fault.help(help));
        }
        if let Some(value) = invite_value.filter(|_| members_invite) {
            let fault = match (mode, has_mail) {
                (RegistrationMode::Closed, _) => Some((
                    "nobody can be invited: registration is closed",
                    "set `registration.mode` to `invite`, `approval` or `open`",
                )),
                (_, false) => Some((
                    "members can't invite: `mail` is not set, and their invitations go by mail alone",
                    "set `mail`, or set `registration.members_invite` to `false`",
                )),
                (_, true) => None,
            };
            if let Some((message, help)) = fault {
                value.reader().add(value.fault(message).help(help));
            }
        }
        RegistrationSettings {
            confirm_email,
            email_domains: BTreeSet::from_iter(domains.unwrap_or_default()),
            members_invite: members_invite.then(|| MembersInvite {
                limit: usize::try_from(limit.unwrap_or(10)).unwrap_or(usize::MAX),
                roles: BTreeSet::from_iter(inviters.unwrap_or_default()),
            }),
            mode,
            per_ip,
            roles: BTreeSet::from_iter(roles.unwrap_or_default()),
        }
    })
}
