//! What the program says of its own command line: completions and manual pages. The judges are bash and man's own
//! form.

use std::process::{Output, Stdio};

use crate::harness::foregate;

fn run(arguments: &[&str]) -> Output {
    foregate().args(arguments).stdin(Stdio::null()).output().expect("the program runs")
}

#[test]
fn bash_reads_the_completions_and_finds_the_commands() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("foregate.bash");
    std::fs::write(&script, run(&["completions", "bash"]).stdout).expect("it is written");
    let asked = format!(
        "source {} && COMP_WORDS=(foregate user de) COMP_CWORD=2 && _foregate foregate de user && echo ${{COMPREPLY[*]}}",
        script.display()
    );
    let output = std::process::Command::new("bash").args(["-euc", &asked]).output().expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "delete", "{output:?}");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        assert!(output.status.success() && output.stdout.len() > 1000, "{shell}: {output:?}");
    }
    assert_eq!(run(&["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn every_command_has_a_page() {
    let page = run(&["man", "user", "add"]);
    let text = String::from_utf8_lossy(&page.stdout).into_owned();
    assert!(text.contains(".TH foregate-user-add 1") && text.contains("password\\-stdin"), "{text}");
    let unknown = run(&["man", "user", "frob"]);
    assert_eq!((unknown.status.code(), unknown.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no command `user frob`"), "{unknown:?}");

    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("man1");
    let written = run(&["man", "--output", pages.to_str().expect("text")]);
    assert!(written.status.success(), "{written:?}");
    for name in ["foregate.1", "foregate-serve.1", "foregate-user-add.1"] {
        let page =
            std::fs::read_to_string(pages.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(page.contains(".SH SYNOPSIS"), "{name}");
    }
    assert!(!pages.join("foregate-help.1").exists());
}
