//! Which addresses Juju gives this unit on an endpoint.

use serde::{Deserialize, Deserializer};

use super::tool::{self, Error};
use super::types::RelationId;

/// The addresses of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Network {
    /// What to listen on, preferred first.
    #[serde(default, rename = "bind-addresses", deserialize_with = "null_is_empty")]
    pub interfaces: Vec<Interface>,
    /// What others connect to, preferred first. May be a name instead of an address.
    #[serde(default, rename = "ingress-addresses", deserialize_with = "null_is_empty")]
    pub ingress_addresses: Vec<String>,
    /// Where our own connections come from.
    #[serde(default, rename = "egress-subnets", deserialize_with = "null_is_empty")]
    pub egress_subnets: Vec<String>,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Interface {
    /// Its name; may be empty.
    #[serde(default, rename = "interface-name", deserialize_with = "null_is_empty")]
    pub name: String,
    /// Its addresses; a fresh interface may have none.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub addresses: Vec<Address>,
}

/// An address of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Address {
    /// The address itself.
    #[serde(default, alias = "address", deserialize_with = "null_is_empty")]
    pub value: String,
    /// Its network; may be empty.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub cidr: String,
}

impl Network {
    /// The preferred address of this unit, `None` while it has none.
    pub fn bind_address(&self) -> Option<&str> {
        let mut addresses = self.interfaces.iter().flat_map(|interface| &interface.addresses);
        addresses.find(|address| !address.value.is_empty()).map(|address| address.value.as_str())
    }

    /// Where others reach this unit, `None` while that is unknown.
    pub fn ingress_address(&self) -> Option<&str> {
        self.ingress_addresses.iter().find(|address| !address.is_empty()).map(String::as_str)
    }
}

/// The addresses of an endpoint, of one relation when that is given.
///
/// # Errors
/// When Juju does not answer or knows no such endpoint.
pub fn get(endpoint: &str, relation: Option<&RelationId>) -> Result<Network, Error> {
    let relation = relation.map(ToString::to_string);
    let mut args = Vec::new();
    if let Some(relation) = &relation {
        args.extend(["-r", relation]);
    }
    args.extend(["--", endpoint]);
    Ok(tool::read::<Option<Network>>("network-get", &args)?.unwrap_or_default())
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, bind: Option<&str>, ingress: Option<&str>) {
        let network: Network = tool::parse("network-get", text).unwrap();
        assert_eq!((network.bind_address(), network.ingress_address()), (bind, ingress));
    }

    #[test]
    fn the_first_address_is_preferred() {
        check(
            r#"{"bind-addresses":[{"mac-address":"aa","interface-name":"lo","addresses":null},
                {"mac-address":"ab","interface-name":"eth0","addresses":[
                    {"hostname":"","value":"10.0.0.5","cidr":"10.0.0.0/24"},{"hostname":"","value":"10.0.0.6","cidr":""}]}],
               "egress-subnets":["10.0.0.5/32"],"ingress-addresses":["db.example","10.0.0.5"]}"#,
            Some("10.0.0.5"),
            Some("db.example"),
        );
    }

    #[test]
    fn a_unit_may_have_no_address_yet() {
        check(r#"{"bind-addresses":null,"ingress-addresses":[""]}"#, None, None);
        check("{}", None, None);
        check(r#"{"bind-addresses":[{"addresses":[]}]}"#, None, None);
    }

    #[test]
    fn old_agents_use_another_word() {
        check(
            r#"{"bind-addresses":[{"interfacename":"eth0","addresses":[{"address":"10.0.0.5"}]}]}"#,
            Some("10.0.0.5"),
            None,
        );
    }
}
