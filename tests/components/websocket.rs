//! WebSockets as another implementation speaks them, with Foregate between and without: not a byte differs.

use crate::harness::Gateway;
use crate::program::{Program, directory, free_address, python, repository};

/// Each is another mixture of frames, fragments, compression, pieces on the wire, and ends.
const EXCHANGES: &str = "400";

fn server() -> Program {
    let (folder, address) = (directory(), free_address());
    let mut command = python("python");
    command.arg(repository("tests/components/websocket.py")).arg("serve").arg(address.to_string());
    Program::start(command, folder, address)
}

#[test]
fn a_websocket_carries_every_byte_and_every_end_as_it_does_without_foregate() {
    let server = server();
    let gateway = Gateway::in_front_of(server.address, "");
    gateway.add_user("alice", &[]);
    let mut command = python("python");
    command.arg(repository("tests/components/websocket.py")).arg("compare");
    command.args([server.address.to_string(), gateway.address.to_string(), gateway.sign_in("alice")]);
    let output = command.arg(EXCHANGES).output().expect("python runs");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}\n{}", said(&output.stdout), said(&output.stderr), server.log());
}
