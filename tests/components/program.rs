//! Starts somebody else's program for a test, and stops it at the end.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

use tempfile::TempDir;

use crate::harness::PATIENCE;

/// A running program with a folder of its own, which goes with it.
pub(crate) struct Program {
    pub(crate) address: SocketAddr,
    child: Child,
    directory: TempDir,
}

impl Program {
    /// Starts a command, and waits until it takes connections at `address`.
    pub(crate) fn start(mut command: Command, directory: TempDir, address: SocketAddr) -> Self {
        let log = File::create(directory.path().join("log")).expect("a log");
        let child = command
            .current_dir(directory.path())
            .env("HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log, once more"))
            .stderr(log)
            // Its workers are its own children, and are to go with it.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let mut program = Self { address, child, directory };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            let ended = program.child.try_wait().expect("it can be waited for");
            assert!(ended.is_none() && Instant::now() < deadline, "{command:?} failed:\n{}", program.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        program
    }

    /// What it said so far.
    pub(crate) fn log(&self) -> String {
        self.read("log")
    }

    /// A file in its folder, as it is now; nothing where there is none.
    pub(crate) fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap_or_default()
    }

    /// Where a file of its folder is.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}

/// An address on loopback that is free now, and that nobody is given before the program has it.
pub(crate) fn free_address() -> SocketAddr {
    // Below the ports that the kernel hands out, and each one once: a port of the kernel's choice, let go
    // again, may be another test's by the time that the program binds it.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let port = 20_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 12_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A folder for one program, readable by those to whom it hands its work.
pub(crate) fn directory() -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a folder");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).expect("the folder's mode is set");
    directory
}

/// A program of the system, wherever Debian puts it.
pub(crate) fn system(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    Command::new(found.unwrap_or_else(|| missing(name)))
}

/// A program of the Python environment that `./tests/run` makes.
pub(crate) fn python(name: &str) -> Command {
    let file = components().join("venv/bin").join(name);
    if file.is_file() { Command::new(file) } else { missing(name) }
}

/// A file of this repository.
pub(crate) fn repository(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// The folder beside the compiler's that holds what `./tests/run` installed.
pub(crate) fn components() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("components")
}

/// Ends the test: it can't say anything without this.
pub(crate) fn missing(what: &str) -> ! {
    panic!("{what} is not installed; ./tests/run installs what the tests need")
}
