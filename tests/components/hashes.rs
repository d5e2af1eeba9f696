//! People brought along from other applications: fresh hashes by the real libraries, imported, signed in with, replaced.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::forms::{Browser, Form};
use crate::harness::{Gateway, Upstream};
use crate::program::{components, missing, repository, system};

const WERKZEUG: [&str; 5] = ["0.9", "0.16.1", "1.0.1", "2.3.8", "3.1.3"];

/// Who made a hash, of which password.
struct Hash {
    by: String,
    hash: String,
    password: String,
}

/// A password that nobody has written down, with a letter beyond ASCII and one that CSV quotes.
fn password() -> String {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).expect("random bytes");
    bytes.iter().fold("p\u{e4}ss, \"".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// What a library makes of a password.
fn hashes(library: &str, folder: Option<&str>) -> Vec<Hash> {
    let python = components().join("hashes/bin/python");
    if !python.is_file() || folder.is_some_and(|folder| !components().join(folder).is_dir()) {
        missing("what passwords are hashed with");
    }
    let mut command = Command::new(python);
    command.arg(repository("tests/components/hashes.py")).arg(library).env("PYTHONDONTWRITEBYTECODE", "1");
    if let Some(folder) = folder {
        command.env("PYTHONPATH", components().join(folder));
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python starts");
    let passwords = serde_json::to_vec(&password()).expect("JSON");
    child.stdin.take().expect("a pipe").write_all(&passwords).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{library} in {folder:?}: {output:?}");
    let made = String::from_utf8(output.stdout).expect("text");
    let made: Vec<_> = made
        .lines()
        .map(|line| {
            let (by, password, hash): (String, String, String) = serde_json::from_str(line).expect("a list");
            Hash { by: format!("{} {by}", folder.unwrap_or_default()), hash, password }
        })
        .collect();
    assert!(made.len() >= 6, "{library} in {folder:?} made {}", made.len());
    made
}

/// What the program of that name writes into a file.
fn htpasswd() -> (String, Vec<Hash>) {
    let (mut file, mut made) = (String::new(), Vec::new());
    for (name, kind) in [("ht-apr1", "-m"), ("ht-bcrypt", "-B"), ("ht-sha", "-s")] {
        let password = password();
        let output = system("htpasswd").args(["-n", "-b", kind, name, &password]).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        file += String::from_utf8(output.stdout).expect("text").trim_end();
        file.push('\n');
        made.push(Hash { by: name.to_owned(), hash: String::new(), password });
    }
    (file, made)
}

fn schemes(gateway: &Gateway) -> Value {
    let output = gateway.command(&["user", "schemes", "--json"], "");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Whether a password gets in, by the form.
fn signs_in(gateway: &Gateway, name: &str, password: &str) -> bool {
    let browser = Browser::new(gateway);
    let form = Form::read(&browser.open("/.auth/login"));
    let reply = browser.submit(&form.with("username", name).with("password", password));
    match reply.status {
        303 => {
            assert_eq!(browser.open("/page").status, 200, "{name}: {reply:?}");
            true
        }
        401 => false,
        _ => panic!("{name}: {reply:?}"),
    }
}

#[test]
fn whoever_had_a_password_elsewhere_signs_in_with_it_and_is_moved_to_ours() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "limits: {{ login: {{ per_account: 10000/1m, per_ip: 10000/1m }} }}\n\
         upstreams: {{ app: \"http://{}\" }}\nroutes: [{{ path: /**, upstream: app }}]\n",
        upstream.address
    ));
    let mut people = hashes("others", None);
    for version in WERKZEUG {
        people.extend(hashes("werkzeug", Some(&format!("werkzeug-{version}"))));
    }
    let mut csv = "username,password_hash\n".to_owned();
    for (number, person) in people.iter().enumerate() {
        csv += &format!("person-{number},\"{}\"\n", person.hash.replace('"', "\"\""));
    }
    let (file, from_htpasswd) = htpasswd();
    for (name, content) in [("users.csv", &csv), (".htpasswd", &file)] {
        let path = gateway.directory().join(name);
        std::fs::write(&path, content).expect("it is written");
        let output = gateway.command(&["user", "import", path.to_str().expect("text")], "");
        assert!(output.status.success(), "{output:?}");
    }
    let names = (0..people.len()).map(|number| format!("person-{number}"));
    let names: Vec<_> = names.chain(from_htpasswd.iter().map(|person| person.by.clone())).collect();
    people.extend(from_htpasswd);
    let before = schemes(&gateway);
    let known = ["APR1", "Argon2i", "Argon2id", "HMAC-SHA", "PBKDF2", "SHA", "bcrypt", "scrypt"];
    let found: Vec<_> = before["schemes"].as_object().expect("an object").keys().collect();
    assert_eq!(found, known, "{before}");

    for (name, person) in names.iter().zip(&people) {
        let Hash { by, hash, password } = person;
        assert!(!signs_in(&gateway, name, &format!("{password}x")), "{by}: {hash} with a wrong password");
        assert!(signs_in(&gateway, name, password), "{by}: {hash}");
        assert!(!gateway.log().contains(password), "{}", gateway.log());
    }
    let after = schemes(&gateway);
    let all = serde_json::json!({ "Argon2id": people.len() });
    assert_eq!(after["schemes"], all, "all have moved");
    let (name, person) = (&names[0], &people[0]);
    assert!(signs_in(&gateway, name, &person.password), "{} once more", person.by);
    assert!(!signs_in(&gateway, name, &format!("{}x", person.password)), "{} once more", person.by);
}
