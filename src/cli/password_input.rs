//! Reading a password: one line of standard input, never an argument.
//!
//! Callers: the commands that take `--password-stdin`.

use std::io::{self, BufRead, BufReader, IsTerminal, Read};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::CliError;

/// Bytes of the longest line that is read: 1024 code points and then some.
const MAX_LINE: u64 = 8 * 1024;

/// One line of standard input without its end; typed unseen where that is a terminal.
pub(super) fn read() -> Result<SecretString, CliError> {
    let stdin = io::stdin();
    let password = if stdin.is_terminal() {
        SecretString::from(rpassword::prompt_password("Password: ")?)
    } else {
        first_line(stdin.lock())?
    };
    if password.expose_secret().is_empty() {
        return Err(CliError::Failed(anyhow::anyhow!(
            "there is no password on standard input; send one line, as in `printf '%s\\n' \"$PASSWORD\" | foregate …`"
        )));
    }
    Ok(password)
}

fn first_line(input: impl Read) -> Result<SecretString, CliError> {
    let mut line = Zeroizing::new(Vec::with_capacity(1024));
    BufReader::new(input.take(MAX_LINE + 1)).read_until(b'\n', &mut line)?;
    if line.len() as u64 > MAX_LINE {
        return Err(CliError::Failed(anyhow::anyhow!(
            "the line on standard input is too long for a password"
        )));
    }
    // The line's end is not the password's; every blank before it is.
    let password = line.strip_suffix(b"\n").unwrap_or(&line);
    let password = password.strip_suffix(b"\r").unwrap_or(password);
    match std::str::from_utf8(password) {
        Ok(text) => Ok(text.into()),
        Err(_) => Err(CliError::Failed(anyhow::anyhow!("the password on standard input is not UTF-8 text"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_where_it_ends_and_keeps_its_blanks() {
        for (input, expected) in [
            ("secret\n", "secret"),
            ("secret", "secret"),
            ("secret\r\nmore\n", "secret"),
            (" a b \n", " a b "),
            ("\n", ""),
            ("", ""),
        ] {
            let line = first_line(input.as_bytes()).expect("a line");
            assert_eq!(line.expose_secret(), expected, "{input:?}");
        }
        assert!(first_line(&[b'x'; 9000][..]).is_err());
        assert!(first_line(&b"\xff\n"[..]).is_err());
    }
}
