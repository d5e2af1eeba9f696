//! `foregate explain`: which route decides about a request, and why.
//!
//! Callers: `cli`. The decision is the gate's.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::anyhow;
use serde_json::json;

use super::administration::Administration;
use super::{CliError, CredentialKind, ExplainArguments, print};
use crate::admin::{Command, Reply};
use crate::config::Config;
use crate::gate::{Explanation, Gate, Question};
use crate::identity::{Certificate, Credential, Identity, Principal, UserId};
use crate::policy::Facts;
use crate::portal::Place;
use crate::request::{Host, Target, read_url};
use crate::route::Table;

/// Prints the route, the decision and what was passed over.
pub(super) fn run(path: &Path, arguments: &ExplainArguments) -> Result<(), CliError> {
    let config = Config::load(path).map_err(|faults| CliError::Configuration(faults.to_string()))?;
    let now = SystemTime::now();
    let client = arguments.ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_canonical();
    let (host, target) = place(&arguments.url, config.public_url.host())?;
    let certificate = arguments.client_certificate.as_deref().map(certificate);
    let question = Question {
        facts: Facts { certificate: certificate.as_ref(), client, now },
        host,
        identity: identity(&config, arguments, now)?.map(Arc::new),
        method: arguments.method.clone(),
        // Bearer and Basic are shown by programs, which want a status.
        navigates: !matches!(arguments.credential, Some(CredentialKind::Bearer | CredentialKind::Basic))
            && matches!(arguments.method, http::Method::GET | http::Method::HEAD),
        target,
    };
    let explanation = match &question.target {
        Ok(target) => of_the_portal(Place::of(target, &config.portal.prefix), &config.portal.prefix),
        Err(_) => None,
    };
    let explanation =
        explanation.unwrap_or_else(|| Gate::explain(&Table::new(config.routes.clone()), &question));
    print(&render(&explanation, arguments.json))
}

/// One that nobody issued, with this subject, or this common name alone.
fn certificate(subject: &str) -> Certificate {
    let whole = if subject.contains('=') { subject.to_owned() } else { format!("CN={subject}") };
    let common_name = whole.split(',').find_map(|part| part.strip_prefix("CN=")).map(str::to_owned);
    Certificate {
        alternative_names: Vec::new(),
        common_name,
        der: Vec::new(),
        not_after: SystemTime::UNIX_EPOCH,
        not_before: SystemTime::UNIX_EPOCH,
        serial: String::new(),
        subject: whole,
    }
}

/// What is said of targets that no route decides.
fn of_the_portal(place: Place<'_>, prefix: &str) -> Option<Explanation> {
    let (decision, why) = match place {
        Place::Elsewhere => return None,
        Place::Ours(_) => ("allow", format!("paths under {prefix} are the portal's own, on every host")),
        Place::Ambiguous => {
            ("bad-request", format!("servers read this target in different ways: under {prefix}, and not"))
        }
    };
    Some(Explanation { decision, passed_over: Vec::new(), route: None, why })
}

/// Host and target of a URL, or of a path on the public host.
fn place(url: &str, public_host: &str) -> Result<(String, Result<Target, String>), CliError> {
    let refused = |fault: &dyn std::fmt::Display| fault.to_string();
    if url.starts_with('/') {
        return Ok((public_host.to_owned(), Target::parse(url).map_err(|fault| refused(&fault))));
    }
    let usage =
        || CliError::Usage(format!("`{url}` is no URL; expected `https://app.example.com/path`, or a path"));
    let (_, rest) = url.split_once("://").ok_or_else(usage)?;
    let authority = &rest[..rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len())];
    let host: Host = authority.parse().map_err(|_| usage())?;
    Ok((host.name.to_string(), read_url(url).map(|(_, _, target)| target).map_err(|fault| refused(&fault))))
}

/// Who asks: `--user` looks the account up, `--role` replaces its roles.
fn identity(
    config: &Config,
    arguments: &ExplainArguments,
    now: SystemTime,
) -> Result<Option<Identity>, CliError> {
    let credential = match arguments.credential {
        Some(CredentialKind::None) => return Ok(None),
        None | Some(CredentialKind::Session) => Credential::Session,
        Some(CredentialKind::Bearer) => Credential::Bearer,
        Some(CredentialKind::Basic) => Credential::Basic,
    };
    if arguments.user.is_none() && arguments.roles.is_empty() {
        return Ok(None);
    }
    let roles: BTreeSet<_> = arguments.roles.iter().cloned().collect();
    let mut identity = Identity {
        access_token: None,
        authenticated_at: now,
        credential,
        email: None,
        expires_at: None,
        name: "".parse()?,
        roles,
        session: None,
        token: None,
        principal: Principal::Account(UserId::generate()),
        username: "somebody".parse()?,
    };
    let Some(login) = &arguments.user else { return Ok(Some(identity)) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let account = runtime.block_on(async {
        let administration = Administration::open(config).await?;
        let reply = administration.perform(Command::UserShow { login: login.clone() }).await;
        administration.close(config).await;
        reply
    })?;
    let Reply::Account(account) = account else {
        return Err(CliError::Failed(anyhow!("the server gave no account for `{login}`")));
    };
    if account.disabled || account.unconfirmed || account.waiting {
        // Nobody can sign in to it, so nobody is.
        return Ok(None);
    }
    identity.email = account.email;
    identity.name = account.name;
    identity.username = account.username;
    if arguments.roles.is_empty() {
        identity.roles = account.roles;
    }
    Ok(Some(identity))
}

fn render(explanation: &Explanation, as_json: bool) -> String {
    let route = explanation.route.as_deref().map(|route| &*route.name);
    if as_json {
        let passed_over: Vec<_> = explanation
            .passed_over
            .iter()
            .map(|(route, mismatch)| json!({ "route": &*route.name, "reason": mismatch.as_str() }))
            .collect();
        let value = json!({
            "route": route,
            "decision": explanation.decision,
            "reason": explanation.why,
            "passed_over": passed_over,
        });
        return format!("{value}\n");
    }
    let mut text = format!(
        "route:    {}\ndecision: {}\nreason:   {}\n",
        route.unwrap_or("-"),
        explanation.decision,
        explanation.why
    );
    for (route, mismatch) in &explanation.passed_over {
        text += &format!("passed over: {} ({})\n", route.name, mismatch.as_str());
    }
    text
}
