//! A model behind the command line, and the charm in it.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::host;

/// Each hook leaves its name in a file on the machine, and in another one how long it waited for a tool.
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) dir: tempfile::TempDir,
}

impl Model {
    pub(crate) fn new() -> Self {
        let files = [
            (
                "metadata.yaml",
                "{name: small, summary: s, description: d, storage: {data: {type: filesystem, location: /srv/data, minimum-size: 64M}}}",
            ),
            ("manifest.yaml", "bases: [{name: ubuntu, channel: 24.04/stable}]"),
            ("config.yaml", "options: {word: {type: string, default: none}}"),
            ("actions.yaml", "greet: {params: {who: {type: string, default: world}}}"),
            (
                "dispatch",
                "#!/bin/sh\necho $JUJU_DISPATCH_PATH >> /root/hooks\nbegan=$(date +%s%3N)\nstatus-set active ready\n\
                 echo $JUJU_DISPATCH_PATH $(($(date +%s%3N) - began)) >> /root/waited\n\
                 [ -z \"$JUJU_ACTION_NAME\" ] || action-set text=\"hello $(action-get who)\"\n",
            ),
        ];
        let model = Self { name: format!("e2e-small-{}", std::process::id()), dir: tempfile::tempdir().unwrap() };
        model.pack("small.charm", &files);
        model.run(&["add-model", &model.name, "--no-switch"]).unwrap();
        model
    }

    /// Makes a charm's archive in the model's directory.
    pub(crate) fn pack(&self, archive: &str, files: &[(&str, &str)]) {
        let mut zip = zip::ZipWriter::new(std::fs::File::create(self.dir.path().join(archive)).unwrap());
        for (name, content) in files {
            zip.start_file(*name, zip::write::SimpleFileOptions::default().unix_permissions(0o755)).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_juju-local"), words)
    }

    pub(crate) fn program(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(words).env("JUJU_MODEL", &self.name).current_dir(self.dir.path());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Result<String, String> {
        let output = self.command(words).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    pub(crate) fn wait(&self, units: usize) {
        let query =
            format!("len(units) == {units} && forEach(units, u => u.status == 'active' && u.agent-status == 'idle')");
        self.run(&["wait-for", "application", "small", "--query", &query, "--timeout", "60s"]).unwrap();
    }

    /// How often a hook ran on a unit.
    pub(crate) fn ran(&self, unit: &str, hook: &str) -> usize {
        let hooks = self.run(&["ssh", unit, "cat /root/hooks"]).unwrap_or_default();
        hooks.lines().filter(|line| *line == format!("hooks/{hook}")).count()
    }

    pub(crate) fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            let log = self.run(&["debug-log", "--replay", "-n", "20"]);
            assert!(begun.elapsed() < Duration::from_secs(30), "waited in vain for {what}; log: {log:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The third number of the addresses.
    pub(crate) fn subnet(&self) -> String {
        super::leftovers::subnet(&self.name)
    }

    pub(crate) fn controller(&self) -> String {
        host(&format!("pgrep -f 'controller --name {}$'", self.name))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = self.run(&["destroy-model", "--no-prompt"]);
    }
}
