//! The process shell: runs the command line and gives its exit code to whoever started it.

use std::process::ExitCode;

fn main() -> ExitCode {
    foregate::cli::run(std::env::args_os())
}
