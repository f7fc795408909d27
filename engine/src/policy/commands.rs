//! The policy on commands, before anything is written: what [`crate::gate`] would say of the
//! operations, said at once, offline too. Must never decide by itself: it names the act, the rules
//! decide.

use super::{Act, Principal, Refusal};
use crate::codes::Code;
use crate::document::{
    Command, CommentsCommand, JsonCommand, LikesCommand, PostCommand, PostView, View,
};
use crate::ids::Address;
use crate::limits::JSON_COUNTER_MAX;

/// Whether a principal may carry a command out on the document at `address`, which `view` shows.
///
/// What it allows, the gate allows too, as far as the view shows what the server has; what it
/// forbids, the gate refuses. A command that names nothing there is allowed: it fails by itself.
///
/// ```
/// use syncline_engine::document::{Command, LikesCommand, LikesView, Target, View};
/// use syncline_engine::ids::UserId;
/// use syncline_engine::policy::{Rules, allows_command};
///
/// let (rules, ann, bob) = (Rules::default(), UserId::new("ann")?, UserId::new("bob")?);
/// let (target, reaction) = (Target::Post, "like".to_owned());
/// let unlike = Command::Likes(LikesCommand::Unlike { target, reaction, user: bob });
/// let view = View::Likes(LikesView::default());
/// assert!(allows_command(&rules.principal(&ann, None), &"town/square/likes".parse()?, &view, &unlike).is_err());
/// # Ok::<(), syncline_engine::ids::NameError>(())
/// ```
///
/// # Errors
/// Why not, with the code that the gate would give.
pub fn allows_command(
    principal: &Principal,
    address: &Address,
    view: &View,
    command: &Command,
) -> Result<(), Refusal> {
    match (command, view) {
        (Command::Post(command), View::Post(view)) => post(principal, view, command),
        (Command::Likes(command), View::Likes(_)) => principal.allows(likes(command)),
        (Command::Comments(command), View::Comments(view)) => {
            let (id, act): (_, fn(_) -> _) = match command {
                CommentsCommand::Add { author, .. } => {
                    return principal.allows(Act::AddComment { author });
                }
                CommentsCommand::Edit { id, .. } => (id, |author| Act::EditComment { author }),
                CommentsCommand::Delete { id, .. } => (id, |author| Act::DeleteComment { author }),
            };
            match view.comment(*id) {
                Some(comment) => principal.allows(act(&comment.author)),
                None => Ok(()),
            }
        }
        (Command::Json(command), View::Json(_)) => {
            principal.allows(if address.is_rules() { Act::Manage } else { Act::EditJson })?;
            json(command)
        }
        // It is for another document, and fails by itself.
        (Command::Post(_) | Command::Likes(_) | Command::Comments(_) | Command::Json(_), _) => {
            Ok(())
        }
    }
}

const fn likes(command: &LikesCommand) -> Act<'_> {
    match command {
        LikesCommand::Like { user, .. } | LikesCommand::Unlike { user, .. } => Act::React { user },
        LikesCommand::Count { by, .. } => Act::Count { by: *by },
    }
}

fn post(principal: &Principal, view: &PostView, command: &PostCommand) -> Result<(), Refusal> {
    if let PostCommand::Create { author, .. } = command {
        return principal.allows(Act::CreatePost { author });
    }
    let Some(author) = view.author() else { return Ok(()) };
    let act = match command {
        PostCommand::Create { .. }
        | PostCommand::Splice { .. }
        | PostCommand::Mark { .. }
        | PostCommand::Unmark { .. }
        | PostCommand::AddTag { .. }
        | PostCommand::RemoveTag { .. } => {
            Act::EditPost { author, editor: view.editors().contains(&principal.user) }
        }
        PostCommand::AddEditor { .. } | PostCommand::RemoveEditor { .. } => {
            Act::SetEditors { author }
        }
        PostCommand::SetStatus { .. } => Act::SetStatus { author },
    };
    principal.allows(act)
}

fn json(command: &JsonCommand) -> Result<(), Refusal> {
    match command {
        JsonCommand::PutCounter { value: by, .. } | JsonCommand::Increment { by, .. }
            if by.unsigned_abs() > JSON_COUNTER_MAX =>
        {
            let message = format!("a counter begins and moves within {JSON_COUNTER_MAX}");
            Err(Refusal::new(Code::NotInSchema, message))
        }
        JsonCommand::Put { .. }
        | JsonCommand::PutText { .. }
        | JsonCommand::PutCounter { .. }
        | JsonCommand::Delete { .. }
        | JsonCommand::Insert { .. }
        | JsonCommand::Splice { .. }
        | JsonCommand::Increment { .. } => Ok(()),
    }
}
