//! The command line: parse, call a room, print.
//!
//! Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 the operation failed, 2 the
//! usage or the configuration is wrong. There is no colour, so there is none to turn off. A failure
//! is one sentence that says what to do.
//!
//! Callers: `main`. No rule is decided here, and no account is changed except through `admin`, in the
//! running server or, where none runs, on the store itself.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ColorChoice, CommandFactory, Parser, Subcommand, ValueEnum};
use http::Method;

use crate::config::Config;
use crate::identity::Role;
use crate::telemetry;

mod administration;
mod audit;
mod check;
pub mod demo;
mod explain;
mod generated;
mod invitation;
mod key;
mod mail;
mod password_input;
mod serve;
mod server;
mod session;
mod store;
mod table;
mod theme;
mod token;
mod unreadable;
mod user;

/// Where the configuration is looked for when nobody names it.
const CONFIGURATIONS: [&str; 2] = ["./foregate.yaml", "/etc/foregate/foregate.yaml"];

/// How long the log may take at the end.
const LAST_LINES: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  foregate demo                     try it out: a gateway, a sample application and two accounts
  foregate serve -c foregate.yaml   run the gateway";

#[derive(Parser)]
#[command(
    name = "foregate",
    version,
    about = "A reverse-proxy authentication gateway: login pages, sessions and tokens in front of applications that can't be changed.",
    before_help = EXAMPLES,
    color = ColorChoice::Never,
    help_template = "{about}\n\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}\n",
)]
struct Cli {
    /// The configuration; without it ./foregate.yaml, else /etc/foregate/foregate.yaml
    #[arg(short, long, global = true, value_name = "FILE", env = "FOREGATE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Start the gateway in front of a sample application, with a throw-away store and two accounts
    Demo(DemoArguments),
    /// Show who signed in or failed to, and who changed which account, from the file that `log.audit` names
    Audit(audit::AuditArguments),
    /// Run the gateway; SIGHUP reads the configuration again, SIGTERM finishes what is running, and stops
    Serve,
    /// Validate the configuration; every fault is shown with its line
    Check,
    /// Say which route decides about a request, and why
    Explain(ExplainArguments),
    /// Have the running server read its configuration again; a faulty one changes nothing, and its faults are shown
    Reload,
    /// List the invitations that are open, and take them back; `foregate user invite` makes one
    #[command(subcommand)]
    Invitation(invitation::InvitationCommand),
    /// List the keys that sign tokens, and take a new one into use
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// List and end sessions
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Show which server runs, and how it does
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Begin a theme: templates, style and texts of your own
    #[command(subcommand)]
    Theme(theme::ThemeCommand),
    /// Make, list and revoke personal access tokens, for programs
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Add, show, change and delete accounts
    #[command(subcommand)]
    User(user::UserCommand),
    /// Try the mail server out
    #[command(subcommand)]
    Mail(mail::MailCommand),
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Back the store up, also while the server runs; restore it, move it
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Print what a shell reads to complete these commands, as in: foregate completions bash
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page, as in: foregate man user add | man -l -
    Man {
        /// Of which command; without one, of the program
        #[arg(value_name = "COMMAND", conflicts_with = "output")]
        words: Vec<String>,
        /// Write the pages of all commands into this folder
        #[arg(long, value_name = "FOLDER")]
        output: Option<PathBuf>,
    },
}

/// Arguments of `foregate demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArguments {
    /// Print one JSON object: the URL, and the accounts with their passwords
    #[arg(long)]
    pub json: bool,

    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
}

/// Arguments of `foregate explain`.
#[derive(Args, Clone, Debug)]
pub struct ExplainArguments {
    /// The method, such as GET
    #[arg(value_parser = method)]
    pub method: Method,

    /// The URL as a browser has it, or a path alone
    pub url: String,

    /// The subject of the client's certificate, such as CN=robot,O=Example, or its common name
    #[arg(long, value_name = "SUBJECT")]
    pub client_certificate: Option<String>,

    /// Which kind of credential the request shows; the default suits the route
    #[arg(long, value_name = "KIND")]
    pub credential: Option<CredentialKind>,

    /// Where the request comes from
    #[arg(long, value_name = "ADDR")]
    pub ip: Option<IpAddr>,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,

    /// A role that the person has, in place of the account's own; repeat for more
    #[arg(long = "role", value_name = "R")]
    pub roles: Vec<Role>,

    /// Who is signed in, by name or address; nobody without this and --role
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
}

/// What a made-up request shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum CredentialKind {
    /// The session cookie.
    Session,
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization: Basic`.
    Basic,
    /// Nothing.
    None,
}

/// Why a command ended without being done.
#[derive(Debug)]
pub enum CliError {
    /// The configuration is wrong: printed as it is, exit code 2.
    Configuration(String),
    /// The operation failed: exit code 1.
    Failed(anyhow::Error),
    /// The usage is wrong: exit code 2.
    Usage(String),
}

impl<E: Into<anyhow::Error>> From<E> for CliError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(faults) => f.write_str(faults.trim_end()),
            Self::Failed(error) => write!(f, "error: {error:#}"),
            Self::Usage(sentence) => write!(f, "error: {sentence}"),
        }
    }
}

impl CliError {
    fn exit_code(&self) -> ExitCode {
        match self {
            // Whoever reads our output has seen enough (`foregate user list | head`).
            Self::Failed(error) if is_broken_pipe(error) => ExitCode::SUCCESS,
            Self::Failed(_) => ExitCode::FAILURE,
            Self::Configuration(_) | Self::Usage(_) => ExitCode::from(2),
        }
    }
}

/// Runs one command line.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // What is written here (the store, the admin socket) is for this user alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and the version are data, a mistake is not: clap knows which stream.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let Some(command) = cli.command else {
        // Nothing was asked for, so this is no data.
        drop(write!(io::stderr(), "{}", Cli::command().render_help()));
        return ExitCode::from(2);
    };
    let done = dispatch(cli.config, command);
    let told = telemetry::finish(LAST_LINES);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error takes nothing any more, this line would wait for ever.
            if told && !matches!(&error, CliError::Failed(cause) if is_broken_pipe(cause)) {
                drop(writeln!(io::stderr(), "{error}"));
            }
            error.exit_code()
        }
    }
}

fn dispatch(config: Option<PathBuf>, command: Command) -> Result<(), CliError> {
    match command {
        Command::Audit(arguments) => audit::run(&load(config)?, &arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Serve => serve::run(&configuration(config)?),
        Command::Check => check::run(&configuration(config)?),
        Command::Explain(arguments) => explain::run(&configuration(config)?, &arguments),
        Command::Reload => server::reload(&configuration(config)?),
        Command::Invitation(command) => invitation::run(&load(config)?, command),
        Command::Key(command) => key::run(&load(config)?, command),
        Command::Session(command) => session::run(&load(config)?, command),
        Command::Status { json } => server::status(&configuration(config)?, json),
        Command::Theme(command) => theme::run(&command),
        Command::Token(command) => token::run(&load(config)?, command),
        Command::User(command) => user::run(&load(config)?, command),
        Command::Mail(command) => mail::run(&load(config)?, command),
        Command::Schema => print(crate::config::SCHEMA),
        Command::Store(command) => store::run(&load(config)?, command),
        Command::Completions { shell } => generated::completions(shell, Cli::command()),
        Command::Man { words, output: None } => generated::manual(&words, Cli::command()),
        Command::Man { output: Some(folder), .. } => generated::all_manuals(&folder, Cli::command()),
    }
}

/// Which file has the configuration.
fn configuration(given: Option<PathBuf>) -> Result<PathBuf, CliError> {
    // An empty $FOREGATE_CONFIG is an unset one.
    if let Some(path) = given.filter(|path| !path.as_os_str().is_empty()) {
        return Ok(path);
    }
    let found = CONFIGURATIONS.into_iter().map(Path::new).find(|path| path.exists());
    found.map(Path::to_owned).ok_or_else(|| {
        let [here, system] = CONFIGURATIONS;
        CliError::Usage(format!(
            "there is no configuration at {here} or {system}; name one with --config FILE, or try `foregate demo`"
        ))
    })
}

fn load(given: Option<PathBuf>) -> Result<Config, CliError> {
    Config::load(&configuration(given)?).map_err(|faults| CliError::Configuration(faults.to_string()))
}

/// Writes data: to stdout, at once.
fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Tells a person something that is not the data asked for.
fn note(text: impl fmt::Display) {
    // Nobody is left to be told where stderr is closed.
    drop(writeln!(io::stderr(), "{text}"));
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// No request with a lower-case letter in its method is let in, so `get` can mean one thing alone.
fn method(raw: &str) -> Result<Method, String> {
    raw.to_ascii_uppercase().parse().map_err(|_| "expected a method such as GET or POST".to_owned())
}

#[cfg(test)]
mod tests;
