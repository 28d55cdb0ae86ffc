//! The server's configuration as text. Pure: the same facts give the same file, so a file that differs was edited.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{BINLOG_DIR, PROGRAM, SOCKET, TMP_DIR};

/// Everything that the files depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Galera's group name.
    pub cluster_name: String,
    /// This member's name in logs and views.
    pub node_name: String,
    /// This member's address.
    pub node_address: IpAddr,
    /// All members' addresses, this one included. Never empty: an empty list would found a cluster.
    pub members: Vec<IpAddr>,
    /// How this member asks for a full copy.
    pub sst_method: SstMethod,
    /// Names of the members that may give one, and nobody else; when there are none, whoever can.
    pub donors: Vec<String>,
    /// The data directory.
    pub datadir: String,
    /// Variables that follow from options and the machine.
    pub variables: BTreeMap<String, String>,
    /// Galera's own options that do.
    pub provider: BTreeMap<String, String>,
    /// The operator's own lines: name, and value where there is one.
    pub extra: Vec<(String, Option<String>)>,
}

/// How a joining member gets a full copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SstMethod {
    /// Physical copy while the donor serves.
    Mariabackup,
    /// File copy with the donor blocked: only while the cluster forms and nobody is served yet.
    Rsync,
}

impl SstMethod {
    /// Galera's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mariabackup => "mariabackup",
            Self::Rsync => "rsync",
        }
    }
}

/// Galera's library, where Debian and Ubuntu put it.
const PROVIDER: &str = "/usr/lib/galera/libgalera_smm.so";

/// How long members refuse one that their last view left out. Galera's own 5 s are what the second of two members that
/// join at the same moment has to wait (`docs/decisions/0002-first-state-transfer.md`); who is gone is decided by
/// `evs.suspect_timeout`, which stays.
const TIME_WAIT: &str = "PT1S";

/// How often a member says that it is there when it has nothing else to say. Galera's own second is what everybody stands
/// still for, up to three times, while a view forms with a member that joins (docs/facts.md).
const KEEPALIVE: &str = "PT0.3S";

/// The world-readable part.
pub fn render(c: &ServerConfig) -> String {
    let members = c.members.iter().map(host).collect::<Vec<_>>().join(",");
    format!(
        "# Written by the mariadb-galera charm; changes by hand are put back. Use juju config.
[mysqld]
datadir                         = {datadir}
socket                          = {SOCKET}
pid_file                        = /run/mysqld/mysqld.pid
tmpdir                          = {TMP_DIR}
# Where statements may read and write files. It has to exist, or the server does not start; the line above needs it too.
secure_file_priv                = {TMP_DIR}
bind_address                    = *
skip_name_resolve               = ON
ignore_db_dirs                  = lost+found

# From options, and from the machine.
{variables}
innodb_autoinc_lock_mode        = 2

binlog_format                   = ROW
log_bin                         = {BINLOG_DIR}/binlog
log_slave_updates               = ON
# One server id and one domain for the whole cluster: a write has the same GTID on every member.
server_id                       = 1
wsrep_gtid_mode                 = ON
wsrep_gtid_domain_id            = 1

wsrep_on                        = ON
wsrep_provider                  = {PROVIDER}
wsrep_cluster_name              = {cluster}
wsrep_cluster_address           = gcomm://{members}
wsrep_node_name                 = {node}
wsrep_node_address              = {address}
wsrep_sst_receive_address       = {address}
wsrep_sst_method                = {sst}
wsrep_sst_donor                 = '{donors}'
wsrep_notify_cmd                = '{PROGRAM} notify'
wsrep_provider_options          = '{provider};pc.recovery=true;gmcast.time_wait={TIME_WAIT};evs.keepalive_period={KEEPALIVE}'
{extra}",
        datadir = c.datadir,
        cluster = c.cluster_name,
        node = c.node_name,
        address = host(&c.node_address),
        sst = c.sst_method.name(),
        donors = c.donors.join(","),
        variables = lines(&c.variables),
        provider = c.provider.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(";"),
        extra = extra(&c.extra),
    )
}

fn lines(variables: &BTreeMap<String, String>) -> String {
    variables.iter().map(|(name, value)| format!("{name:31} = {value}")).collect::<Vec<_>>().join("\n")
}

/// Last, so that it counts where the charm has a value of its own.
pub fn extra(lines: &[(String, Option<String>)]) -> String {
    let lines: Vec<String> = lines
        .iter()
        .map(|(name, value)| value.as_ref().map_or_else(|| name.clone(), |value| format!("{name:31} = {value}")))
        .collect();
    if lines.is_empty() { String::new() } else { format!("\n# From the option extra-config.\n{}\n", lines.join("\n")) }
}

/// The part with the state transfer's password.
pub fn render_secret(account: &str, password: &str) -> String {
    format!(
        "# Written by the mariadb-galera charm, for the server only; changes by hand are put back.
[mysqld]
wsrep_sst_auth = {account}:{password}
"
    )
}

/// A unit's name as its server bears it.
pub fn node_name(unit: &str) -> String {
    unit.replace('/', "-")
}

/// An address as Galera wants it: IPv6 in brackets.
fn host(address: &IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_address_names_all_members() {
        let config = ServerConfig {
            cluster_name: "db".to_owned(),
            node_name: "db-0".to_owned(),
            node_address: "10.0.0.9".parse().unwrap(),
            members: vec!["10.0.0.9".parse().unwrap(), "10.0.0.10".parse().unwrap(), "fd00::1".parse().unwrap()],
            sst_method: SstMethod::Mariabackup,
            donors: vec!["db-1".to_owned(), "db-2".to_owned()],
            datadir: "/var/lib/mysql/data".to_owned(),
            variables: [("wait_timeout".to_owned(), "60".to_owned())].into(),
            provider: [("gcache.size".to_owned(), "3".to_owned())].into(),
            extra: vec![("performance_schema".to_owned(), None), ("sql_mode".to_owned(), Some("ANSI".to_owned()))],
        };
        let text = render(&config);
        assert!(text.contains("wsrep_cluster_address           = gcomm://10.0.0.9,10.0.0.10,[fd00::1]\n"), "{text}");
        // A comma at the end would let Galera take anybody once these are busy.
        assert!(text.contains("wsrep_sst_donor                 = 'db-1,db-2'\n"), "{text}");
        assert!(text.contains("\nwait_timeout                    = 60\n"), "{text}");
        assert!(text.contains("'gcache.size=3;pc.recovery=true;"), "{text}");
        assert!(text.ends_with(
            "\n# From the option extra-config.\nperformance_schema\nsql_mode                        = ANSI\n"
        ));
        assert!(!text.contains("ignore_sb") && !text.contains("sst_auth"));
    }
}
