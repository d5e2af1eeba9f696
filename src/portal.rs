//! Every page and endpoint of ours, under one path prefix: parse the request, call a room, render.
//!
//! Forms and JSON meet at the same paths. Nothing here decides who may pass a route, and nothing
//! here changes an account except through `account`.
//!
//! Callers: `gateway`, for paths under the prefix. The sub-requests of other proxies live under it
//! too and are `subrequest`'s: they are taken before anything comes here.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{RETRY_AFTER, SET_COOKIE, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};

use crate::account::{Accounts, LinkRequest, RegistrationMode};
use crate::authn::location::{Showing, Shown};
use crate::authn::{self, Authentication, Authenticator, SessionSettings, TokenSettings, location};
use crate::identity::{Credential, Identity, TokenLocation, TokenLocations};
use crate::mail;
use crate::request::{Context, Origin, SentFrom, sent_from};
use crate::response::look::Look;
use crate::response::texts::{self, Language};
use crate::response::{Asker, Body, BodyError, Pages, Problem};
use crate::route::{HostPattern, TokenEndpoint};
use crate::telemetry::audit;

mod account;
mod address;
mod asset;
mod confirm;
mod csrf;
mod forgot;
mod form;
mod login;
mod logout;
mod me;
mod metadata;
mod next;
mod notice;
mod openapi;
mod operation;
mod pending;
mod place;
mod probe;
mod register;
mod reset;
mod strength;
#[cfg(test)]
mod tests;
mod token;

use account::Change;
use csrf::{Csrf, FormToken};
use form::{Fields, Format};
pub use next::{Next, NextRules};
use operation::input::{CSRF_TOKEN, Input};
use operation::{Found, Operation};
pub use place::Place;

/// Where browsers and password managers look for the page that changes a password (W3C's note of that name).
const CHANGE_PASSWORD: &str = "/.well-known/change-password";

/// How long a Basic password may be waited for at `/me`.
const PATIENCE: Duration = Duration::from_secs(10);

/// When to come back after a failure of ours.
const RETRY: Duration = Duration::from_secs(5);

/// How long a choice of language is remembered: a year.
const LANGUAGE_SECONDS: u64 = 365 * 24 * 60 * 60;

/// Sources that `form-action` lists at most, so that a long list of routes makes no long header.
const MAX_FORM_TARGETS: usize = 24;

/// What the pages need (`portal` in the configuration).
#[derive(Clone, Debug)]
pub struct PortalSettings {
    /// Whether people may delete their own account.
    pub account_deletion: bool,
    /// Where to when there is no `next`: a path.
    pub after_login: String,
    /// Where to after signing out: a path.
    pub after_logout: String,
    /// Further hosts that `next` may name.
    pub allowed_redirects: Vec<HostPattern>,
    /// How the pages look.
    pub look: Look,
    /// Under which our paths live, such as `/.auth`: begins with a slash, doesn't end in one.
    pub prefix: String,
}

/// The rooms and facts that the portal works with.
pub struct PortalDoors {
    /// Changes accounts.
    pub accounts: Accounts,
    /// Says who is signed in.
    pub authenticator: Arc<Authenticator>,
    /// What tokens in forms are made with, the same for all instances.
    pub csrf_key: [u8; 32],
    /// Renders; shared with whoever else answers with a page.
    pub pages: Arc<Pages>,
    /// Whether new requests are welcome: not draining, and the store works.
    pub ready: Arc<dyn Fn() -> bool + Send + Sync>,
    /// The names of the routes that a personal access token can be for.
    pub token_routes: Vec<String>,
}

/// The portal.
pub struct Portal {
    accounts: Accounts,
    authenticator: Arc<Authenticator>,
    csrf: Csrf,
    form_targets: Vec<String>,
    next_rules: NextRules,
    /// Written when it is asked for first.
    openapi: OnceLock<String>,
    pages: Arc<Pages>,
    public_url: Origin,
    ready: Arc<dyn Fn() -> bool + Send + Sync>,
    remember: Option<Duration>,
    secure: bool,
    session_cookie: String,
    settings: PortalSettings,
    token_routes: Vec<String>,
}

/// One request to the portal, its body apart.
struct Visit<'a> {
    asker: Asker,
    context: &'a Context,
    headers: &'a HeaderMap,
    query: Vec<(String, String)>,
}

/// What counts of a method here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verb {
    /// HEAD as well.
    Get,
    Post,
    Other,
}

impl Portal {
    /// `public_url` is the origin that browsers use; `route_hosts` are the hosts that routes name.
    pub fn new(
        settings: PortalSettings,
        session: &SessionSettings,
        public_url: Origin,
        route_hosts: Vec<HostPattern>,
        doors: PortalDoors,
    ) -> Self {
        let mut hosts = vec![HostPattern::Exact(public_url.host().to_owned())];
        hosts.extend(route_hosts);
        hosts.extend(settings.allowed_redirects.iter().cloned());
        Self {
            accounts: doors.accounts,
            authenticator: doors.authenticator,
            csrf: Csrf::new(doors.csrf_key, session.secure),
            form_targets: hosts.iter().filter_map(next::form_target).take(MAX_FORM_TARGETS).collect(),
            next_rules: NextRules { hosts, prefix: settings.prefix.clone() },
            openapi: OnceLock::new(),
            pages: doors.pages,
            public_url,
            ready: doors.ready,
            remember: session.remember,
            secure: session.secure,
            session_cookie: session.cookie_name.clone(),
            settings,
            token_routes: doors.token_routes,
        }
    }

    /// The cookies that are ours: no upstream sees or sets them.
    pub fn cookie_names(session: &SessionSettings, tokens: &TokenSettings) -> Vec<String> {
        let others = [Csrf::cookie_name(session.secure), notice::NAME, texts::COOKIE].map(str::to_owned);
        let of_tokens = location::COOKIES.iter().filter(|_| tokens.cookies).map(|name| (*name).to_owned());
        [session.cookie_name.clone()].into_iter().chain(others).chain(of_tokens).collect()
    }

    /// Answers what is ours outside of the prefix, where no route claims it: where our token endpoints are, and where a
    /// password is changed.
    pub fn well_known(
        &self,
        context: &Context,
        headers: &HeaderMap,
        asker: &Asker,
    ) -> Option<Response<Body>> {
        if !matches!(context.method, Method::GET | Method::HEAD) {
            return None;
        }
        match context.target.path() {
            metadata::PATH => Some(metadata::server(self, asker, headers)),
            CHANGE_PASSWORD => Some(asker.see_other(&format!("{}/account#password", self.settings.prefix))),
            _ => None,
        }
    }

    /// Answers a request whose path is under the prefix.
    pub async fn handle<B>(&self, context: &Context, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BodyError>,
    {
        let path = request.uri().path().strip_prefix(&self.settings.prefix).unwrap_or_default().to_owned();
        let verb = match *request.method() {
            Method::GET | Method::HEAD => Verb::Get,
            Method::POST => Verb::Post,
            _ => Verb::Other,
        };
        self.handle_at(context, request, &path, verb).await
    }

    /// Answers a request for an endpoint that a route has at another address, with whatever method programs use there to
    /// change something.
    pub async fn handle_token<B>(
        &self,
        endpoint: TokenEndpoint,
        context: &Context,
        request: Request<B>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BodyError>,
    {
        let verb = match *request.method() {
            Method::GET | Method::HEAD => Verb::Get,
            Method::OPTIONS => Verb::Other,
            _ => Verb::Post,
        };
        self.handle_at(context, request, endpoint.path(), verb).await
    }

    async fn handle_at<B>(
        &self,
        context: &Context,
        request: Request<B>,
        path: &str,
        verb: Verb,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BodyError>,
    {
        let (parts, body) = request.into_parts();
        let asker = Asker::new(&parts.method, &parts.headers, context.id.header_value().clone());
        let in_json = parts.method == Method::POST && matches!(Format::of(&parts.headers), Ok(Format::Json));
        let asker = if in_json { asker.in_json() } else { asker };
        let query = form::query(parts.uri.query());
        let chosen = form::parameter(&query, &[texts::PARAMETER]).and_then(Language::parse);
        let asker = chosen.into_iter().fold(asker, Asker::in_language);
        let visit = Visit { asker, context, headers: &parts.headers, query };
        let origin = audit::Origin::Request { id: context.id.header_value().clone(), source: context.client };
        let found = Operation::find(path, verb, self);
        let answered = match found {
            Found::Operation(operation, segment) => {
                audit::within(origin, self.dispatch(&visit, operation, segment, body)).await
            }
            // Whoever reloads what a form led to, or opens it from the history, is shown the page.
            Found::OtherMethod(_)
                if verb == Verb::Get && account::is_below(path) && visit.asker.wants_html() =>
            {
                Ok(visit.asker.see_other(&self.pages.address(account::PATH, &[])))
            }
            Found::OtherMethod(allow) => Err(Problem::method_not_allowed(allow)),
            Found::Nothing => Err(Problem::not_found()),
        };
        let code = answered.as_ref().err().map(|problem| problem.code);
        let mut response = match answered {
            Ok(response) => response,
            Err(problem) if token::is_at(path) => token::refuse(&problem, self, &visit),
            Err(problem) => problem.respond(&visit.asker, &self.pages),
        };
        if let Found::Operation(operation, _) = found {
            // So that the document names all there is, whatever the tests make us answer.
            debug_assert!(
                operation.description().covers(&response, code),
                "{operation:?} is not described as answering {} {code:?} {:?}",
                response.status(),
                response.headers()
            );
        }
        set_cookie(&mut response, chosen.and_then(|language| self.remember_language(language)));
        response
    }

    /// `Set-Cookie` for a language that was chosen. It holds for every page of this host: what goes wrong
    /// behind the gateway is told in it too.
    fn remember_language(&self, language: Language) -> Option<HeaderValue> {
        let (name, tag) = (texts::COOKIE, language.tag());
        let secure = if self.secure { "; Secure" } else { "" };
        let cookie =
            format!("{name}={tag}; Path=/; Max-Age={LANGUAGE_SECONDS}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::try_from(cookie).ok()
    }

    /// Every operation of ours; `segment` is what its path leaves open.
    async fn dispatch<B>(
        &self,
        visit: &Visit<'_>,
        operation: Operation,
        segment: &str,
        body: B,
    ) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BodyError>,
    {
        if operation.verb() == Verb::Post {
            self.check_origin(visit)?;
        }
        let input = operation.description().body.unwrap_or(&Input::EMPTY);
        let fields = || self.fields(visit, body, input);
        match operation {
            Operation::Start => Ok(visit.asker.see_login(&self.pages, None, None)),
            Operation::LoginPage => login::page(self, visit).await,
            Operation::LogIn => login::submit(self, visit, fields().await?).await,
            Operation::LogoutPage => logout::page(self, visit).await,
            Operation::LogOut => logout::submit(self, visit, fields().await?).await,
            Operation::Me => me::answer(self, visit).await,
            Operation::RegisterPage => register::page(self, visit),
            Operation::Register => register::submit(self, visit, fields().await?).await,
            Operation::ConfirmPage => confirm::page(self, visit),
            Operation::Confirm => confirm::submit(self, visit, fields().await?).await,
            Operation::ResendConfirmation => confirm::resend(self, visit, fields().await?).await,
            Operation::ForgotPage => Ok(forgot::page(self, visit)),
            Operation::Forgot => forgot::submit(self, visit, fields().await?).await,
            Operation::ResetPage => reset::page(self, visit),
            Operation::Reset => reset::submit(self, visit, fields().await?).await,
            Operation::JudgePassword => strength::judge(self, visit, fields().await?).await,
            Operation::Account => account::page(self, visit).await,
            Operation::ChangeProfile => account::submit(self, visit, Change::Profile, fields).await,
            Operation::ChangePassword => account::submit(self, visit, Change::Password, fields).await,
            Operation::AddressPage => address::page(self, visit).await,
            Operation::ChangeAddress => address::submit(self, visit, fields).await,
            Operation::RevokeOtherSessions => {
                account::submit(self, visit, Change::OtherSessions, fields).await
            }
            Operation::RevokeSession => account::submit(self, visit, Change::Session(segment), fields).await,
            Operation::CreateToken => account::submit(self, visit, Change::NewToken, fields).await,
            Operation::RevokeOwnToken => account::submit(self, visit, Change::Token(segment), fields).await,
            Operation::Invite => account::submit(self, visit, Change::Invite, fields).await,
            Operation::RevokeInvitation => {
                account::submit(self, visit, Change::Invitation(segment), fields).await
            }
            Operation::DeleteAccount => account::submit(self, visit, Change::Delete, fields).await,
            Operation::Token => token::submit(self, visit, fields().await?).await,
            Operation::RefreshToken => token::refresh(self, visit, fields().await?).await,
            Operation::Introspect => token::introspect::submit(self, visit, fields).await,
            Operation::RevokeToken => token::revoke::submit(self, visit, fields().await?).await,
            Operation::Keys => Ok(metadata::keys(self, &visit.asker, visit.headers)),
            Operation::Server => Ok(metadata::server(self, &visit.asker, visit.headers)),
            Operation::OpenApi => Ok(openapi::answer(self, &visit.asker, visit.headers)),
            Operation::Healthy => Ok(probe::healthy(visit)),
            Operation::Ready => Ok(probe::ready(self, visit)),
            Operation::Asset => asset::answer(self, visit, segment),
        }
    }

    /// The fields of a POST.
    async fn fields<B>(&self, visit: &Visit<'_>, body: B, input: &Input) -> Result<Fields, Problem>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BodyError>,
    {
        let format = Format::of(visit.headers)?;
        Fields::parse(format, &form::read(visit.headers, body).await?, input)
    }

    fn check_origin(&self, visit: &Visit<'_>) -> Result<(), Problem> {
        // Stricter than for applications: a sister host has no business with our forms either.
        match sent_from(visit.headers, visit.context, &self.public_url) {
            SentFrom::Here => Ok(()),
            // Its body was not read, so the connection closes.
            SentFrom::Elsewhere | SentFrom::SameSite => Err(Problem::cross_site().closing()),
        }
    }

    /// Whether a form was sent by our own page. JSON needs no token: no page elsewhere can send it unasked.
    fn check_csrf(&self, visit: &Visit<'_>, fields: &mut Fields) -> bool {
        let token = fields.text(CSRF_TOKEN).unwrap_or_default();
        match fields.format {
            Format::Json => true,
            Format::Form => self.csrf.holds(visit.headers, &token, visit.context.received_at),
        }
    }

    fn form_token(&self, visit: &Visit<'_>) -> FormToken {
        self.csrf.issue(visit.headers, visit.context.received_at)
    }

    async fn authenticate(
        &self,
        visit: &Visit<'_>,
        accepted: &BTreeSet<Credential>,
    ) -> Result<Authentication, Problem> {
        let Context { client, received_at, .. } = *visit.context;
        let asker = authn::Asker { client, now: received_at, patience: PATIENCE };
        let answer = self.authenticator.authenticate(visit.headers, accepted, asker).await;
        answer.map_err(|error| failure(&error))
    }

    /// Who asks, with whatever credential; nothing is changed by it.
    async fn whoever(&self, visit: &Visit<'_>) -> Result<Authentication, Problem> {
        let all = BTreeSet::from([Credential::Session, Credential::Bearer, Credential::Basic]);
        if !self.gives_cookies() {
            return self.authenticate(visit, &all).await;
        }
        let Context { client, received_at, .. } = *visit.context;
        let asker = authn::Asker { client, now: received_at, patience: PATIENCE };
        let locations = TokenLocations::new([TokenLocation::Header, TokenLocation::Cookie]);
        let (headers, locations) = (visit.headers, &locations);
        let showing = Showing { doubled: false, headers, locations, query: Shown::Nothing };
        let located = self.authenticator.authenticate_located(&showing, &all, asker).await;
        located.map(|located| located.authentication).map_err(|error| failure(&error))
    }

    /// Who is signed in in this browser.
    async fn signed_in(&self, visit: &Visit<'_>) -> Result<Option<Arc<Identity>>, Problem> {
        match self.authenticate(visit, &BTreeSet::from([Credential::Session])).await? {
            Authentication::Verified(identity) => Ok(Some(identity)),
            Authentication::Absent | Authentication::Rejected(_) => Ok(None),
        }
    }

    /// Whether a program in a browser may have its tokens in cookies.
    fn gives_cookies(&self) -> bool {
        self.authenticator.tokens().settings().cookies
    }

    /// Whether anybody at all may make an account here.
    fn registers(&self) -> bool {
        match self.accounts.registration().mode {
            RegistrationMode::Approval | RegistrationMode::Open => true,
            RegistrationMode::Closed | RegistrationMode::Invite => false,
        }
    }

    /// The browser's session cookie, whether or not it is worth anything.
    fn session_cookie<'a>(&self, visit: &Visit<'a>) -> Option<&'a str> {
        authn::session::cookie(visit.headers, &self.session_cookie)
    }

    /// All that a browser shows for one, for the end of whichever is real.
    fn session_cookies<'a>(&self, visit: &Visit<'a>) -> Vec<&'a str> {
        authn::session::cookies(visit.headers, &self.session_cookie)
    }

    fn next(&self, raw: Option<&str>) -> Option<Next> {
        Next::parse(raw?, &self.next_rules)
    }

    /// Where a form of ours may lead to by redirects. An application may send a person who has just
    /// come in on to another scheme, port or host of ours, and Chromium would stop there without a word.
    fn form_targets(&self, visit: &Visit<'_>, next: Option<&Next>) -> String {
        let here = next::form_target(&HostPattern::Exact(visit.context.host.name.to_string()));
        let next = next.and_then(Next::host).map(|host| HostPattern::Exact(host.name.to_string()));
        let next = next.as_ref().and_then(next::form_target);
        let mut targets: Vec<&str> =
            here.iter().chain(&next).chain(&self.form_targets).map(String::as_str).collect();
        targets.sort_unstable();
        targets.dedup();
        targets.join(" ")
    }
}

impl<'a> Visit<'a> {
    /// The one value of a parameter in the query, under any of its names.
    fn parameter(&self, names: &[&str]) -> Option<&str> {
        form::parameter(&self.query, names)
    }

    /// Where the person stands, for them to read.
    fn place(&self) -> String {
        self.context.host.to_string()
    }

    /// In which the mails are written that this person asks for.
    fn mail_language(&self) -> mail::Language {
        mail::Language::parse(self.asker.language().tag()).unwrap_or_default()
    }

    /// For a link by mail.
    fn link_request(&self) -> LinkRequest {
        let Context { client, received_at, .. } = *self.context;
        LinkRequest { language: self.mail_language(), now: received_at, source: client }
    }

    fn user_agent(&self) -> &'a str {
        self.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default()
    }
}

/// A failure of ours: a 503, logged here, once.
fn failure(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "a request to the portal is answered with 503");
    Problem::unavailable(RETRY)
}

/// `WWW-Authenticate` of endpoints that take a Bearer.
fn bearer_challenge() -> HeaderValue {
    HeaderValue::from_static("Bearer realm=\"foregate\"")
}

fn set_cookie(response: &mut Response<Body>, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

fn set_retry_after(response: &mut Response<Body>, wait: Duration) {
    response.headers_mut().insert(RETRY_AFTER, crate::response::retry_after_value(wait));
}

fn set_challenge(response: &mut Response<Body>) {
    response.headers_mut().insert(WWW_AUTHENTICATE, bearer_challenge());
}
