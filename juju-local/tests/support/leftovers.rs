//! What a model may leave on the host when it is destroyed: nothing.

use std::process::Command;

/// What a shell on the host says.
pub(crate) fn host(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The third number of a model's addresses.
pub(crate) fn subnet(model: &str) -> String {
    host(&format!("cat /var/lib/juju-local/models/{model}/subnet"))
}

pub(crate) fn nothing_is_left(model: &str, subnet: &str) {
    for leftover in [
        format!("grep {model} /proc/mounts"),
        format!("losetup -l | grep {model}"),
        format!("pgrep -fa 'models/{model}/|name {model}$'"),
        format!("ip -o link | grep -E 'jl(br)?{subnet}[-:@]'"),
        format!("nft list tables | grep juju_local_{subnet}$"),
        format!("find /sys/fs/cgroup -type d -path '*/juju-local/jl{subnet}-*'"),
        format!("ls -d /var/lib/juju-local/models/{model}"),
    ] {
        // The shell that looks has the words in its own command line.
        let found: Vec<String> = host(&leftover).lines().filter(|l| !l.contains("pgrep")).map(str::to_owned).collect();
        assert!(found.is_empty(), "{leftover}: {found:?}");
    }
}
