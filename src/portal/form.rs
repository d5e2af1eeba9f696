//! What a POST says: a form or JSON, read within bounds into named fields.
//!
//! A name that stands twice is refused: two readers would take two different values.
//!
//! Callers: the portal's endpoints. What a field means is theirs.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::operation::input::{BESIDE_PASSWORD, Field, Input, Kind, Need};
use crate::response::texts::Text;
use crate::response::{BodyError, Problem};

/// Ours are far smaller.
const MAX_BYTES: usize = 64 * 1024;

/// From the head to the last byte.
const MAX_TIME: Duration = Duration::from_secs(15);

/// In which of the two a request speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    Form,
    Json,
}

/// The fields of one request.
pub(super) struct Fields {
    pub(super) format: Format,
    values: BTreeMap<String, Value>,
}

enum Value {
    Flag(bool),
    List(Vec<String>),
    /// It stands for nothing, but it may stand once as well.
    Null,
    Number(u64),
    Other,
    Text(String),
}

impl Format {
    /// By `Content-Type`; without one, a form: it may be an empty one.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let Some(first) = types.next() else { return Ok(Self::Form) };
        let text = first.to_str().unwrap_or_default();
        let media = text.split(';').next().unwrap_or_default().trim();
        match () {
            () if types.next().is_some() => Err(unsound("Content-Type stands twice.")),
            () if media.eq_ignore_ascii_case("application/json") => Ok(Self::Json),
            () if media.eq_ignore_ascii_case("application/x-www-form-urlencoded") => Ok(Self::Form),
            () => Err(Problem::unsupported_media_type()),
        }
    }
}

/// Reads a whole body of ours, bounded in bytes and in time.
pub(super) async fn read<B>(headers: &HeaderMap, body: B) -> Result<Bytes, Problem>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    read_within(MAX_TIME, headers, body).await
}

async fn read_within<B>(max_time: Duration, headers: &HeaderMap, body: B) -> Result<Bytes, Problem>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BYTES as u64) {
        return Err(Problem::too_large().closing());
    }
    let collected = tokio::time::timeout(max_time, Limited::new(body, MAX_BYTES).collect()).await;
    match collected.map_err(|_| Problem::request_timeout())? {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::too_large().closing()),
        Err(_) => Err(unsound("The body broke off.").closing()),
    }
}

impl Fields {
    /// Reads a body that is whole. What `input` does not name is left behind; what it names is of its kind.
    pub(super) fn parse(format: Format, body: &[u8], input: &Input) -> Result<Self, Problem> {
        let values = match format {
            Format::Form => form_values(body, input)?,
            Format::Json => json_values(body, input)?,
        };
        Ok(Self { format, values })
    }

    /// Whether the field is there, empty or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// This field's text; empty counts as absent.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.values.remove(name)? {
            Value::Text(text) => Some(text).filter(|text| !text.is_empty()),
            Value::Flag(_) | Value::List(_) | Value::Null | Value::Number(_) | Value::Other => None,
        }
    }

    /// This field's text, not to be shown to anybody.
    pub(super) fn secret(&mut self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    /// Whether a box is ticked, or a member is true.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.values.remove(name) {
            Some(Value::Flag(flag)) => flag,
            Some(Value::Text(text)) => {
                !matches!(text.to_ascii_lowercase().as_str(), "" | "0" | "false" | "no" | "off" | "n" | "f")
            }
            Some(Value::List(_) | Value::Null | Value::Number(_) | Value::Other) | None => false,
        }
    }

    /// A whole number: digits in a form. Empty counts as absent.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<u64>, Problem> {
        match self.values.remove(name) {
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(Value::Text(text)) if !text.is_empty() => match text.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(unsound(format!("{name} should be a whole number."))),
            },
            Some(Value::Flag(_) | Value::List(_) | Value::Null | Value::Other | Value::Text(_)) | None => {
                Ok(None)
            }
        }
    }

    /// Several texts: a list in JSON; in a form the boxes that are ticked and called `name:` and the text, for a
    /// name stands once.
    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        match self.format {
            Format::Form => {
                let prefix = format!("{name}:");
                let boxes = self.values.keys().filter_map(|key| key.strip_prefix(&prefix).map(str::to_owned));
                let named: Vec<String> = boxes.collect();
                named.into_iter().filter(|text| self.flag(&format!("{prefix}{text}"))).collect()
            }
            Format::Json => match self.values.remove(name) {
                Some(Value::List(list)) => list,
                Some(Value::Flag(_) | Value::Null | Value::Number(_) | Value::Other | Value::Text(_))
                | None => Vec::new(),
            },
        }
    }
}

/// That a member is there if it has to be, and of its kind. Null is as good as absent, as most clients mean it.
fn check(field: &Field, value: Option<&Value>) -> Result<(), Problem> {
    let Field { kind, name, need, .. } = field;
    let is_filled = match value {
        None => {
            return if *need == Need::Optional { Ok(()) } else { Err(unsound(format!("{name} is needed."))) };
        }
        Some(Value::Null) => false,
        // A password may be blanks.
        Some(Value::Text(text)) if *kind == Kind::Secret => !text.is_empty(),
        Some(Value::Text(text)) => !text.trim().is_empty(),
        Some(Value::Flag(_) | Value::List(_) | Value::Number(_) | Value::Other) => true,
    };
    if *need == Need::Filled && !is_filled {
        return Err(unsound(format!("{name} is needed.")));
    }
    let expected = match (kind, value) {
        (_, None | Some(Value::Null))
        | (Kind::Flag, Some(Value::Flag(_)))
        | (Kind::List { .. } | Kind::Routes, Some(Value::List(_)))
        | (Kind::Number { .. }, Some(Value::Number(_)))
        | (Kind::Email | Kind::Secret | Kind::Text, Some(Value::Text(_))) => return Ok(()),
        (Kind::Flag, Some(_)) => "true or false",
        (Kind::List { .. } | Kind::Routes, Some(_)) => "a list of texts",
        (Kind::Number { .. }, Some(_)) => "a whole number",
        (Kind::Email | Kind::Secret | Kind::Text, Some(_)) => "a text",
    };
    Err(unsound(format!("{name} should be {expected}.")))
}

fn unsound(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::bad_request(Text::verbatim(detail))
}

/// The parameters of a query, in their order.
pub(super) fn query(raw: Option<&str>) -> Vec<(String, String)> {
    serde_urlencoded::from_str(raw.unwrap_or_default()).unwrap_or_default()
}

/// The one value of a parameter under any of its names; two different values are none.
pub(super) fn parameter<'a>(query: &'a [(String, String)], names: &[&str]) -> Option<&'a str> {
    let mut values = query.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, value)| value);
    let first = values.next()?;
    values.all(|value| value == first).then_some(first.as_str())
}

/// What is not named may stand as often as it likes, where it may stand: nobody reads it.
fn form_values(body: &[u8], input: &Input) -> Result<BTreeMap<String, Value>, Problem> {
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_bytes(body).map_err(|_| unsound("The body is not a form."))?;
    let (named, others): (Vec<_>, Vec<_>) =
        pairs.into_iter().partition(|(name, _)| input.names_in_form(name));
    if input.closed && others.iter().any(|(name, _)| name != BESIDE_PASSWORD) {
        return Err(unsound("There is a field that is not known here."));
    }
    let mut values = BTreeMap::new();
    for (name, value) in named {
        match values.entry(name) {
            Entry::Occupied(_) => {
                return Err(unsound("A field stands twice in the form."));
            }
            Entry::Vacant(entry) => entry.insert(Value::Text(value)),
        };
    }
    Ok(values)
}

fn json_values(body: &[u8], input: &Input) -> Result<BTreeMap<String, Value>, Problem> {
    // A program that says that it speaks JSON, and has nothing to say.
    let is_left_out = body.is_empty() && input.fields.iter().all(|field| field.need == Need::Optional);
    let members = serde_json::from_slice(if is_left_out { b"{}" } else { body });
    let Members(mut values) =
        members.map_err(|_| unsound("The body is not a JSON object with each member once."))?;
    input.fields.iter().try_for_each(|field| check(field, values.get(field.name)))?;
    if input.closed && values.keys().any(|name| !input.names(name)) {
        return Err(unsound("There is a member that is not known here."));
    }
    values.retain(|name, _| input.names(name));
    Ok(values)
}

/// The members of one JSON object, each once.
struct Members(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut values = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
            let value = match value {
                serde_json::Value::Bool(flag) => Value::Flag(flag),
                serde_json::Value::String(text) => Value::Text(text),
                serde_json::Value::Null => Value::Null,
                serde_json::Value::Array(list) => {
                    let texts = list.into_iter().map(|one| match one {
                        serde_json::Value::String(text) => Some(text),
                        _ => None,
                    });
                    texts.collect::<Option<_>>().map_or(Value::Other, Value::List)
                }
                serde_json::Value::Number(number) => number.as_u64().map_or(Value::Other, Value::Number),
                serde_json::Value::Object(_) => Value::Other,
            };
            if values.insert(name, value).is_some() {
                return Err(serde::de::Error::custom("a member stands twice"));
            }
        }
        Ok(Members(values))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http::HeaderValue;
    use http_body::Frame;
    use http_body_util::Full;

    use super::*;

    const FIELDS: Input = Input::of(&[
        Field::flag("flag", ""),
        Field::text("a", ""),
        Field::number("n", 0, 100, ""),
        Field::routes("l", ""),
    ]);

    fn parse(format: Format, body: &str) -> Option<Fields> {
        Fields::parse(format, body.as_bytes(), &FIELDS).ok()
    }

    /// What is said of a JSON body.
    fn fault(input: &Input, body: &str) -> Option<String> {
        let fault = Fields::parse(Format::Json, body.as_bytes(), input).err()?;
        let texts = crate::response::texts::Texts::built_in();
        Some(texts.say(crate::response::texts::Language::English, &fault.detail))
    }

    #[test]
    fn fields_of_forms_and_of_json() {
        let cases = [
            (Format::Form, "a=b", Some("b")),
            (Format::Form, "a=b%20c+d%26", Some("b c d&")),
            (Format::Form, "x=y&a=+b+&x=z", Some(" b ")),
            (Format::Form, "a=", None),
            (Format::Form, "", None),
            (Format::Json, r#"{"a":"b"}"#, Some("b")),
            (Format::Json, r#"{"a":"\u00e4","other":{"deep":[1]}}"#, Some("ä")),
            (Format::Json, r#"{"a":""}"#, None),
            (Format::Json, r#"{"a":null}"#, None),
            (Format::Json, "{}", None),
            // Where nothing is needed, a body may be left out.
            (Format::Json, "", None),
        ];
        for (format, body, expected) in cases {
            let mut fields = parse(format, body).unwrap_or_else(|| panic!("{body} is sound"));
            assert_eq!(fields.text("a").as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn doubled_and_broken_ones_are_refused() {
        for (format, body) in [
            (Format::Form, "a=1&a=2"),
            (Format::Form, "a=1&b=2&a=1"),
            (Format::Form, "l%3Ax=1&l%3Ax=1"),
            (Format::Json, r#"{"a":"1","a":"2"}"#),
            (Format::Json, r#"{"a":null,"a":"2"}"#),
            (Format::Json, "[]"),
            (Format::Json, "\"a\""),
            (Format::Json, "{"),
            (Format::Json, " "),
            (Format::Json, "{} x"),
        ] {
            assert!(parse(format, body).is_none(), "{body}");
        }
    }

    #[test]
    fn members_of_another_kind_are_refused_by_name() {
        for (body, expected) in [
            (r#"{"a":1}"#, "a should be a text."),
            (r#"{"a":["x"]}"#, "a should be a text."),
            (r#"{"flag":"true"}"#, "flag should be true or false."),
            (r#"{"flag":1}"#, "flag should be true or false."),
            (r#"{"flag":""}"#, "flag should be true or false."),
            (r#"{"n":"30"}"#, "n should be a whole number."),
            (r#"{"n":1.5}"#, "n should be a whole number."),
            (r#"{"n":-1}"#, "n should be a whole number."),
            (r#"{"l":"a"}"#, "l should be a list of texts."),
            (r#"{"l":["a",1]}"#, "l should be a list of texts."),
        ] {
            assert_eq!(fault(&FIELDS, body).as_deref(), Some(expected), "{body}");
        }
        assert_eq!(fault(&FIELDS, r#"{"a":null,"flag":null,"n":null,"l":null,"other":1}"#), None);
    }

    #[test]
    fn members_that_are_needed_and_members_that_are_not_known() {
        const TEXT: Input = Input::of(&[Field::text("a", "").needed()]);
        const SECRET: Input = Input::of(&[Field::secret("a", "").needed()]);
        const THERE: Input = Input::of(&[Field::text("a", "").there()]);
        const CLOSED: Input = Input::closed(&[Field::text("a", "")]);
        for (input, body, expected) in [
            (&TEXT, "", Some("The body is not a JSON object with each member once.")),
            (&TEXT, "{}", Some("a is needed.")),
            (&TEXT, r#"{"a":null}"#, Some("a is needed.")),
            (&TEXT, r#"{"a":" "}"#, Some("a is needed.")),
            (&TEXT, r#"{"a":"x"}"#, None),
            (&SECRET, r#"{"a":""}"#, Some("a is needed.")),
            (&SECRET, r#"{"a":" "}"#, None),
            (&THERE, "{}", Some("a is needed.")),
            (&THERE, r#"{"a":""}"#, None),
            (&THERE, r#"{"a":null}"#, None),
            (&CLOSED, r#"{"a":"x"}"#, None),
            (&CLOSED, r#"{"b":"x"}"#, Some("There is a member that is not known here.")),
        ] {
            assert_eq!(fault(input, body).as_deref(), expected, "{body}");
        }
        let form = |body: &str| Fields::parse(Format::Form, body.as_bytes(), &CLOSED).is_ok();
        assert!(form("a=x&csrf_token=y") && form("a=x&csrf_token=y&username=alice"));
        assert!(!form("a=x&csrf_token=y&b=x") && !form("b=") && !form("a%3Ax=1") && !form("A=x"));
        // A person is shown the form again, which says it where it is missing.
        assert!(Fields::parse(Format::Form, b"", &TEXT).is_ok());
    }

    #[test]
    fn what_is_not_named_is_not_handed_out() {
        const ONE: Input = Input::of(&[Field::text("a", "")]);
        for (format, body) in [(Format::Form, "a=1&b=2"), (Format::Json, r#"{"a":"1","b":"2"}"#)] {
            let mut fields = Fields::parse(format, body.as_bytes(), &ONE).expect("sound");
            assert_eq!((fields.text("b"), fields.text("a").as_deref()), (None, Some("1")), "{body}");
        }
    }

    #[test]
    fn numbers_and_lists() {
        for (format, body, number) in [
            (Format::Form, "n=30", Some(Some(30))),
            (Format::Form, "n=", Some(None)),
            (Format::Form, "n=-1", None),
            (Format::Json, r#"{"n":30}"#, Some(Some(30))),
            (Format::Json, r#"{"n":null}"#, Some(None)),
        ] {
            let mut fields = parse(format, body).unwrap_or_else(|| panic!("{body} is sound"));
            assert_eq!(fields.number("n").ok(), number, "{body}");
        }
        for (format, body, list) in [
            (Format::Form, "l%3Aa=1&l%3Ab=0&l%3Ac=on&x%3Ad=1", vec!["a", "c"]),
            (Format::Json, r#"{"l":["a","c"]}"#, vec!["a", "c"]),
            (Format::Json, r#"{"l":null}"#, vec![]),
            (Format::Json, "{}", vec![]),
        ] {
            let mut fields = parse(format, body).unwrap_or_else(|| panic!("{body} is sound"));
            assert_eq!(fields.list("l"), list, "{body}");
        }
    }

    #[test]
    fn boxes() {
        let cases = [
            (Format::Form, "flag=1", true),
            (Format::Form, "flag=on", true),
            (Format::Form, "flag=true", true),
            (Format::Form, "flag=false", false),
            (Format::Form, "flag=0", false),
            (Format::Form, "flag=", false),
            (Format::Form, "", false),
            (Format::Json, r#"{"flag":true}"#, true),
            (Format::Json, r#"{"flag":false}"#, false),
        ];
        for (format, body, expected) in cases {
            assert_eq!(parse(format, body).expect("sound").flag("flag"), expected, "{body}");
        }
    }

    #[test]
    fn content_types() {
        let cases = [
            (None, Some(Format::Form)),
            (Some("application/x-www-form-urlencoded"), Some(Format::Form)),
            (Some("application/x-www-form-urlencoded; charset=UTF-8"), Some(Format::Form)),
            (Some("Application/JSON"), Some(Format::Json)),
            (Some("application/json;charset=utf-8"), Some(Format::Json)),
            (Some("application/jsonp"), None),
            (Some("multipart/form-data; boundary=x"), None),
            (Some("text/plain"), None),
            (Some(""), None),
        ];
        for (value, expected) in cases {
            let headers =
                value.map(|value| (CONTENT_TYPE, HeaderValue::from_static(value))).into_iter().collect();
            assert_eq!(Format::of(&headers).ok(), expected, "{value:?}");
        }
    }

    #[test]
    fn a_parameter_has_one_value() {
        let cases = [
            ("next=/a", Some("/a")),
            ("rd=%2Fa", Some("/a")),
            ("x=1&next=/a&rd=/a", Some("/a")),
            ("next=/a&rd=/b", None),
            ("next=/a&next=/b", None),
            ("", None),
        ];
        for (raw, expected) in cases {
            assert_eq!(parameter(&query(Some(raw)), &["next", "rd"]), expected, "{raw}");
        }
    }

    /// A client that announces a body and then says nothing.
    struct Never;

    impl http_body::Body for Never {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn bodies_are_bounded_in_bytes_and_time() {
        let none = HeaderMap::new();
        let body = |length| Full::new(Bytes::from(vec![b'a'; length]));
        assert_eq!(read(&none, body(MAX_BYTES)).await.map(|body| body.len()).ok(), Some(MAX_BYTES));
        assert_eq!(
            read(&none, body(MAX_BYTES + 1)).await.map_err(|problem| problem.status.as_u16()),
            Err(413)
        );

        let told = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(MAX_BYTES + 1))]);
        assert_eq!(read(&told, body(1)).await.map_err(|problem| problem.status.as_u16()), Err(413));

        let soon = Duration::from_millis(5);
        let late = read_within(soon, &none, Never).await;
        assert_eq!(late.map_err(|problem| problem.status.as_u16()), Err(408));
    }
}
