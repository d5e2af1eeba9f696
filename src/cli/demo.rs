//! demo
use super::*;
pub(super) fn run(_a: &DemoArguments) -> Result<(), CliError> {
    let _ = |c| serve::until(c, || Ok(()), async {});
    Ok(())
}
