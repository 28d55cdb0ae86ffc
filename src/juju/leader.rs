//! Whether this unit is Juju's leader.

use super::tool::{self, Error};

/// When true it stays so for half a minute. When false it stays so for the rest of this hook.
///
/// # Errors
/// When Juju cannot tell: not knowing is not the same as following.
pub fn is_leader() -> Result<bool, Error> {
    tool::read("is-leader", &[])
}
