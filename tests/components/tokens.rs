//! Verifiers that others wrote: PyJWT and python-jose in Python, `jose` in JavaScript, each with the key set alone.

use std::process::{Command, Output};

use crate::harness::{Gateway, run};
use crate::program::{python, repository, system};

const AUDIENCE: &str = "api";
const ISSUER: &str = "https://issuer.test";

fn lines(output: Output) -> Vec<serde_json::Value> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn verify(mut command: Command, script: &str, gateway: &Gateway, tokens: &[&str]) -> Vec<serde_json::Value> {
    let keys = format!("http://{}/.auth/jwks.json", gateway.address);
    command.arg(repository(script)).args([&keys, ISSUER, AUDIENCE]).current_dir(repository("tests/browser"));
    lines(run(&mut command, &format!("{}\n", tokens.join("\n"))))
}

#[test]
fn independent_verifiers_take_our_tokens_by_the_key_set_and_refuse_altered_ones() {
    for algorithm in ["EdDSA", "ES256", "RS256"] {
        let gateway = Gateway::start(&format!(
            "tokens: {{ algorithm: {algorithm}, issuer: \"{ISSUER}\", audience: {AUDIENCE} }}\n\
             upstreams: {{ app: \"http://127.0.0.1:9\" }}\nroutes: [{{ path: /**, upstream: app }}]\n"
        ));
        gateway.add_user("alice", &["staff"]);
        let before = gateway.token("alice");
        assert!(gateway.command(&["key", "rotate"], "").status.success());
        let after = gateway.token("alice");
        let (head, signature) = after.rsplit_once('.').expect("a signature");
        let other = before.rsplit_once('.').expect("a signature").1;
        let swapped = format!("{head}.{other}");
        let cut = format!("{head}.{}", &signature[..signature.len() - 4]);
        let tokens = [&*before, &*after, &*swapped, &*cut];

        // python-jose knows no EdDSA.
        let by_jose = if algorithm == "EdDSA" { serde_json::Value::Null } else { "alice".into() };
        let good = serde_json::json!(["alice", by_jose]);
        let bad = serde_json::json!([null, null]);
        let seen = verify(python("python"), "tests/components/tokens.py", &gateway, &tokens);
        assert_eq!(seen, [good.clone(), good, bad.clone(), bad], "{algorithm} in Python");

        let seen = verify(system("node"), "tests/browser/tokens.mjs", &gateway, &tokens);
        let (good, bad) = (serde_json::json!("alice"), serde_json::Value::Null);
        assert_eq!(seen, [good.clone(), good, bad.clone(), bad], "{algorithm} in JavaScript");
    }
}
