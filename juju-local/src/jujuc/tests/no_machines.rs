//! Machines that are directories: nothing runs on them, but files can be read and written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;

use crate::machine::{Machines, Mount};

pub(super) struct NoMachines {
    dir: PathBuf,
}

impl NoMachines {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }
}

fn none<T>() -> anyhow::Result<T> {
    anyhow::bail!("there is no machine")
}

impl Machines for NoMachines {
    fn create(&self, _: u32, _: &str, _: &[Mount], _: &dyn Fn(&str)) -> anyhow::Result<()> {
        none()
    }
    fn address(&self, id: u32, first_host: u32) -> String {
        self.address_of_host(first_host + id)
    }
    fn address_of_host(&self, host: u32) -> String {
        format!("10.89.7.{host}")
    }
    fn readdress(&self, _: u32, _: &str) -> anyhow::Result<()> {
        none()
    }
    fn root(&self, id: u32) -> PathBuf {
        let root = self.dir.join("machines").join(id.to_string());
        let net = root.join("sys/class/net/host0");
        fs::create_dir_all(&net).unwrap();
        fs::create_dir_all(root.join("charm")).unwrap();
        fs::write(net.join("address"), format!("00:16:3e:00:00:{id:02}\n")).unwrap();
        root
    }
    fn view(&self, id: u32) -> Option<PathBuf> {
        Some(self.root(id))
    }
    fn run_dir(&self, id: u32) -> PathBuf {
        self.root(id).join("run")
    }
    fn leader(&self, _: u32) -> Option<u32> {
        None
    }
    fn spawn(&self, _: u32, _: &[String], _: &BTreeMap<String, String>, _: &str) -> io::Result<Child> {
        Err(io::Error::other("there is no machine"))
    }
    fn power_off(&self, _: u32) -> anyhow::Result<()> {
        none()
    }
    fn power_on(&self, _: u32) -> anyhow::Result<()> {
        none()
    }
    fn reboot(&self, _: u32) -> anyhow::Result<()> {
        none()
    }
    fn block(&self, _: &BTreeSet<crate::model::Path>) -> anyhow::Result<()> {
        none()
    }
    fn slow(&self, _: u32, _: Option<&crate::model::Slow>) -> anyhow::Result<()> {
        none()
    }
    fn attach(&self, _: u32, _: &Mount) -> anyhow::Result<()> {
        none()
    }
    fn detach(&self, _: u32, _: &str) -> anyhow::Result<()> {
        none()
    }
    fn discard(&self, _: &str) -> anyhow::Result<()> {
        none()
    }
    fn fill(&self, _: u32, _: &str, _: u64) -> anyhow::Result<u64> {
        none()
    }
    fn unfill(&self, _: u32, _: &str) -> anyhow::Result<()> {
        none()
    }
    fn filled(&self, _: u32) -> Vec<String> {
        Vec::new()
    }
    fn at_rest(&self, _: u32, _: &str) -> anyhow::Result<PathBuf> {
        none()
    }
    fn destroy(&self, _: u32) -> anyhow::Result<()> {
        none()
    }
    fn destroy_all(&self) -> anyhow::Result<()> {
        none()
    }
    fn is_up(&self, _: u32) -> bool {
        true
    }
}
