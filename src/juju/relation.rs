//! Relations and their databags. What is written becomes visible to others only when the hook ends with 0.

use std::collections::BTreeMap;

use super::tool::{self, Error};
use super::types::{RelationId, UnitName};

/// A databag. Writing an empty value deletes the key; keys that are not written stay.
pub type Bag = BTreeMap<String, String>;

/// The relations of an endpoint, lowest number first; none for an endpoint nobody knows. Before install has succeeded
/// there is not even the peer relation, and in its broken hook a relation is already missing.
///
/// # Errors
/// When Juju does not answer.
pub fn ids(endpoint: &str) -> Result<Vec<RelationId>, Error> {
    let mut ids: Vec<RelationId> = tool::read::<Option<_>>("relation-ids", &[endpoint])?.unwrap_or_default();
    // Juju sorts them as text.
    ids.sort();
    Ok(ids)
}

/// The units on the other side whose joining this unit has seen. On a peer relation never this unit itself.
///
/// # Errors
/// When Juju does not answer or the relation is gone.
pub fn list(relation: &RelationId) -> Result<Vec<UnitName>, Error> {
    let relation = relation.to_string();
    let mut units: Vec<UnitName> = tool::read::<Option<_>>("relation-list", &["-r", &relation])?.unwrap_or_default();
    units.sort();
    Ok(units)
}

/// The application on the other side; on a peer relation our own.
///
/// # Errors
/// When Juju does not answer or the relation is gone.
pub fn remote_app(relation: &RelationId) -> Result<Option<String>, Error> {
    let app: Option<String> = tool::read("relation-list", &["-r", &relation.to_string(), "--app"])?;
    Ok(app.filter(|app| !app.is_empty()))
}

/// A unit's databag; our own includes what this hook has written.
///
/// # Errors
/// When Juju does not answer; "not found" for a unit that has never joined.
pub fn get_unit(relation: &RelationId, unit: &UnitName) -> Result<Bag, Error> {
    let (relation, unit) = (relation.to_string(), unit.to_string());
    Ok(tool::read::<Option<Bag>>("relation-get", &["-r", &relation, "-", &unit])?.unwrap_or_default())
}

/// An application's databag. Our own is readable by every unit on a peer relation, elsewhere by the leader only.
///
/// # Errors
/// When Juju does not answer, or we may not.
pub fn get_app(relation: &RelationId, app: &str) -> Result<Bag, Error> {
    Ok(tool::read::<Option<Bag>>("relation-get", &["-r", &relation.to_string(), "--app", "-", app])?
        .unwrap_or_default())
}

/// Writes into our unit's databag.
///
/// # Errors
/// When Juju does not answer or the relation is gone.
pub fn set_unit(relation: &RelationId, changes: &Bag) -> Result<(), Error> {
    set(&["-r", &relation.to_string(), "--file", "-"], changes)
}

/// Writes into our application's databag. Leadership is checked now, and once more when the hook has ended.
///
/// # Errors
/// When Juju does not answer, the relation is gone, or we do not lead.
pub fn set_app(relation: &RelationId, changes: &Bag) -> Result<(), Error> {
    set(&["-r", &relation.to_string(), "--app", "--file", "-"], changes)
}

fn set(args: &[&str], changes: &Bag) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    tool::run("relation-set", args, Some(&document(changes))).map(drop)
}

/// The text for `--file -`. On stdin nobody can read it in the process list, and there is no limit to its length.
pub(super) fn document(changes: &Bag) -> Vec<u8> {
    let object = changes.iter().map(|(key, value)| (key.clone(), serde_json::Value::from(value.as_str()))).collect();
    yaml_safe(&serde_json::Value::Object(object).to_string()).into_bytes()
}

/// Juju reads the document as YAML, whose readers refuse some characters that JSON permits in the clear.
fn yaml_safe(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(c, '\u{7f}'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' | '\u{2028}' | '\u{2029}') {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_units_come_in_numeric_order() {
        let mut ids: Vec<RelationId> = tool::parse("relation-ids", "[\"p:10\",\"p:9\"]\n").unwrap();
        ids.sort();
        assert_eq!(ids.iter().map(RelationId::number).collect::<Vec<_>>(), [9, 10]);
        let units: Vec<UnitName> = tool::parse("relation-list", "[]\n").unwrap();
        assert!(units.is_empty());
    }

    #[test]
    fn jujus_escapes_are_undone() {
        let bag: Bag = tool::parse("relation-get", "{\"ingress-address\":\"10.0.0.5\",\"v\":\"a\\u003cb\"}\n").unwrap();
        assert_eq!(bag["v"], "a<b");
        assert_eq!(tool::parse::<Option<Bag>>("relation-get", "{}\n").unwrap(), Some(Bag::new()));
    }

    #[test]
    fn what_is_written_is_read_back_by_a_yaml_reader() {
        let changes: Bag = [
            ("db-init", "3"),
            ("deleted", ""),
            ("odd", "no: \"quotes\" # 'and'\n\ttabs \\ \u{7f}\u{85}\u{2028}\u{feff} and 🦭 \u{1}"),
            ("yes", "on"),
            ("json", "{\"epoch\": 1}"),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
        let text = String::from_utf8(document(&changes)).unwrap();
        assert_eq!(serde_yaml::from_str::<Bag>(&text).unwrap(), changes);
        assert_eq!(serde_json::from_str::<Bag>(&text).unwrap(), changes);
    }
}
