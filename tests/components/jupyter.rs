//! Jupyter with `config/jupyter.yaml`, used in Chromium.

use crate::browser::drive;
use crate::harness::Gateway;
use crate::program::{Program, components, directory, free_address, missing, repository};

const NOTEBOOK: &str = r#"{
    "cells": [
        { "cell_type": "code", "id": "one", "execution_count": null, "metadata": {}, "outputs": [],
          "source": ["print('two:', 1+1)"] }
    ],
    "metadata": { "kernelspec": { "display_name": "Python 3", "language": "python", "name": "python3" } },
    "nbformat": 4, "nbformat_minor": 5
}"#;

fn jupyter() -> Program {
    let (folder, address) = (directory(), free_address());
    let notebooks = folder.path().join("notebooks");
    std::fs::create_dir(&notebooks).expect("a folder");
    std::fs::write(notebooks.join("work.ipynb"), NOTEBOOK).expect("written");
    let program = components().join("jupyter/bin/jupyter");
    if !program.is_file() {
        missing("Jupyter");
    }
    let mut command = std::process::Command::new(program);
    command.args(["lab", "--no-browser", "--allow-root", "--IdentityProvider.token="]);
    command.args(["--ServerApp.allow_remote_access=True", "--ip", "127.0.0.1"]);
    command.args(["--port", &address.port().to_string(), "--ServerApp.port_retries=0"]);
    command.arg(format!("--ServerApp.root_dir={}", notebooks.display()));
    Program::start(command, folder, address)
}

#[test]
#[ignore = "heavy: ./tests/run --heavy"]
fn heavy_jupyter_runs_kernels_and_terminals_until_the_person_signs_out() {
    let jupyter = jupyter();
    let address = free_address();
    // Any name under `localhost` is this machine to a browser, and no name of its own to Jupyter.
    let url = format!("http://jupyter.localhost:{}", address.port());
    let shipped = std::fs::read_to_string(repository("config/jupyter.yaml")).expect("the snippet is there");
    let mut config = shipped;
    for (from, to) in [
        ("listen: 127.0.0.1:8080", format!("listen: {address}")),
        ("https://jupyter.example.com", url.clone()),
        ("http://127.0.0.1:8888", format!("http://{}", jupyter.address)),
    ] {
        assert_eq!(config.matches(from).count(), 1, "{from} is in the snippet");
        config = config.replace(from, &to);
    }
    let gateway = Gateway::start(&config);
    gateway.add_user("alice", &[]);
    gateway.add_user("bob", &[]);
    let seen = jupyter.path("seen.txt").display().to_string();
    drive("jupyter.mjs", &url, &[("FOREGATE_TEST_SEEN", seen.as_str())]);
    let bob = gateway.sign_in("bob");
    assert_eq!(gateway.get("/api/kernels", &[("cookie", &bob)]).status, 403);
}
