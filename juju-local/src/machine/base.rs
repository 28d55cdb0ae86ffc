//! The cached base image: a debootstrap of the host's own release, with the host's own mirror.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
    remove_image(&making)?;
    progress(&format!("making the base image ({} {}), once, about a minute", host.id, host.codename));
    let target = making.display().to_string();
    let include = format!("--include={PACKAGES}");
    let made = Command::new("debootstrap")
        .args(["--variant=minbase", &include, &host.codename, &target, &host.mirror])
        .envs(host.proxy.iter().map(|proxy| ("http_proxy", proxy)))
        .stdin(Stdio::null())
        .output()
        .context("cannot run debootstrap")?;
    if !made.status.success() {
        // Its own errors come last, after a line for each package.
        let text = [made.stdout, made.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("I: ")).collect();
        anyhow::bail!(
            "cannot make the base image with debootstrap from {}: {}; check the network and run the command again",
            host.mirror,
            lines[lines.len().saturating_sub(3)..].join(" / ")
        );
    }
    progress("base image: package lists");
    for dir in ["etc/apt/sources.list.d", "etc/apt/mirrors", "etc/apt/keyrings", "usr/share/keyrings"] {
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
    let proxy = host.proxy.as_ref().map(|p| format!("Acquire::http::Proxy \"{p}\";\n")).unwrap_or_default();
    fs::write(
        making.join("etc/apt/apt.conf.d/90juju-local"),
        format!("APT::Keep-Downloaded-Packages \"true\";\nAcquire::Languages \"none\";\n{proxy}"),
    )?;
    // The image is made in the host's network: the host's resolver is the right one even when it listens on the loopback.
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
    if !Path::new(CACHE).exists() {
        return Ok(());
    }
    let lock = fs::File::create(Path::new(CACHE).join("lock")).context("cannot create the cache's lock")?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .context("cannot remove the cache: a base image is being made")?;
    for entry in fs::read_dir(CACHE).with_context(|| format!("cannot read {CACHE}"))?.flatten() {
        if entry.path().is_dir() {
            remove_image(&entry.path())?;
        }
    }
    super::remove_tree(Path::new(CACHE))
}

/// Removes an image. A debootstrap that was killed leaves the kernel's filesystems mounted in it: they go first, lest
/// the host's own be emptied.
fn remove_image(image: &Path) -> anyhow::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the list of mounts")?;
    let inside = mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| Path::new(at).starts_with(image));
    for at in inside.collect::<Vec<_>>().into_iter().rev() {
        run("umount", &["-l", at])?;
    }
    super::remove_tree(image)
}

/// What machines run, as `debian@12`: the same as their host.
pub fn host_base() -> String {
    let field = |name: &str| release_field(&fs::read_to_string("/etc/os-release").unwrap_or_default(), name);
    format!("{}@{}", field("ID="), field("VERSION_ID="))
}

fn release_field(release: &str, name: &str) -> String {
    let line = release.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim_matches('"').to_owned()
}

struct HostRelease {
    id: String,
    codename: String,
    mirror: String,
    /// What the host's apt goes through.
    proxy: Option<String>,
}

impl HostRelease {
    fn read() -> anyhow::Result<Self> {
        let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
        let field = |name: &str| release_field(&release, name);
        let (id, codename) = (field("ID="), field("VERSION_CODENAME="));
        if !["debian", "ubuntu"].contains(&id.as_str()) || codename.is_empty() {
            anyhow::bail!(
                "juju-local makes machines like its host, which must be Debian 12 or Ubuntu 24.04 or newer; this is {id:?}"
            );
        }
        let mirror = ["debian.sources", "ubuntu.sources"]
            .iter()
            .filter_map(|file| fs::read_to_string(Path::new("/etc/apt/sources.list.d").join(file)).ok())
            .find_map(|text| deb822_mirror(&text, &codename))
            .or_else(|| classic_mirror(&fs::read_to_string("/etc/apt/sources.list").ok()?, &codename))
            .and_then(|uri| match uri.strip_prefix("mirror+file:") {
                // A file with one mirror a line.
                Some(file) => first_word(&fs::read_to_string(file).ok()?),
                None => Some(uri),
            })
            .with_context(|| format!("cannot find a mirror of {codename} in /etc/apt; check its sources"))?;
        let proxy = run("apt-config", &["shell", "PROXY", "Acquire::http::Proxy"]).unwrap_or_default();
        let proxy =
            proxy.trim().strip_prefix("PROXY=").map(|p| p.trim_matches('\'').to_owned()).filter(|p| !p.is_empty());
        Ok(Self { id, codename, mirror, proxy })
    }
}

fn first_word(text: &str) -> Option<String> {
    text.lines()
        .map(|l| l.trim())
        .find(|l| !l.is_empty() && !l.starts_with('#'))?
        .split_whitespace()
        .next()
        .map(ToOwned::to_owned)
}

/// The first mirror that has the release, in apt's newer format.
fn deb822_mirror(text: &str, codename: &str) -> Option<String> {
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| stanza.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
        let off = field("Enabled:").trim() == "no";
        let here = field("Types:").split_whitespace().any(|t| t == "deb")
            && field("Suites:").split_whitespace().any(|suite| suite == codename);
        if here && !off { first_word(field("URIs:")) } else { None }
    })
}

/// The same in the one-line format, whose options are in brackets.
fn classic_mirror(text: &str, codename: &str) -> Option<String> {
    text.lines().filter(|line| line.starts_with("deb ")).find_map(|line| {
        let rest = match line.split_once(']') {
            Some((_, rest)) => rest,
            None => line.strip_prefix("deb")?,
        };
        let mut words = rest.split_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        (suite == codename).then(|| uri.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors() {
        let modern = "Types: deb\n# a note\nURIs: http://mirror.test/security\nSuites: noble-security\n\n\
                      Enabled: no\nTypes: deb\nURIs: http://off.test/ubuntu\nSuites: noble\n\n\
                      Types: deb deb-src\nURIs: http://mirror.test/ubuntu http://second.test\nSuites: noble noble-updates\n";
        assert_eq!(deb822_mirror(modern, "noble").as_deref(), Some("http://mirror.test/ubuntu"));
        assert_eq!(deb822_mirror(modern, "bookworm"), None);
        let classic = "# deb http://comment.test noble main\ndeb https://other.test/repo stable main\n\
                       deb [arch=amd64 signed-by=/x.gpg] http://mirror.test/debian bookworm main contrib\n";
        assert_eq!(classic_mirror(classic, "bookworm").as_deref(), Some("http://mirror.test/debian"));
        assert_eq!(classic_mirror(classic, "noble"), None);
        assert_eq!(
            first_word("\n# best first\nhttp://a.test/debian priority:1\n").as_deref(),
            Some("http://a.test/debian")
        );
    }
}
