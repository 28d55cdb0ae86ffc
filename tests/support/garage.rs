//! An S3 server for tests: garage, on loopback, in a folder of its own. It is started, killed and started again as the
//! test likes, and is gone with it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mariadb_galera::backup::store::{S3Settings, UriStyle};
use tempfile::TempDir;

/// The keys of a server that lives for a test.
pub(crate) const ACCESS_KEY: &str = "GK0123456789abcdef01234567";
pub(crate) const SECRET_KEY: &str = "5e5a4e5e5a4e5e5a4e5e5a4e5e5a4e5e5a4e5e5a4e5e5a4e5e5a4e5e5a4e0000";
const BUCKET: &str = "backups";
const REGION: &str = "garage";

pub(crate) struct Garage {
    program: PathBuf,
    folder: TempDir,
    /// Where it speaks S3.
    pub(crate) address: SocketAddr,
    running: Option<Child>,
}

impl Garage {
    /// A server with one bucket; `None`, with a notice, where the machine has no garage.
    pub(crate) fn start() -> Option<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST.into())
    }

    /// The same at another address of this machine.
    pub(crate) fn start_at(ip: IpAddr) -> Option<Self> {
        let Some(program) = std::env::var_os("GARAGE").map(PathBuf::from) else {
            eprintln!("skipped: GARAGE names no S3 server (need_s3_server in xtask/machine.sh builds one)");
            return None;
        };
        assert!(program.is_file(), "GARAGE names {}, which is no program", program.display());
        let folder = tempfile::tempdir().unwrap();
        let (address, internal) = (free_address_at(ip), free_address());
        let path = folder.path().display();
        let config = format!(
            "metadata_dir = \"{path}/meta\"\ndata_dir = \"{path}/data\"\ndb_engine = \"lmdb\"\nreplication_factor = 1\n\
             rpc_bind_addr = \"{internal}\"\nrpc_public_addr = \"{internal}\"\nrpc_secret = \"{}\"\n[s3_api]\n\
             s3_region = \"{REGION}\"\napi_bind_addr = \"{address}\"\nroot_domain = \".localhost\"\n",
            "5e".repeat(32)
        );
        std::fs::write(folder.path().join("garage.toml"), config).unwrap();
        let mut garage = Self { program, folder, address, running: None };
        garage.run();
        Some(garage)
    }

    /// Starts it, again with what it had.
    pub(crate) fn run(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = self.command();
        command.args(["server", "--single-node", "--default-bucket"]);
        command.env("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY).env("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY);
        command.env("GARAGE_DEFAULT_BUCKET", BUCKET);
        self.running = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        let begin = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let ended = self.running.as_mut().unwrap().try_wait().unwrap();
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(ended.is_none() && begin.elapsed() < Duration::from_secs(30), "no S3 server: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill().unwrap();
            running.wait().unwrap();
        }
    }

    /// What it says to a command of an administrator.
    pub(crate) fn admin(&self, args: &[&str]) -> String {
        let output = self.command().args(args).output().unwrap();
        assert!(output.status.success(), "garage {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn settings(&self) -> S3Settings {
        S3Settings {
            endpoint: format!("http://{}", self.address),
            bucket: BUCKET.to_owned(),
            region: Some(REGION.to_owned()),
            path: "db".to_owned(),
            uri_style: UriStyle::Path,
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            tls_ca_chain: None,
            storage_class: None,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.folder.path().join("garage.toml")).stdin(Stdio::null());
        // Colours would be read as part of the answers.
        command.env("NO_COLOR", "1");
        command
    }
}

impl Drop for Garage {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An address that nobody listens on.
pub(crate) fn free_address() -> SocketAddr {
    free_address_at(Ipv4Addr::LOCALHOST.into())
}

fn free_address_at(ip: IpAddr) -> SocketAddr {
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}
