//! A name service that says nothing: it holds up no request for long, takes no more than a thread, and nobody waits
//! for it at the end.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Gateway, foregate};

/// Far above the second that connecting may take, far below what the name service would take.
const SOON: Duration = Duration::from_secs(6);

/// The program in a world of its own where `/etc/hosts`, which the system asks first, can be opened and never is: a pipe
/// to which nobody writes. `None` where the system allows nobody such a world.
fn without_answers(yaml: &str) -> Option<Gateway> {
    let directory = tempfile::tempdir().expect("a folder");
    let pipe = directory.path().join("hosts");
    assert!(Command::new("mkfifo").arg(&pipe).status().ok()?.success());
    let world = ["-rm", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""];
    let tried = Command::new("unshare").args(world).arg(&pipe).arg("true").stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(world).arg(&pipe).arg(foregate().get_program());
    command.env_remove("FOREGATE_CONFIG").stdin(Stdio::null()).stdout(Stdio::null());
    Some(Gateway::start_with(directory, yaml, command))
}

fn threads(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", gateway.id())).map(Iterator::count).unwrap_or(0)
}

#[test]
fn a_silent_name_service_holds_up_neither_the_answers_nor_the_end() {
    let yaml = "upstreams:\n  app: { servers: [\"http://app.test:1\"], timeouts: { connect: 1s } }\n\
                routes: [ { path: /**, upstream: app, access: public } ]\n";
    let Some(mut gateway) = without_answers(yaml) else {
        return eprintln!("left out: no mount of its own is allowed here");
    };
    let before = threads(&gateway);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| assert_eq!(gateway.get("/", &[]).status, 502));
        }
    });
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // One look-up for each thread of the gateway, and what the system and the store may have started meanwhile.
    let more = threads(&gateway).saturating_sub(before);
    assert!((1..cores + 10).contains(&more), "{more} more threads for one name on {cores} cores");
    let asked = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0), "{}", gateway.log());
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
}
