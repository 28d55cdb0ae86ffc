//! Looking: hook tools → what the decision needs of Juju. Reads only.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Context as _;

use super::credentials::{self, Passwords};
use super::peer_data::{self, Bag, CredentialsText, Format};
use super::settings::{self, Options};
use crate::cluster::{AppBag, Calendar, Event, Juju, Peers, Planned, Unit};
use crate::invocation::{self, CLIENT_BINDING, PEER_ENDPOINT};
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
    /// The application's.
    pub app_bag: Bag,
    /// In which databags are written.
    pub format: Format,
    /// All options, when they make sense.
    pub options: Option<Options>,
    /// The shared passwords, when they are at hand.
    pub passwords: Option<Passwords>,
    /// Where they are kept.
    pub credentials: Option<CredentialsText>,
    /// The model's UUID.
    pub model_uuid: String,
    /// This unit's address on the peers' network.
    pub address: Option<IpAddr>,
    /// Where clients reach this unit: an address, or a name.
    pub client_address: Option<String>,
    /// Where they reach the others, as far as those have said so.
    pub client_addresses: BTreeMap<Unit, String>,
}

/// Asks Juju everything that a pass needs.
///
/// # Errors
/// When Juju itself cannot be asked, or the leader's databag cannot be read: deciding without it could permit a second
/// cluster. Juju runs the hook again.
pub fn observe(me: &Unit, event: Event) -> anyhow::Result<Model> {
    // Each question is a process of its own that mostly waits: they are asked side by side.
    let (config, relations, address, client_address, leader, planned) = std::thread::scope(|scope| {
        let config = scope.spawn(juju::config::all);
        let relations = scope.spawn(|| juju::relation::ids(PEER_ENDPOINT));
        let address = scope.spawn(address);
        let client_address = scope.spawn(client_address);
        let leader = scope.spawn(juju::leader::is_leader);
        let planned = scope.spawn(planned);
        (joined(config), joined(relations), joined(address), joined(client_address), joined(leader), joined(planned))
    });
    let options = settings::read(&config?.context("cannot read the options")?, me.app());
    let relation = relations?.context("cannot find the peer relation")?.into_iter().next();
    let mut model = Model {
        juju: Juju {
            event,
            leader: false,
            planned: planned?,
            now_s: 0,
            peers: Peers::NotYet,
            app: AppBag::default(),
            settings: options.as_ref().map(|o| o.cluster.clone()).map_err(Clone::clone),
            calendar: Calendar::Unknown,
            busy: BTreeMap::new(),
        },
        me: me.clone(),
        relation: relation.clone(),
        own_bag: Bag::new(),
        app_bag: Bag::new(),
        format: Format::default(),
        options: options.ok(),
        passwords: None,
        credentials: None,
        model_uuid: invocation::model_uuid(),
        address: address?,
        client_address: client_address?,
        client_addresses: BTreeMap::new(),
    };
    let Some(relation) = relation else {
        return Ok(model);
    };
    model.juju.leader = leader?.context("cannot tell who leads")?;
    let own: UnitName = me.to_string().parse().map_err(|_| anyhow::anyhow!("cannot use {me} as a unit name"))?;
    let (own_bag, units, app) = std::thread::scope(|scope| {
        let own_bag = scope.spawn(|| juju::relation::get_unit(&relation, &own));
        let units = scope.spawn(|| juju::relation::list(&relation));
        let app = scope.spawn(|| juju::relation::get_app(&relation, me.app()));
        (joined(own_bag), joined(units), joined(app))
    });
    model.own_bag = own_bag?.context("cannot read our own databag")?;
    let app = app?.context("cannot read the application's databag")?;
    peer_data::check_app(&app)?;
    let units = units?.context("cannot list the peers")?;
    let (bags, credentials) = std::thread::scope(|scope| {
        let credentials = scope.spawn(|| credentials::read(&app));
        let bags: Vec<_> = units.iter().map(|unit| scope.spawn(|| juju::relation::get_unit(&relation, unit))).collect();
        (bags.into_iter().map(joined).collect::<Vec<_>>(), joined(credentials))
    });
    let mut peers = BTreeMap::new();
    for (unit, bag) in units.iter().zip(bags) {
        let bag = bag?.with_context(|| format!("cannot read the databag of {unit}"))?;
        let name: Unit = unit.to_string().parse().map_err(|why: String| anyhow::anyhow!(why))?;
        peers.insert(name, bag);
    }
    model.format = Format::agreed(peers.values());
    let client_address = |(unit, bag): (&Unit, &Bag)| Some((unit.clone(), bag.get(CLIENT_BINDING)?.clone()));
    model.client_addresses = peers.iter().filter_map(client_address).collect();
    let peers = peers.into_iter().map(|(unit, bag)| (unit, peer_data::read_peer(&bag))).collect();
    model.juju.peers = Peers::Known(peers);
    let (known, passwords, text) = credentials??;
    model.juju.app = peer_data::read_app(&app, known).map_err(|why| anyhow::anyhow!(why))?;
    model.passwords = passwords;
    model.credentials = text;
    model.app_bag = app;
    Ok(model)
}

/// What Juju changes without calling a hook on every unit, as text to compare: who leads, and who is planned.
///
/// # Errors
/// When Juju cannot be asked.
pub fn unannounced() -> anyhow::Result<String> {
    let (leader, planned) = std::thread::scope(|scope| {
        let leader = scope.spawn(juju::leader::is_leader);
        (joined(leader), planned())
    });
    Ok(unannounced_text(leader?.context("cannot tell who leads")?, &planned))
}

fn unannounced_text(leader: bool, planned: &Planned) -> String {
    format!("leader={leader} planned={planned:?}")
}

impl Model {
    /// As [`unannounced`], from what was seen already.
    pub fn unannounced(&self) -> String {
        unannounced_text(self.juju.leader, &self.juju.planned)
    }
}

/// What a thread came to; one that panicked fails the hook, which Juju runs again.
fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> anyhow::Result<T> {
    thread.join().map_err(|_| anyhow::anyhow!("cannot ask Juju: internal error"))
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

/// Where clients reach this unit. A binding that an earlier revision of the charm did not have may be unknown to Juju yet.
fn client_address() -> Option<String> {
    juju::network::get(CLIENT_BINDING, None).ok()?.ingress_address().map(ToOwned::to_owned)
}
