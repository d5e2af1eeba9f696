//! What an operation takes in its body: which fields, and of which kind.
//!
//! `form` reads by this and hands out nothing that is not named here, so the document can't leave out what is taken.
//!
//! Callers: the portal's endpoints write it down; `form` and `openapi` read it.

/// The field of every form with which a page of ours shows that it sent it.
pub(in crate::portal) const CSRF_TOKEN: &str = "csrf_token";

/// What a page puts beside a password for who keeps passwords. Nobody here reads it.
pub(in crate::portal) const BESIDE_PASSWORD: &str = "username";

/// The body of a POST, as a form and as a JSON object.
#[derive(Debug)]
pub(in crate::portal) struct Input {
    /// Nothing else may be sent: what is passed over may have been meant as a limit.
    pub(in crate::portal) closed: bool,
    pub(in crate::portal) fields: &'static [Field],
    /// Whether there has to be one; a form that has to prove something is never left out.
    pub(in crate::portal) is_needed: bool,
    /// For a token endpoint: faults as RFC 6749 has them.
    pub(in crate::portal) is_oauth: bool,
    /// Whether a form has to show by a token that a page of ours sent it.
    pub(in crate::portal) is_proven: bool,
    /// One of these sets has to be there, where not every field that is needed is always needed.
    pub(in crate::portal) one_of: &'static [&'static [&'static str]],
}

/// One field of it.
#[derive(Clone, Copy, Debug)]
pub(in crate::portal) struct Field {
    pub(in crate::portal) about: &'static str,
    pub(in crate::portal) kind: Kind,
    pub(in crate::portal) name: &'static str,
    pub(in crate::portal) need: Need,
}

/// Whether a program has to send a field. A form that lacks one is shown again and says so itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::portal) enum Need {
    /// Not empty either.
    Filled,
    Optional,
    /// It may be empty.
    There,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::portal) enum Kind {
    /// The address of a mailbox.
    Email,
    /// `true` or `false`; in a form, a box.
    Flag,
    /// Several texts; in a form, boxes called `name:text`.
    List {
        most: usize,
    },
    /// A whole number within these bounds.
    Number {
        least: u64,
        most: u64,
    },
    /// Names of routes that look at a token.
    Routes,
    /// A text that is not to be shown.
    Secret,
    Text,
}

impl Input {
    /// Nothing but what a form has to prove.
    pub(in crate::portal) const EMPTY: Self = Self::of(&[]);

    pub(in crate::portal) const fn of(fields: &'static [Field]) -> Self {
        Self { closed: false, fields, is_needed: true, is_oauth: false, is_proven: true, one_of: &[] }
    }

    pub(in crate::portal) const fn closed(fields: &'static [Field]) -> Self {
        Self { closed: true, ..Self::of(fields) }
    }

    pub(in crate::portal) const fn oauth(
        fields: &'static [Field],
        one_of: &'static [&'static [&'static str]],
    ) -> Self {
        Self { is_oauth: true, one_of, ..Self::unproven(fields) }
    }

    /// The same, which may be left out: the request says enough.
    pub(in crate::portal) const fn optional(self) -> Self {
        Self { is_needed: false, ..self }
    }

    /// What changes nothing needs no proof of where it comes from.
    pub(in crate::portal) const fn unproven(fields: &'static [Field]) -> Self {
        Self { is_proven: false, ..Self::of(fields) }
    }

    /// Whether there is a field of this name.
    pub(in crate::portal) fn names(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name == name)
    }

    /// The same for a form, which has a box for each text of a list, and a token.
    pub(in crate::portal) fn names_in_form(&self, name: &str) -> bool {
        match name.split_once(':') {
            None => self.names(name) || (name == CSRF_TOKEN && self.is_proven),
            Some((list, _)) => self.fields.iter().any(|field| field.name == list && field.kind.is_list()),
        }
    }
}

impl Kind {
    /// Whether it holds several texts.
    pub(in crate::portal) fn is_list(self) -> bool {
        match self {
            Self::List { .. } | Self::Routes => true,
            Self::Email | Self::Flag | Self::Number { .. } | Self::Secret | Self::Text => false,
        }
    }
}

impl Field {
    const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { about, kind, name, need: Need::Optional }
    }

    pub(in crate::portal) const fn email(name: &'static str, about: &'static str) -> Self {
        Self::new(name, Kind::Email, about)
    }

    pub(in crate::portal) const fn flag(name: &'static str, about: &'static str) -> Self {
        Self::new(name, Kind::Flag, about)
    }

    /// A list that stays empty.
    pub(in crate::portal) const fn no_list(name: &'static str, about: &'static str) -> Self {
        Self::new(name, Kind::List { most: 0 }, about)
    }

    pub(in crate::portal) const fn number(
        name: &'static str,
        least: u64,
        most: u64,
        about: &'static str,
    ) -> Self {
        Self::new(name, Kind::Number { least, most }, about)
    }

    pub(in crate::portal) const fn routes(name: &'static str, about: &'static str) -> Self {
        Self::new(name, Kind::Routes, about)
    }

    pub(in crate::portal) const fn secret(name: &'static str, about: &'static str) -> Self {
        Self::new(name, Kind::Secret, about)
    }

    pub(in crate::portal) const fn text(name: &'static str, about: &'static str) -> Self {
        Self::new(name, Kind::Text, about)
    }

    /// The same, not to be left out and not to be empty.
    pub(in crate::portal) const fn needed(self) -> Self {
        Self { need: Need::Filled, ..self }
    }

    /// The same, not to be left out.
    pub(in crate::portal) const fn there(self) -> Self {
        Self { need: Need::There, ..self }
    }
}
