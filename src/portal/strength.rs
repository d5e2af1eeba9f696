//! How strong a new password is: what a page says of one that was refused, and a hint while it is typed.
//!
//! The hint is asked of us by the page's script, so that no page carries a list of words, and it is the
//! same rule that decides in the end, but for the account's own names that only the form's fields tell
//! here. Without the script, or where too many ask at once, there is no hint, and sending the form says
//! the same.
//!
//! Callers: the portal's dispatch, and whoever sets a password.

use http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::form::Fields;
use super::operation::answer::Answer;
use super::operation::input::Field;
use super::operation::input::Input;
use super::operation::{Credential, Description, Offered};
use super::{Portal, RETRY, Visit};
use crate::password::{MAX_LENGTH, Reason, Strength, Weakness};
use crate::response::texts::Text;
use crate::response::{Body, Problem};

/// The fields of a form that an attacker would look into.
const CONTEXT: [&str; 3] = ["username", "name", "email"];

pub(super) const JUDGE: Description = Description {
    about: "Says how strong a password is, and sets nothing.",
    answers: &[Answer::json::<Judged>(StatusCode::OK, "How strong it is.")],
    body: Some(&Input::unproven(&[
        Field::secret("password", "The password.").needed(),
        Field::text(CONTEXT[0], "The name to sign in with: weak as a password."),
        Field::text(CONTEXT[1], "The name to be shown: as weak."),
        Field::text(CONTEXT[2], "The address: as weak."),
    ])),
    credential: Credential::None,
    id: "judgePassword",
    offered: Offered::Always,
    query: &[],
};

#[derive(Serialize, ToSchema)]
pub(super) struct Judged {
    /// 0 to 4, as zxcvbn has it.
    #[schema(maximum = 4)]
    score: u8,
    /// Whether it would be taken.
    acceptable: bool,
    /// The same for a person, in the language of the page.
    text: String,
}

/// `POST /password-strength`: says how strong it is, and sets nothing.
pub(super) async fn judge(
    portal: &Portal,
    visit: &Visit<'_>,
    mut fields: Fields,
) -> Result<Response<Body>, Problem> {
    let password = fields.secret("password");
    let password = password.ok_or(Problem::bad_request(Text::verbatim("password is needed.")))?;
    let mut context = Vec::new();
    for name in CONTEXT {
        context.extend(fields.text(name));
    }
    let judged = portal.accounts.judge(password, context).await;
    let strength = judged.map_err(|_| Problem::unavailable(RETRY))?;
    let text = portal.pages.texts().say(visit.asker.language(), &strength_text(strength));
    let acceptable = strength.weakness.is_none();
    Ok(visit.asker.json(StatusCode::OK, &Judged { score: strength.score, acceptable, text }))
}

/// "Strong." or "Weak. Names are among the first that are tried."
fn strength_text(strength: Strength) -> Text {
    let said = match strength.weakness {
        Some(weakness @ (Weakness::Control | Weakness::TooLong | Weakness::TooShort(_))) => {
            return weakness_text(&weakness);
        }
        Some(Weakness::Guessable { reason, .. }) => {
            let text = Text::new("strength-refused").with("word", word(strength.score.min(2)));
            return with_reason(text, reason);
        }
        None => strength.score,
    };
    Text::new("strength").with("word", word(said))
}

/// Why a password is not taken, for whoever typed it.
pub(super) fn weakness_text(weakness: &Weakness) -> Text {
    match weakness {
        Weakness::Control => Text::new("password-control"),
        Weakness::Guessable { reason, .. } => with_reason(Text::new("password-guessable"), *reason),
        Weakness::TooLong => Text::new("password-too-long").with("count", MAX_LENGTH),
        Weakness::TooShort(least) => Text::new("password-too-short").with("count", *least),
    }
}

fn with_reason(sentence: Text, reason: Option<Reason>) -> Text {
    match reason {
        None => sentence,
        Some(reason) => {
            Text::new("password-because").with("sentence", sentence).with("reason", reason_text(reason))
        }
    }
}

fn word(score: u8) -> Text {
    Text::new(match score {
        0 => "strength-very-weak",
        1 => "strength-weak",
        2 => "strength-fair",
        3 => "strength-good",
        _ => "strength-strong",
    })
}

fn reason_text(reason: Reason) -> Text {
    Text::new(match reason {
        Reason::Common => "password-common",
        Reason::Date => "password-date",
        Reason::Keyboard => "password-keyboard",
        Reason::Name => "password-name",
        Reason::Personal => "password-personal",
        Reason::Repeat => "password-repeat",
        Reason::Sequence => "password-sequence",
        Reason::Word => "password-word",
    })
}
