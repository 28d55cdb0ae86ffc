//! Looking: hook tools → what the decision needs of Juju. Reads only.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Context as _;

use super::credentials::{self, Passwords};
use super::peer_data::{self, Bag, CredentialsText};
use super::settings::{self, Options};
use crate::cluster::{AppBag, Event, Juju, Peers, Planned, Unit};
use crate::invocation::PEER_ENDPOINT;
use crate::juju::{self, RelationId, UnitName};

/// What was seen: the middle's part, and what publishing and acting need besides.
#[derive(Debug)]
pub struct Model {
    /// The middle's part.
    pub juju: Juju,
    /// This unit.
    pub me: Unit,
    /// The peer relation, once it exists.
    pub relation: Option<RelationId>,
    /// This unit's databag as it stands.
    pub own_bag: Bag,
    /// All options, when they make sense.
    pub options: Option<Options>,
    /// The shared passwords, when they are at hand.
    pub passwords: Option<Passwords>,
    /// Where they are kept.
    pub credentials: Option<CredentialsText>,
    /// This unit's address on the peers' network.
    pub address: Option<IpAddr>,
}

/// Asks Juju everything that a pass needs.
///
/// # Errors
/// When Juju itself cannot be asked, or the leader's databag cannot be read: deciding without it could permit a second
/// cluster. Juju runs the hook again.
pub fn observe(me: &Unit, event: Event) -> anyhow::Result<Model> {
    let config = juju::config::all().context("cannot read the options")?;
    let options = settings::read(&config, me.app());
    let relation = juju::relation::ids(PEER_ENDPOINT).context("cannot find the peer relation")?.into_iter().next();
    let mut model = Model {
        juju: Juju {
            event,
            leader: false,
            planned: Planned::Unknown("not asked".to_owned()),
            peers: Peers::NotYet,
            app: AppBag::default(),
            settings: options.as_ref().map(|o| o.cluster.clone()).map_err(Clone::clone),
        },
        me: me.clone(),
        relation: relation.clone(),
        own_bag: Bag::new(),
        options: options.ok(),
        passwords: None,
        credentials: None,
        address: address(),
    };
    let Some(relation) = relation else {
        return Ok(model);
    };
    model.juju.leader = juju::leader::is_leader().context("cannot tell who leads")?;
    model.juju.planned = planned();
    let own: UnitName = me.to_string().parse().map_err(|_| anyhow::anyhow!("cannot use {me} as a unit name"))?;
    model.own_bag = juju::relation::get_unit(&relation, &own).context("cannot read our own databag")?;
    let mut peers = BTreeMap::new();
    for unit in juju::relation::list(&relation).context("cannot list the peers")? {
        let bag =
            juju::relation::get_unit(&relation, &unit).with_context(|| format!("cannot read the databag of {unit}"))?;
        let name: Unit = unit.to_string().parse().map_err(|why: String| anyhow::anyhow!(why))?;
        peers.insert(name, peer_data::read_peer(&bag));
    }
    model.juju.peers = Peers::Known(peers);
    let app = juju::relation::get_app(&relation, me.app()).context("cannot read the application's databag")?;
    let (known, passwords, text) = credentials::read(&app)?;
    model.juju.app = peer_data::read_app(&app, known).map_err(|why| anyhow::anyhow!(why))?;
    model.passwords = passwords;
    model.credentials = text;
    Ok(model)
}

fn planned() -> Planned {
    match juju::goal_state::get() {
        Ok(goal) => {
            let units: Result<_, String> = goal.planned_units().map(|unit| unit.to_string().parse()).collect();
            units.map_or_else(Planned::Unknown, Planned::Known)
        }
        Err(why) => Planned::Unknown(why.to_string()),
    }
}

/// The address that peers reach this unit at: of the peers' binding, so that network spaces are respected.
fn address() -> Option<IpAddr> {
    juju::network::get(PEER_ENDPOINT, None).ok()?.bind_address()?.parse().ok()
}
