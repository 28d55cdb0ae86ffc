//! The peer databags as text, and back. The format is numbered, because old and new charm revisions talk to each other
//! during a refresh: unknown keys and fields are left alone, a higher number is treated as silence and named.
//!
//! Nothing that changes by itself (sequence numbers, sizes, view numbers) is published: every change wakes every unit.

mod app;
mod format;
mod plan;
mod turn;
mod unit;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use app::{
    CredentialsText, forget_ended, keep_unknown, read_app, read_credentials, write_credentials, write_ended,
    write_formation, write_history, write_plan, write_recovery, write_restore, write_turn,
};
pub use format::{Format, TooNew, check_app};
pub use unit::{read_peer, write_report};

/// A databag as Juju gives it.
pub type Bag = BTreeMap<String, String>;

fn parse<'a, T: Deserialize<'a>>(key: &str, text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|why| format!("cannot read {key}: {why}"))
}

fn json<T: Serialize>(value: &T) -> String {
    // These types hold only strings, numbers and maps with string keys, which always have a JSON form.
    serde_json::to_string(value).unwrap_or_default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
