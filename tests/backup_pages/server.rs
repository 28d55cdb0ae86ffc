//! A server of the test's own, in a folder that goes with it.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mariadb_galera::backup::manifest::Cluster;
use mariadb_galera::backup::{Order, Wanted};
use mariadb_galera::mariadb::account::ACCOUNTS;

/// On this machine one backup is made at a time, and so one story is told at a time.
static TURN: Mutex<()> = Mutex::new(());

const PASSWORD: &str = "pass\"word\\'$x";

/// Tells a story, when it is asked for.
pub(crate) fn scenario(word: &str, story: impl FnOnce(&Workplace)) {
    if std::env::var("RUN_E2E").as_deref() != Ok("1") {
        println!("skipped: {word} runs a server on this machine; set RUN_E2E=1");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    install();
    story(&Workplace::new());
}

/// What the charm installs on a unit. Nothing of it is to start here.
fn install() {
    let programs = ["mariadbd", "mariadb-backup", "mbstream", "zstd", "age", "age-keygen", "setpriv"];
    let there = |program: &&str| ["/usr/bin", "/usr/sbin"].iter().any(|dir| Path::new(dir).join(program).exists());
    if programs.iter().all(there) && Path::new(GALERA).exists() {
        return;
    }
    let script = "set -e; unit=/etc/systemd/system/mariadb.service
         if [ ! -e $unit ] && [ ! -L $unit ]; then ln -s /dev/null $unit; trap 'rm -f $unit' EXIT; fi
         apt-get update -q
         DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
           mariadb-server mariadb-backup galera-4 zstd age";
    run("sh", &["-c", script]);
}

/// Runs a program, and returns what it wrote.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// Command lines of those processes that name something.
pub(crate) fn processes_with(word: &str) -> Vec<String> {
    let line = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).ok();
    let lines = fs::read_dir("/proc").unwrap().flatten().filter_map(line);
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(word)).collect()
}

/// A folder for one story.
pub(crate) struct Workplace {
    root: tempfile::TempDir,
    mounted: RefCell<Vec<PathBuf>>,
}

impl Workplace {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        // The server's user has to pass through.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { root, mounted: RefCell::default() }
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// What has a name that begins so.
    pub(crate) fn names_beside(&self, beginning: &str) -> Vec<String> {
        let names = fs::read_dir(self.root.path()).unwrap().flatten();
        names.map(|e| e.file_name().into_string().unwrap()).filter(|name| name.starts_with(beginning)).collect()
    }

    /// A disk of so many megabytes.
    pub(crate) fn tmpfs(&self, name: &str, megabytes: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs", path.to_str().unwrap()]);
        self.mounted.borrow_mut().push(path.clone());
        path
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        for path in self.mounted.borrow().iter() {
            run("umount", &[path.to_str().unwrap()]);
        }
    }
}

const GALERA: &str = "/usr/lib/galera/libgalera_smm.so";

/// A server that ends when it is dropped.
pub(crate) struct Server {
    child: Option<Child>,
    root: PathBuf,
    name: String,
    galera: bool,
}

impl Server {
    /// With new data, and the charm's account for backups.
    pub(crate) fn first(place: &Workplace, galera: bool) -> Self {
        let datadir = place.path("data");
        let data = format!("--datadir={}", datadir.display());
        let auth = "--auth-root-authentication-method=socket";
        run("mariadb-install-db", &["--no-defaults", "--user=mysql", "--skip-test-db", auth, &data]);
        let server = Self::on(place, "data", galera);
        let account = ACCOUNTS.iter().find(|account| account.name == "charmed-backup").unwrap();
        let password = PASSWORD.replace('\\', "\\\\").replace('\'', "\\'");
        let who = format!("'{}'@'{}'", account.name, account.host);
        server.sql(&format!("CREATE USER {who} IDENTIFIED BY '{password}'"));
        server.sql(&format!("GRANT {} ON *.* TO {who} {}; CREATE DATABASE app", account.privileges, account.with));
        server.sql("CREATE TABLE app.written (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(2000))");
        server
    }

    /// On data that are there.
    pub(crate) fn on(place: &Workplace, name: &str, galera: bool) -> Self {
        let mut server = Self { child: None, root: place.root().to_owned(), name: name.to_owned(), galera };
        server.start();
        server
    }

    /// One that another process has started.
    pub(crate) fn seen_from_afar(root: &Path) -> Self {
        Self { child: None, root: root.to_owned(), name: "data".to_owned(), galera: false }
    }

    fn start(&mut self) {
        let log = self.root.join(format!("log.{}", self.name));
        let mut command = Command::new("/usr/sbin/mariadbd");
        command.args(["--no-defaults", "--user=mysql", "--skip-networking", "--innodb-buffer-pool-size=256M"]);
        command.args(["--server-id=1", "--binlog-format=ROW", "--log-bin=binlog", "--log-slave-updates"]);
        command.args(["--innodb-log-file-size=256M", "--innodb-flush-log-at-trx-commit=0"]);
        command.arg(format!("--datadir={}", self.datadir().display()));
        command.arg(format!("--socket={}", self.socket().display()));
        command.arg(format!("--log-error={}", log.display()));
        command.arg(format!("--pid-file={}", self.datadir().join("pid").display()));
        if self.galera {
            command.args(["--wsrep-on=ON", "--wsrep-cluster-address=gcomm://", "--innodb-autoinc-lock-mode=2"]);
            command.arg(format!("--wsrep-provider={GALERA}"));
            command
                .arg("--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:24567;ist.recv_addr=127.0.0.1:24568");
            command.args(["--wsrep-node-address=127.0.0.1", "--wsrep-sst-method=rsync", "--wsrep-gtid-mode=ON"]);
        }
        // The log is written by the server's user.
        fs::write(&log, "").unwrap();
        run("chown", &["mysql", log.to_str().unwrap()]);
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let begin = Instant::now();
        while self.try_sql("SELECT 1").is_err() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let said = || fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none() && begin.elapsed() < Duration::from_secs(60), "{}", said());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let _gone = self.try_sql("SHUTDOWN");
        let begin = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if begin.elapsed() > Duration::from_secs(60) {
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// The same bytes in other files.
    pub(crate) fn copy_data_directory(&mut self) {
        self.stop();
        let (old, new) = (self.datadir(), self.root.join("copied"));
        run("cp", &["-a", old.to_str().unwrap(), new.to_str().unwrap()]);
        fs::remove_dir_all(&old).unwrap();
        fs::rename(&new, &old).unwrap();
        self.start();
    }

    pub(crate) fn datadir(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.datadir().join("s")
    }

    pub(crate) fn try_sql(&self, text: &str) -> Result<String, String> {
        let socket = format!("--socket={}", self.socket().display());
        let args = ["--no-defaults", "--batch", "--skip-column-names", &socket, "-D", "mysql", "-e", text];
        let output = Command::new("mariadb").args(args).output().unwrap();
        let said = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        if output.status.success() { Ok(said(output.stdout)) } else { Err(said(output.stderr)) }
    }

    pub(crate) fn sql(&self, text: &str) -> String {
        self.try_sql(text).unwrap()
    }

    pub(crate) fn uuid(&self) -> String {
        let row = self.sql("SHOW GLOBAL STATUS LIKE 'wsrep_local_state_uuid'");
        row.split_whitespace().last().unwrap().to_owned()
    }

    /// Text that compresses a little.
    pub(crate) fn write_rows(&self, count: u64) {
        let text = "CONCAT(SHA2(RAND(), 512), REPEAT(SHA1(RAND()), 10))";
        self.sql(&format!("INSERT INTO app.written (text) SELECT {text} FROM seq_1_to_{count}"));
    }

    /// Text that does not compress.
    pub(crate) fn write_noise(&self, megabytes: u32) {
        self.sql("CREATE TABLE app.noise (id INT PRIMARY KEY AUTO_INCREMENT, x BLOB)");
        let bytes = "RANDOM_BYTES(1024)";
        let row = [bytes; 16].join(", ");
        let rows = megabytes * 64;
        self.sql(&format!("INSERT INTO app.noise (x) SELECT CONCAT({row}) FROM seq_1_to_{rows}"));
    }

    /// Tables as sysbench makes them: numbers, and digits in groups.
    pub(crate) fn write_gigabyte(&self) {
        let digits = |groups: usize| {
            let group = "LPAD(FLOOR(RAND() * 100000000000), 11, '0')";
            format!("CONCAT_WS('-', {})", vec![group; groups].join(", "))
        };
        for table in 0..8 {
            self.sql(&format!(
                "CREATE TABLE app.sbtest{table} (id INT PRIMARY KEY AUTO_INCREMENT, k INT NOT NULL,
                 c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL, KEY (k));
                 INSERT INTO app.sbtest{table} (k, c, pad)
                 SELECT FLOOR(RAND() * 500000), {}, {} FROM seq_1_to_550000",
                digits(10),
                digits(5)
            ));
        }
        self.sql("SET GLOBAL innodb_max_dirty_pages_pct = 0; FLUSH TABLES");
        run("sync", &[]);
        println!("data directory: {}", run("du", &["-sh", self.datadir().to_str().unwrap()]).trim());
    }

    pub(crate) fn count(&self) -> u64 {
        self.sql("SELECT COUNT(*) FROM app.written").parse().unwrap()
    }

    pub(crate) fn login_file(&self) -> PathBuf {
        let path = self.root.join("login.cnf");
        let socket = self.socket().display().to_string();
        let text = format!("[mariadb-backup]\nuser=root\nsocket={socket}\ndatadir={}\n", self.datadir().display());
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn order(&self) -> Order {
        Order {
            unit: "db/0".to_owned(),
            host: "here".to_owned(),
            application: "db".to_owned(),
            model_uuid: "m".to_owned(),
            cluster: Cluster { name: "db".to_owned(), uuid: "u".to_owned(), branch: 0 },
            wanted: Wanted::Full,
            recipients: Vec::new(),
            who: "a test".to_owned(),
            why: "to see".to_owned(),
            account: "charmed-backup".to_owned(),
            password: PASSWORD.to_owned(),
            threads: 2,
            datadir: self.datadir(),
            socket: self.socket(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
