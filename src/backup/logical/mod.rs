//! Logical backups: statements that make everything, and each table's rows as text. Written by the server itself, several
//! tables at once, all in one snapshot; read by any server of this version or a newer one.
//!
//! The stream is a `tar` of `index.json`, `schema.sql`, `triggers.sql`, `accounts.sql`, the pieces below `data/`, and
//! `end.json`, in this order. A stream without the last of them is not whole.

mod fill;
mod index;
mod lay_out;
mod load;
mod schema;
mod snapshot;
mod staging;
mod take;

pub use load::{Live, Loaded, clean_up_load, load};

pub(super) use lay_out::lay_out;
pub(super) use take::take;

/// Names within the stream.
const INDEX: &str = "index.json";
const SCHEMA: &str = "schema.sql";
const TRIGGERS: &str = "triggers.sql";
const ACCOUNTS: &str = "accounts.sql";
const DATA: &str = "data/";
const END: &str = "end.json";
