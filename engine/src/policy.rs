//! Who may do what in a space: principals, roles, capabilities, and the rules of a space as data.
//! The one place that decides; the gate asks it about operations ([`crate::gate`]), a client about
//! commands ([`allows_command`]). Must never see bytes, documents' insides or connections.
//!
//! ```
//! use syncline_engine::ids::UserId;
//! use syncline_engine::policy::{Act, Role, Rules};
//!
//! let mut rules = Rules::default();
//! let ann = UserId::new("ann")?;
//! rules.members.insert(ann.clone(), Role::Viewer);
//! let principal = rules.principal(&ann, None);
//! assert!(principal.allows(Act::React { user: &ann }).is_err());
//! # Ok::<(), syncline_engine::ids::NameError>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::codes::Code;
use crate::ids::{NameError, UserId, check_name};

mod commands;
mod saved;

pub use commands::allows_command;

/// Something that is not allowed or does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// A sentence that helps.
    pub message: String,
}

impl Refusal {
    /// A refusal with this code and sentence.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What kind of member somebody is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Role {
    /// May do everything, and change the rules.
    Owner,
    /// May tombstone comments and set the status of posts, beside what a member may.
    Moderator,
    /// May write.
    Member,
    /// May read.
    Viewer,
    /// May write in the names of others, to carry data over from elsewhere.
    Importer,
    /// Nobody here: may do nothing. What strangers are to a private space.
    Outsider,
    /// A name that the app adds, such as `instructor`; the rules say what it may do.
    Named(String),
}

impl Role {
    /// The role with this name: one of the six, or else one of the app.
    ///
    /// # Errors
    /// [`NameError::Malformed`] if a character is not allowed or the length is not.
    pub fn new(name: &str) -> Result<Self, NameError> {
        Ok(match name {
            "owner" => Self::Owner,
            "moderator" => Self::Moderator,
            "member" => Self::Member,
            "viewer" => Self::Viewer,
            "importer" => Self::Importer,
            "outsider" => Self::Outsider,
            _ => {
                check_name("a role", name)?;
                Self::Named(name.to_owned())
            }
        })
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Owner => "owner",
            Self::Moderator => "moderator",
            Self::Member => "member",
            Self::Viewer => "viewer",
            Self::Importer => "importer",
            Self::Outsider => "outsider",
            Self::Named(name) => name,
        }
    }

    /// What it may do where the rules of a space say nothing else.
    #[must_use]
    pub const fn capabilities(&self) -> Capabilities {
        match self {
            Self::Owner => Capabilities::OWNER,
            Self::Moderator => Capabilities::MEMBER.and(Capabilities::MODERATE),
            Self::Member => Capabilities::MEMBER,
            Self::Viewer => Capabilities::READ,
            Self::Importer => Capabilities::MEMBER.and(Capabilities::IMPORT),
            Self::Outsider | Self::Named(_) => Capabilities::NONE,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

/// Who somebody is in one space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The name that was authenticated.
    pub user: UserId,
    /// What the rules of the space let them do.
    pub may: Capabilities,
}

impl Principal {
    /// Whether they may do something.
    ///
    /// # Errors
    /// [`Code::Forbidden`] if they lack the capability, [`Code::NotAuthor`] if only somebody else
    /// may.
    pub fn allows(&self, act: Act<'_>) -> Result<(), Refusal> {
        decide(&self.user, self.may, act)
    }
}

/// A set of things that one may do.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u16);

impl Capabilities {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// See documents.
    pub const READ: Self = Self(1);
    /// Write posts, and edit those one is author or editor of.
    pub const POST: Self = Self(1 << 1);
    /// Comment, and edit and delete one's own comments.
    pub const COMMENT: Self = Self(1 << 2);
    /// React as oneself, and be counted.
    pub const REACT: Self = Self(1 << 3);
    /// Edit schemaless documents.
    pub const EDIT_JSON: Self = Self(1 << 4);
    /// Edit posts of others and who their editors are.
    pub const EDIT_ANY: Self = Self(1 << 5);
    /// Delete comments of others, and show, hide or delete their posts.
    pub const MODERATE: Self = Self(1 << 6);
    /// Change the rules of the space.
    pub const MANAGE: Self = Self(1 << 7);
    /// Write in the names of others, for those who carry data over from elsewhere.
    pub const IMPORT: Self = Self(1 << 8);
    /// Everything that an owner may.
    const OWNER: Self = Self((1 << 8) - 1);
    /// What a member may.
    const MEMBER: Self =
        Self::READ.and(Self::POST).and(Self::COMMENT).and(Self::REACT).and(Self::EDIT_JSON);

    /// Each single one with its name, in the order of their bits.
    pub const NAMES: [(Self, &'static str); 9] = [
        (Self::READ, "read"),
        (Self::POST, "post"),
        (Self::COMMENT, "comment"),
        (Self::REACT, "react"),
        (Self::EDIT_JSON, "edit_json"),
        (Self::EDIT_ANY, "edit_any"),
        (Self::MODERATE, "moderate"),
        (Self::MANAGE, "manage"),
        (Self::IMPORT, "import"),
    ];

    /// As a number, one bit for each.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// From a number; bits that are not known here are passed over.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & ((1 << 9) - 1))
    }

    /// What is in either.
    #[must_use]
    pub const fn and(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    /// Whether everything in `wanted` is in it.
    #[must_use]
    pub const fn has(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// The names of what is in it.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(one, _)| self.has(*one)).map(|(_, name)| name)
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// The rules of one space. They are the JSON of a document ([`Address::rules_of`]), with its history
/// and its way of merging, and whoever holds [`Capabilities::MANAGE`] edits it like any other.
///
/// [`Address::rules_of`]: crate::ids::Address::rules_of
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// Whether those who are not listed are kept out.
    pub private: bool,
    /// The role of those who are not listed, in a space that is not private.
    pub default_role: Role,
    /// The roles of those who are listed.
    #[serde(with = "saved::users")]
    pub members: BTreeMap<UserId, Role>,
    /// Those who may do nothing at all.
    #[serde(with = "saved::user_set")]
    pub banned: BTreeSet<UserId>,
    /// What roles may do, where that is not [`Role::capabilities`].
    #[serde(with = "saved::roles")]
    pub roles: BTreeMap<Role, Capabilities>,
}

impl Default for Rules {
    /// An open space: whoever comes is a member.
    fn default() -> Self {
        Self {
            private: false,
            default_role: Role::Member,
            members: BTreeMap::new(),
            banned: BTreeSet::new(),
            roles: BTreeMap::new(),
        }
    }
}

/// What somebody wants to do, as far as it matters who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act<'a> {
    /// To see a document.
    Read,
    /// To like, or to take a like back.
    React {
        /// In whose name.
        user: &'a UserId,
    },
    /// To move a counter beside the likes.
    Count {
        /// By how much.
        by: i64,
    },
    /// To write a post for the first time.
    CreatePost {
        /// In whose name.
        author: &'a UserId,
    },
    /// To edit text or tags of a post.
    EditPost {
        /// Whose post it is.
        author: &'a UserId,
        /// Whether the principal is among its editors.
        editor: bool,
    },
    /// To say who may edit a post.
    SetEditors {
        /// Whose post it is.
        author: &'a UserId,
    },
    /// To show, hide or delete a post.
    SetStatus {
        /// Whose post it is.
        author: &'a UserId,
    },
    /// To write a comment.
    AddComment {
        /// In whose name.
        author: &'a UserId,
    },
    /// To edit a comment.
    EditComment {
        /// Whose comment it is.
        author: &'a UserId,
    },
    /// To delete a comment, which leaves a tombstone.
    DeleteComment {
        /// Whose comment it is.
        author: &'a UserId,
    },
    /// To edit a schemaless document.
    EditJson,
    /// To change the rules of the space.
    Manage,
}

impl Rules {
    /// Who a user is here. A role that a token claims goes before the one that is listed; a ban
    /// before both. But a claimed owner is always one: somebody must be able to mend the rules.
    #[must_use]
    pub fn principal(&self, user: &UserId, claimed: Option<&Role>) -> Principal {
        let role = self.role(user, claimed);
        let listed = || self.roles.get(role).copied().unwrap_or_else(|| role.capabilities());
        let may = match claimed {
            Some(Role::Owner) => Capabilities::OWNER,
            _ if self.banned.contains(user) => Capabilities::NONE,
            _ => listed(),
        };
        Principal { user: user.clone(), may }
    }

    /// The role of a user here, which says what the user may do unless there is a ban.
    #[must_use]
    pub fn role<'a>(&'a self, user: &UserId, claimed: Option<&'a Role>) -> &'a Role {
        let stranger = if self.private { &Role::Outsider } else { &self.default_role };
        claimed.or_else(|| self.members.get(user)).unwrap_or(stranger)
    }
}

fn forbidden(message: &str) -> Result<(), Refusal> {
    Err(Refusal::new(Code::Forbidden, message))
}

/// Decides for a user with these capabilities.
pub(crate) fn decide(user: &UserId, may: Capabilities, act: Act<'_>) -> Result<(), Refusal> {
    let not_author = |message: &str| Err(Refusal::new(Code::NotAuthor, message));
    let (needed, what) = match act {
        Act::Read => (Capabilities::READ, "you may not read here"),
        Act::React { .. } | Act::Count { .. } => (Capabilities::REACT, "you may not react here"),
        Act::CreatePost { .. } => (Capabilities::POST, "you may not post here"),
        Act::EditPost { .. } | Act::SetEditors { .. } => {
            if may.has(Capabilities::EDIT_ANY) {
                return Ok(());
            }
            (Capabilities::POST, "you may not edit posts here")
        }
        Act::SetStatus { .. } if may.has(Capabilities::MODERATE) => return Ok(()),
        Act::SetStatus { .. } => (Capabilities::POST, "you may not edit posts here"),
        Act::DeleteComment { .. } if may.has(Capabilities::MODERATE) => return Ok(()),
        Act::AddComment { .. } | Act::EditComment { .. } | Act::DeleteComment { .. } => {
            (Capabilities::COMMENT, "you may not comment here")
        }
        Act::EditJson => (Capabilities::EDIT_JSON, "you may not edit documents here"),
        Act::Manage => (Capabilities::MANAGE, "you may not change the rules here"),
    };
    if !may.has(needed) {
        return forbidden(what);
    }
    match act {
        Act::Count { by } if by < 0 => forbidden("counters only go up"),
        _ if may.has(Capabilities::IMPORT) => Ok(()),
        Act::React { user: other } if other != user => not_author("one reacts only as oneself"),
        Act::CreatePost { author } | Act::AddComment { author } if author != user => {
            not_author("one writes only as oneself")
        }
        Act::EditPost { author, editor } if author != user && !editor => {
            not_author("only the author and the editors may edit this post")
        }
        Act::SetEditors { author } | Act::SetStatus { author } if author != user => {
            not_author("only the author may do this to the post")
        }
        Act::EditComment { author } | Act::DeleteComment { author } if author != user => {
            not_author("only the author may do this to the comment")
        }
        Act::Read
        | Act::React { .. }
        | Act::Count { .. }
        | Act::CreatePost { .. }
        | Act::EditPost { .. }
        | Act::SetEditors { .. }
        | Act::SetStatus { .. }
        | Act::AddComment { .. }
        | Act::EditComment { .. }
        | Act::DeleteComment { .. }
        | Act::EditJson
        | Act::Manage => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn code(rules: &Rules, who: &str, act: Act<'_>) -> Option<Code> {
        rules.principal(&user(who), None).allows(act).err().map(|refusal| refusal.code)
    }

    fn rules() -> Rules {
        let mut rules = Rules::default();
        for (name, role) in [
            ("own", Role::Owner),
            ("mod", Role::Moderator),
            ("vic", Role::Viewer),
            ("ida", Role::Named("instructor".into())),
        ] {
            rules.members.insert(user(name), role);
        }
        let may = Capabilities::READ.and(Capabilities::COMMENT).and(Capabilities::EDIT_ANY);
        rules.roles.insert(Role::Named("instructor".into()), may);
        rules.banned.insert(user("ban"));
        rules
    }

    #[test]
    fn each_role_may_what_it_may() {
        let (rules, ann, bob) = (rules(), user("ann"), user("bob"));
        let forbidden = Some(Code::Forbidden);
        let not_author = Some(Code::NotAuthor);
        let edit = Act::EditPost { author: &ann, editor: false };
        let table = [
            (Act::Read, [None, None, None, None, None, forbidden]),
            (edit, [None, None, not_author, not_author, forbidden, forbidden]),
            (
                Act::DeleteComment { author: &ann },
                [None, not_author, None, not_author, forbidden, forbidden],
            ),
            (
                Act::SetStatus { author: &ann },
                [None, forbidden, None, not_author, forbidden, forbidden],
            ),
            (
                Act::AddComment { author: &bob },
                [not_author, not_author, not_author, None, forbidden, forbidden],
            ),
            (Act::EditJson, [None, forbidden, None, None, forbidden, forbidden]),
            (Act::Manage, [None, forbidden, forbidden, forbidden, forbidden, forbidden]),
            (
                Act::Count { by: -1 },
                [forbidden, forbidden, forbidden, forbidden, forbidden, forbidden],
            ),
        ];
        for (act, expected) in table {
            let found =
                ["own", "ida", "mod", "bob", "vic", "ban"].map(|who| code(&rules, who, act));
            assert_eq!(found, expected, "{act:?}");
        }
        let editor = Act::EditPost { author: &ann, editor: true };
        assert_eq!(code(&rules, "bob", editor), None);
        assert_eq!(code(&rules, "vic", editor), forbidden, "an editor who lost his membership");
    }

    #[test]
    fn a_private_space_keeps_strangers_out_whom_no_token_lets_in() {
        let rules = Rules { private: true, ..rules() };
        assert_eq!(code(&rules, "bob", Act::Read), Some(Code::Forbidden));
        assert_eq!(code(&rules, "vic", Act::Read), None);
        let claimed = rules.principal(&user("bob"), Some(&Role::Member));
        assert_eq!(claimed.allows(Act::Read), Ok(()));
        let banned = rules.principal(&user("ban"), Some(&Role::Moderator));
        assert!(banned.allows(Act::Read).is_err());
        let owner = rules.principal(&user("ban"), Some(&Role::Owner));
        assert_eq!(owner.allows(Act::Manage), Ok(()));
    }

    #[test]
    fn rules_are_kept_as_text_that_a_person_can_read() {
        let rules = rules();
        let saved = serde_json::to_value(&rules).unwrap();
        assert_eq!(saved["members"]["ida"], "instructor");
        let may = serde_json::json!(["read", "comment", "edit_any"]);
        assert_eq!(saved["roles"]["instructor"], may);
        assert_eq!(serde_json::from_value::<Rules>(saved).unwrap(), rules);
        assert_eq!(serde_json::from_str::<Rules>("{}").unwrap(), Rules::default());
        for bad in [r#"{"members":{"a b":"owner"}}"#, r#"{"roles":{"x":["fly"]}}"#] {
            assert!(serde_json::from_str::<Rules>(bad).is_err(), "{bad}");
        }
    }
}
