//! How long three machines with the packages installed take to be three Synced members: the charm, and beside it the plain
//! sequence that manuals give: bootstrap one, then join the others by mariabackup, one after the other.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::model::Model;
use super::{Row, archive, seconds};
use crate::build::Profile;
use crate::pack;

/// Leaves three machines with the same packages, and nothing running.
const PLAIN_INSTALL: &str = "#!/bin/sh
set -e
case $JUJU_DISPATCH_PATH in
hooks/install)
  printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends mariadb-server galera-4 mariadb-backup socat
  rm /usr/sbin/policy-rc.d ;;
hooks/start) status-set active ;;
esac
";

const CLUSTER_SIZE: &str = "mariadb -BNe \"SHOW STATUS LIKE 'wsrep_cluster_size'\"";

/// Both ways, one after the other.
pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let (ours, plain) = (charm()?, plain()?);
    Ok(vec![Row {
        what: "three Synced members, from packages installed everywhere".to_owned(),
        ours: seconds(ours),
        against: format!("bootstrap, then each join by mariabackup: {}; at most half promised", seconds(plain)),
        kept: Some(ours * 2 <= plain),
    }])
}

fn charm() -> anyhow::Result<Duration> {
    let charm = pack::run(Profile::Charm)?;
    let model = Model::add("bench-formation")?;
    model.deploy(&charm, "db", &["-n", "3", "--config", "profile=testing"])?;
    model.wait("packages installed everywhere", || Ok(model.hooks_run("install")? == 3))?;
    let begin = Instant::now();
    model.wait("three active units", || {
        let units = model.units("db")?;
        Ok(units.len() == 3 && units.iter().all(|unit| unit.workload == "active"))
    })?;
    let taken = begin.elapsed();
    // What counts is what the servers say; the statuses only say when to look.
    for unit in model.units("db")? {
        let said = model.shell(&unit.name, CLUSTER_SIZE)?;
        anyhow::ensure!(said.split_whitespace().last() == Some("3"), "{} is active and sees {said}", unit.name);
    }
    Ok(taken)
}

fn plain() -> anyhow::Result<Duration> {
    let folder = archive::folder("bench-plain")?;
    archive::file(&folder, "dispatch", 0o755, PLAIN_INSTALL)?;
    archive::file(
        &folder,
        "metadata.yaml",
        0o644,
        "name: bench-plain\nsummary: packages\ndescription: Packages only.\n",
    )?;
    archive::file(&folder, "manifest.yaml", 0o644, "bases:\n- name: ubuntu\n  channel: 24.04/stable\n")?;
    let model = Model::add("bench-plain")?;
    model.deploy(&archive::pack(&folder)?, "plain", &["-n", "3"])?;
    model.wait_active("plain", 3)?;

    let status: serde_json::Value = serde_json::from_str(&model.juju(&["status", "--format", "json"])?)?;
    let units = status["applications"]["plain"]["units"].as_object().cloned().context("cannot find the units")?;
    let members: Vec<(String, String)> = units
        .iter()
        .map(|(name, unit)| (name.clone(), unit["public-address"].as_str().unwrap_or_default().to_owned()))
        .collect();
    let all = members.iter().map(|(_, address)| address.as_str()).collect::<Vec<_>>().join(",");
    for (unit, address) in &members {
        let lines = [
            "[mysqld]",
            "wsrep_on=ON",
            "wsrep_provider=/usr/lib/galera/libgalera_smm.so",
            "binlog_format=ROW",
            "innodb_autoinc_lock_mode=2",
            "bind-address=0.0.0.0",
            "wsrep_sst_method=mariabackup",
            "wsrep_sst_auth=sst:bench",
        ];
        let text = format!("{}\nwsrep_cluster_address=gcomm://{all}\nwsrep_node_address={address}\n", lines.join("\n"));
        model.shell(unit, &format!("printf '%s' '{text}' >/etc/mysql/mariadb.conf.d/90-bench.cnf"))?;
    }

    let begin = Instant::now();
    for (index, (unit, _)) in members.iter().enumerate() {
        if index == 0 {
            model.shell(
                unit,
                "galera_new_cluster && mariadb -e \"CREATE USER sst@localhost IDENTIFIED BY 'bench'; \
                 GRANT RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR ON *.* TO sst@localhost\"",
            )?;
        } else {
            model.shell(unit, "systemctl start mariadb")?;
        }
        let synced =
            "until mariadb -BNe \"SHOW STATUS LIKE 'wsrep_local_state_comment'\" | grep -qw Synced; do sleep 0.1; done";
        model.shell(unit, synced)?;
    }
    let taken = begin.elapsed();
    let (last, _) = members.last().context("cannot find the last unit")?;
    let said = model.shell(last, CLUSTER_SIZE)?;
    anyhow::ensure!(said.split_whitespace().last() == Some("3"), "the plain sequence made a cluster of {said}");
    Ok(taken)
}
