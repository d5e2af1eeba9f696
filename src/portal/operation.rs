//! Every operation of the portal, once: requests are found in this list, `dispatch` matches it, and the OpenAPI document is
//! written from it. One that is not dispatched or not described does not compile.
//!
//! The sub-requests of other proxies are not here: they are `subrequest`'s, and no client's.
//!
//! Callers: the portal's dispatch; `openapi` writes the document.

use super::{Portal, Verb, account, address, asset, confirm, forgot, login, logout, me};
use super::{metadata, openapi, probe, register, reset, strength, token};
use crate::account::RegistrationMode;

pub(super) mod answer;
pub(super) mod input;

use answer::Answer;
use input::Input;

/// What an operation takes and gives. It is written beside the code that does it, and every answer is held to it in
/// debug builds.
#[derive(Debug)]
pub(super) struct Description {
    /// A sentence or two.
    pub(super) about: &'static str,
    /// Besides those that every operation of its kind has.
    pub(super) answers: &'static [Answer],
    /// The body of a POST.
    pub(super) body: Option<&'static Input>,
    pub(super) credential: Credential,
    /// Its name for programs: generated clients call their functions so.
    pub(super) id: &'static str,
    pub(super) offered: Offered,
    pub(super) query: &'static [Parameter],
}

/// A parameter of the query.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) about: &'static str,
    pub(super) name: &'static str,
    pub(super) needed: bool,
}

/// What a request has to show.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Credential {
    /// A session, a Bearer or Basic.
    Any,
    /// A personal access token with the scope `introspect`.
    Introspector,
    None,
    /// Nothing, or the token that the operation is about, where the body has none.
    OwnToken,
    /// A refresh token, in `Authorization` or in its cookie.
    RefreshToken,
    Session,
}

/// Under which configuration there is such an operation at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Offered {
    Always,
    /// `registration.members_invite`, and what that takes.
    WithInvitations,
    /// `portal.account_deletion`.
    WithDeletion,
    /// `mail`.
    WithMail,
    /// `registration.mode` other than `closed`.
    WithRegistration,
}

macro_rules! operations {
    ($($name:ident $verb:ident $path:literal $description:path,)*) => {
        /// One method at one path.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(super) enum Operation { $($name),* }

        impl Operation {
            /// All there are.
            pub(super) const ALL: &[Self] = &[$(Self::$name),*];

            /// `Get` is HEAD as well.
            pub(super) fn verb(self) -> Verb {
                match self { $(Self::$name => Verb::$verb),* }
            }

            /// Below the prefix; `{...}` is one segment.
            pub(super) fn path(self) -> &'static str {
                match self { $(Self::$name => $path),* }
            }

            pub(super) fn description(self) -> &'static Description {
                match self { $(Self::$name => &$description),* }
            }
        }
    };
}

operations! {
    Start               Get  "/"                                        login::START,
    LoginPage           Get  "/login"                                   login::PAGE,
    LogIn               Post "/login"                                   login::SUBMIT,
    LogoutPage          Get  "/logout"                                  logout::PAGE,
    LogOut              Post "/logout"                                  logout::SUBMIT,
    Me                  Get  "/me"                                      me::ANSWER,
    RegisterPage        Get  "/register"                                register::PAGE,
    Register            Post "/register"                                register::SUBMIT,
    ConfirmPage         Get  "/confirm"                                 confirm::PAGE,
    Confirm             Post "/confirm"                                 confirm::SUBMIT,
    ResendConfirmation  Post "/confirm/resend"                          confirm::RESEND,
    ForgotPage          Get  "/forgot"                                  forgot::PAGE,
    Forgot              Post "/forgot"                                  forgot::SUBMIT,
    ResetPage           Get  "/reset"                                   reset::PAGE,
    Reset               Post "/reset"                                   reset::SUBMIT,
    JudgePassword       Post "/password-strength"                       strength::JUDGE,
    Account             Get  "/account"                                 account::PAGE,
    ChangeProfile       Post "/account/profile"                         account::profile::SUBMIT,
    ChangePassword      Post "/account/password"                        account::password::SUBMIT,
    AddressPage         Get  "/account/email"                           address::PAGE,
    ChangeAddress       Post "/account/email"                           address::SUBMIT,
    RevokeOtherSessions Post "/account/sessions/revoke-others"          account::sessions::REVOKE_OTHERS,
    RevokeSession       Post "/account/sessions/{id}/revoke"            account::sessions::REVOKE,
    CreateToken         Post "/account/tokens"                          account::tokens::CREATE,
    RevokeOwnToken      Post "/account/tokens/{id}/revoke"              account::tokens::REVOKE,
    Invite              Post "/account/invitations"                     account::invitations::CREATE,
    RevokeInvitation    Post "/account/invitations/{id}/revoke"         account::invitations::REVOKE,
    DeleteAccount       Post "/account/delete"                          account::delete::SUBMIT,
    Token               Post "/token"                                   token::SUBMIT,
    RefreshToken        Post "/token/refresh"                           token::REFRESH,
    Introspect          Post "/token/introspect"                        token::introspect::SUBMIT,
    RevokeToken         Post "/token/revoke"                            token::revoke::SUBMIT,
    Keys                Get  "/jwks.json"                               metadata::KEYS,
    Server              Get  "/.well-known/oauth-authorization-server"  metadata::SERVER,
    OpenApi             Get  "/openapi.json"                            openapi::ANSWER,
    Healthy             Get  "/healthz"                                 probe::HEALTHY,
    Ready               Get  "/readyz"                                  probe::READY,
    Asset               Get  "/theme/{name}"                            asset::ANSWER,
}

/// What a path and a method lead to.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Found<'a> {
    Nothing,
    /// The operation, and the segment that the path leaves open.
    Operation(Operation, &'a str),
    /// Other methods are known at this path: these.
    OtherMethod(&'static str),
}

impl Operation {
    /// `path` is what follows the prefix.
    pub(super) fn find<'a>(path: &'a str, verb: Verb, portal: &Portal) -> Found<'a> {
        let path = if path.is_empty() { "/" } else { path };
        let here = Self::ALL.iter().filter_map(|operation| {
            let segment = segment(operation.path(), path)?;
            operation.is_offered(portal).then_some((*operation, segment))
        });
        let here: Vec<_> = here.collect();
        if let Some((operation, segment)) = here.iter().find(|(operation, _)| operation.verb() == verb) {
            return Found::Operation(*operation, segment);
        }
        let knows = |verb| here.iter().any(|(operation, _)| operation.verb() == verb);
        match (knows(Verb::Get), knows(Verb::Post)) {
            (true, true) => Found::OtherMethod("GET, HEAD, POST"),
            (true, false) => Found::OtherMethod("GET, HEAD"),
            (false, true) => Found::OtherMethod("POST"),
            (false, false) => Found::Nothing,
        }
    }

    /// Whether this configuration has it.
    pub(super) fn is_offered(self, portal: &Portal) -> bool {
        match self.description().offered {
            Offered::Always => true,
            Offered::WithInvitations => portal.accounts.members_invite(),
            Offered::WithDeletion => portal.settings.account_deletion,
            // Nobody gets an address that no mail has shown to be theirs.
            Offered::WithMail => portal.accounts.sends_mail(),
            Offered::WithRegistration => portal.accounts.registration().mode != RegistrationMode::Closed,
        }
    }
}

/// The segment that a path has where the template leaves one open: empty where it leaves none open. `None`: another path.
fn segment<'a>(template: &str, path: &'a str) -> Option<&'a str> {
    let Some((before, rest)) = template.split_once('{') else { return (template == path).then_some("") };
    let (_, after) = rest.split_once('}')?;
    let segment = path.strip_prefix(before)?.strip_suffix(after)?;
    (!segment.is_empty() && !segment.contains('/')).then_some(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_fills_the_open_segment_of_its_template() {
        for (template, path, expected) in [
            ("/login", "/login", Some("")),
            ("/login", "/login/", None),
            ("/a/{id}/revoke", "/a/7/revoke", Some("7")),
            ("/a/{id}/revoke", "/a//revoke", None),
            ("/a/{id}/revoke", "/a/revoke", None),
            ("/a/{id}/revoke", "/a/7/8/revoke", None),
            ("/a/{id}/revoke", "/a/7/revoked", None),
            ("/theme/{name}", "/theme/logo.svg", Some("logo.svg")),
            ("/theme/{name}", "/theme/", None),
        ] {
            assert_eq!(segment(template, path), expected, "{template} {path}");
        }
    }

    #[test]
    fn no_two_operations_have_one_place_or_one_name() {
        for (at, one) in Operation::ALL.iter().enumerate() {
            for other in &Operation::ALL[at + 1..] {
                assert!(one.path() != other.path() || one.verb() != other.verb(), "{one:?} and {other:?}");
                assert_ne!(one.description().id, other.description().id, "{one:?} and {other:?}");
            }
        }
    }
}
