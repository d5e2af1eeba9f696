//! The command line as it is parsed, and what its failures look like.

use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("foregate").chain(line.split(' ').filter(|word| !word.is_empty())))
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn good_lines() {
    for line in [
        "",
        "demo --json --listen 127.0.0.1:0",
        "serve -c x.yaml",
        "-c x.yaml serve",
        "check --config x.yaml",
        "explain get /admin --user alice --role a --role b --ip ::1 --credential none --json",
        "user add alice --email a@example.com --name Alice --role a --role b --password-stdin",
        "user add alice --password-hash $argon2id$x",
        "user add alice",
        "user list --json",
        "user show a@example.com --json -c x.yaml",
        "user set alice --role a",
        "user set alice --no-roles",
        "user invite a@example.com --role b",
        "invitation list --json",
        "invitation revoke a@example.com",
        "invitation revoke --id AAAAAAAAAAAAAAAAAAAAAA",
        "user disable alice",
        "user enable alice",
        "user unlock alice",
        "user delete alice --yes",
        "store backup x.jsonl --force",
        "store restore x.jsonl --with-sessions",
        "store copy --to sled:./other",
        "mail test a@example.com",
        "mail test a@example.com --language de",
        "session list",
        "session list a@example.com --json",
        "session revoke alice",
        "session revoke --id AAAAAAAAAAAAAAAAAAAAAA",
        "session revoke --all",
        "schema",
        "completions zsh",
        "man",
        "man user add",
        "man --output pages",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn bad_lines_are_usage_errors() {
    for line in [
        "frob",
        "session revoke",
        "session revoke alice --all",
        "session revoke --id x",
        "session revoke --id AAAAAAAAAAAAAAAAAAAAAA --all",
        "user",
        "user add",
        "user add a@b",
        "user add alice --email nonsense",
        "user add alice --role a,b",
        "user add alice --password secret",
        "user add alice --password-stdin --password-hash x",
        "user set alice",
        "user set alice --role a --no-roles",
        "invitation revoke",
        "invitation revoke alice",
        "explain GET",
        "explain G=T /",
        "explain GET / --ip localhost",
        "demo --listen nowhere",
        "store",
        "store backup",
        "store copy",
        "store copy --to mysql://db/x",
        "store copy --to ./other",
        "completions",
        "completions tcsh",
        "man user --output pages",
    ] {
        let error = parse(line).err().unwrap_or_else(|| panic!("{line}"));
        assert_eq!(error.exit_code(), 2, "{line}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn a_near_miss_is_named() {
    let error = parse("user ad alice").err().expect("a mistake");
    assert_eq!(error.kind(), ErrorKind::InvalidSubcommand);
    assert!(error.to_string().contains("'add'"), "{error}");
}

#[test]
fn a_method_may_be_written_small() {
    assert_eq!(method("get"), Ok(Method::GET));
    assert_eq!(method("propfind").map(|method| method.to_string()), Ok("PROPFIND".to_owned()));
    assert!(method("").is_err());
}

#[test]
fn the_short_help_begins_with_two_examples() {
    let help = Cli::command().render_help().to_string();
    let (before, options) = help.split_once("Options:").expect("options");
    assert!(before.contains("foregate demo ") && before.contains("foregate serve -c"), "{before}");
    assert!(!options.contains('\u{1b}'), "no colour");
}

#[test]
fn failures_have_their_exit_codes() {
    let io = |kind: io::ErrorKind| CliError::from(io::Error::from(kind));
    let code = |error: CliError| format!("{:?}", error.exit_code());
    assert_eq!(code(CliError::Usage(String::new())), format!("{:?}", ExitCode::from(2)));
    assert_eq!(code(CliError::Configuration(String::new())), format!("{:?}", ExitCode::from(2)));
    assert_eq!(code(io(io::ErrorKind::NotFound)), format!("{:?}", ExitCode::FAILURE));
    assert_eq!(code(io(io::ErrorKind::BrokenPipe)), format!("{:?}", ExitCode::SUCCESS));
}
