//! The operator's options, with their types.

use std::collections::BTreeMap;

use serde_json::Value;

use super::tool::{self, Error};

/// Every option that has a value or a default. One hook sees one state of them.
///
/// # Errors
/// When Juju does not answer.
pub fn all() -> Result<BTreeMap<String, Value>, Error> {
    parse(&tool::run("config-get", &["--format=json"], None)?)
}

fn parse(answer: &str) -> Result<BTreeMap<String, Value>, Error> {
    let options: Option<BTreeMap<String, Value>> = tool::parse("config-get", answer)?;
    // Unset is the same as not mentioned, whichever of the two a Juju prints.
    Ok(options.unwrap_or_default().into_iter().filter(|(_, value)| !value.is_null()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_kept_and_unset_options_are_not_there() {
        let options = parse("{\"cluster-name\":null,\"max-connections\":100,\"profile\":\"\",\"tls\":true}\n").unwrap();
        assert_eq!(options["max-connections"], Value::from(100));
        assert_eq!((&options["profile"], &options["tls"]), (&Value::from(""), &Value::from(true)));
        assert!(!options.contains_key("cluster-name"));
        assert!(parse("null").unwrap().is_empty());
    }
}
