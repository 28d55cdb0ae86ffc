//! The cached base image: a debootstrap of the host's own release, with the host's own mirror.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::command::{attempt, run};

const CACHE: &str = "/var/cache/juju-local";
/// Raised when the image's recipe changes, so that an older cache is not used.
const RECIPE: u32 = 1;
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,procps,ca-certificates,less";

/// Where packages that machines have downloaded are kept for the next ones.
pub(super) fn archives() -> PathBuf {
    Path::new(CACHE).join("archives")
}

/// The image, made if it is not there; a killed making leaves nothing behind that looks like one.
pub(super) fn ensure(progress: &dyn Fn(&str)) -> anyhow::Result<PathBuf> {
    let host = HostRelease::read()?;
    let image = Path::new(CACHE).join(format!("base-{}-{}-{RECIPE}", host.id, host.codename));
    if image.exists() {
        return Ok(image);
    }
    fs::create_dir_all(archives().join("partial")).with_context(|| format!("cannot create {CACHE}"))?;
    let lock = fs::File::create(Path::new(CACHE).join("lock")).context("cannot create the cache's lock")?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).context("cannot lock the cache")?;
    if image.exists() {
        return Ok(image);
    }
    let making = image.with_extension("making");
    if making.exists() {
        fs::remove_dir_all(&making).context("cannot remove a half-made base image")?;
    }
    progress(&format!("making the base image ({} {}), once, about a minute", host.id, host.codename));
    let target = making.display().to_string();
    let include = format!("--include={PACKAGES}");
    run("debootstrap", &["--variant=minbase", &include, &host.codename, &target, &host.mirror])?;
    progress("base image: package lists");
    for dir in ["etc/apt/sources.list.d", "etc/apt/keyrings", "usr/share/keyrings"] {
        let from = Path::new("/").join(dir);
        fs::create_dir_all(making.join(dir))?;
        for entry in fs::read_dir(&from).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let text = name.to_string_lossy();
            let wanted = if dir.ends_with("sources.list.d") {
                // Only the distribution's own lists: others may need what the image lacks.
                text == "debian.sources" || text == "ubuntu.sources"
            } else {
                entry.path().is_file()
            };
            if wanted {
                fs::copy(entry.path(), making.join(dir).join(&name))?;
            }
        }
    }
    let classic = Path::new("/etc/apt/sources.list");
    let modern =
        ["debian.sources", "ubuntu.sources"].iter().any(|f| making.join("etc/apt/sources.list.d").join(f).exists());
    let text = if modern { String::new() } else { fs::read_to_string(classic).unwrap_or_default() };
    fs::write(making.join("etc/apt/sources.list"), text)?;
    fs::write(
        making.join("etc/apt/apt.conf.d/90juju-local"),
        "APT::Keep-Downloaded-Packages \"true\";\nAcquire::Languages \"none\";\n",
    )?;
    if Path::new("/etc/resolv.conf").exists() {
        let _ = fs::remove_file(making.join("etc/resolv.conf"));
        fs::copy("/etc/resolv.conf", making.join("etc/resolv.conf"))?;
    }
    run("chroot", &[&target, "apt-get", "update", "-q"])?;
    let _ = fs::remove_file(making.join("etc/machine-id"));
    fs::write(making.join("etc/machine-id"), "")?;
    // Timers that would fetch and unpack beside the charm's own work.
    for timer in
        ["apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"]
    {
        attempt("chroot", &[&target, "systemctl", "mask", timer]);
    }
    fs::rename(&making, &image).context("cannot put the base image in place")?;
    Ok(image)
}

/// Removes the image and the packages.
///
/// # Errors
/// When something of it cannot be removed.
pub fn purge_cache() -> anyhow::Result<()> {
    if Path::new(CACHE).exists() {
        fs::remove_dir_all(CACHE).with_context(|| format!("cannot remove {CACHE}"))?;
    }
    Ok(())
}

struct HostRelease {
    id: String,
    codename: String,
    mirror: String,
}

impl HostRelease {
    fn read() -> anyhow::Result<Self> {
        let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
        let field = |name: &str| {
            release
                .lines()
                .find_map(|l| l.strip_prefix(name))
                .map(|v| v.trim_matches('"').to_owned())
                .unwrap_or_default()
        };
        let (id, codename) = (field("ID="), field("VERSION_CODENAME="));
        if !["debian", "ubuntu"].contains(&id.as_str()) || codename.is_empty() {
            anyhow::bail!(
                "juju-local makes machines like its host, which must be Debian 12 or Ubuntu 24.04 or newer; this is {id:?}"
            );
        }
        let mirror = mirror().context("cannot find the distribution's mirror in /etc/apt; check its sources")?;
        Ok(Self { id, codename, mirror })
    }
}

/// The first mirror in apt's own sources, deb822 or classic.
fn mirror() -> Option<String> {
    for file in ["debian.sources", "ubuntu.sources"] {
        if let Ok(text) = fs::read_to_string(Path::new("/etc/apt/sources.list.d").join(file)) {
            if let Some(uri) = text.lines().find_map(|l| l.strip_prefix("URIs:")) {
                return uri.split_whitespace().next().map(ToOwned::to_owned);
            }
        }
    }
    let text = fs::read_to_string("/etc/apt/sources.list").ok()?;
    text.lines()
        .filter(|l| l.starts_with("deb "))
        .find_map(|l| l.split_whitespace().find(|w| w.contains("://")))
        .map(ToOwned::to_owned)
}
