//! Debian's Apache, for what it is used with behind Foregate: WebDAV, and git by its CGI program.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

use crate::program::{Program, missing, system};

const MODULES: &str = "/usr/lib/apache2/modules";

/// Starts it with these modules beside the common ones and this text behind the common settings. Its log of
/// requests is `requests` in the folder, a line each: method, target, status, user, content coding, transfer coding.
pub(crate) fn apache(folder: TempDir, address: SocketAddr, modules: &[&str], text: &str) -> Program {
    if !Path::new(MODULES).is_dir() {
        missing("apache2");
    }
    let root = folder.path().display();
    let common = ["mpm_event", "authz_core", "alias", "env", "setenvif"];
    let modules: String = common
        .iter()
        .chain(modules)
        .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
        .collect();
    // Started by root it works as another user; started by anybody else it passes over `User`.
    let whole = format!(
        "{modules}ServerRoot {root}\nListen {address}\nServerName app.test\nPidFile {root}/pid\nErrorLog {root}/log\n\
         User www-data\nGroup www-data\nTimeout 60\nKeepAlive On\nStartServers 1\n\
         LogFormat \"%m %U %>s %{{Remote-User}}i %{{Content-Encoding}}i %{{Transfer-Encoding}}i\" seen\n\
         CustomLog {root}/requests seen\n{text}"
    );
    let config = folder.path().join("apache.conf");
    std::fs::write(&config, whole).expect("the configuration is written");
    let mut command = system("apache2");
    command.arg("-DFOREGROUND").arg("-f").arg(config);
    Program::start(command, folder, address)
}

/// A folder in a program's folder to which it may write, whoever it runs as.
pub(crate) fn writable(folder: &TempDir, name: &str) -> std::path::PathBuf {
    let path = folder.path().join(name);
    std::fs::create_dir_all(&path).expect("a folder");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).expect("its mode is set");
    path
}
