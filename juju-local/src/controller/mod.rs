//! One process a model: holds the state, runs a thread for each unit's agent, answers commands.

mod deploy;
mod disks;
mod faults;
pub(crate) mod kept;
pub(crate) mod left;
mod machines;
mod operations;
pub(crate) mod requests;
mod resources;
mod rollback;
mod secrets;
mod settings;
mod store;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use crate::machine::{Containers, Machines, Mount};
use crate::model::{State, UnitName};
use crate::uniter::agent::{self, ExecRequest, tools_dir};
use crate::uniter::context::Context;

/// What the lock protects.
pub struct World {
    pub state: State,
    pub execs: BTreeMap<UnitName, VecDeque<ExecRequest>>,
    pub stopping: bool,
    /// Actions that run beside hooks.
    pub beside: BTreeSet<u32>,
    agents: BTreeSet<UnitName>,
}

/// A charm's process that runs.
pub struct Running {
    pub unit: UnitName,
    /// The action that it is.
    pub task: Option<u32>,
    /// On the host; also the number of its process group.
    pub pid: u32,
}

/// Held by whoever does something on a machine, or in a group of actions there.
type MachineLock = Arc<Mutex<()>>;

/// The controller of one model.
pub struct Controller {
    pub dir: PathBuf,
    pub machines: Arc<dyn Machines>,
    world: Mutex<World>,
    changed: Condvar,
    contexts: Mutex<BTreeMap<String, Context>>,
    running: Mutex<BTreeMap<String, Running>>,
    machine_locks: Mutex<BTreeMap<(u32, String), MachineLock>>,
    /// Units whose agents wait until another has done with their machine.
    waiting: Mutex<BTreeMap<UnitName, u32>>,
    /// Held while filesystems are moved.
    disks: Mutex<()>,
    /// Held while files are kept for applications.
    keeping: Mutex<()>,
    /// Machines that are being made.
    making: Mutex<BTreeSet<u32>>,
    pub memory: crate::watchful::Memory,
    store: store::Store,
    log: Mutex<fs::File>,
    /// How far the clock was moved, as in the model's state: asking for the time must not need its lock.
    clock_ahead: AtomicU64,
    /// Stopped on purpose: it only breaks and mends.
    stopped: bool,
}

/// What everybody hears who asks for more than a fault meanwhile.
pub const STOPPED: &str = "the controller is stopped; juju-local fault controller start starts it";

/// A file that is there while the controller is stopped on purpose. A process may run all the same, for faults: it
/// starts no agent.
fn stop_note(dir: &Path) -> PathBuf {
    dir.join("stopped")
}

/// Whether a model's controller is stopped on purpose.
pub fn is_stopped(model: &str) -> bool {
    stop_note(&model_dir(model)).exists()
}

/// Takes that back; the next process starts the agents.
///
/// # Errors
/// When the note cannot be removed.
pub fn allow_start(model: &str) -> anyhow::Result<()> {
    match fs::remove_file(stop_note(&model_dir(model))) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(why).context("cannot start the controller"),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The model's directory.
pub fn model_dir(model: &str) -> PathBuf {
    Path::new(crate::machine::STATE_ROOT).join("models").join(model)
}

/// Runs a model's controller until it is told to stop.
///
/// # Errors
/// When another one runs on the same state, or the state cannot be read.
pub fn run(model: &str) -> anyhow::Result<()> {
    let dir = model_dir(model);
    fs::create_dir_all(dir.join("charms")).with_context(|| format!("cannot create {}", dir.display()))?;
    // Secrets and operators' options lie here.
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
    let lock = fs::File::create(dir.join("lock"))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| anyhow::anyhow!("another controller runs on model {model:?}"))?;
    let machines: Arc<dyn Machines> = Arc::new(Containers::open(model, &dir)?);
    let controller = Controller::open(model, &dir, machines)?;
    controller.adopt();
    watch::start(&controller);
    let socket = dir.join("controller.socket");
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket)?;
    for stream in listener.incoming().map_while(Result::ok) {
        let served = Arc::clone(&controller);
        // The one that answers a stop or a destruction ends the process, when it has answered.
        std::thread::spawn(move || requests::serve(&served, stream));
    }
    Ok(())
}

impl Controller {
    /// Opens a model's state, or makes it.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn open(model: &str, dir: &Path, machines: Arc<dyn Machines>) -> anyhow::Result<Arc<Self>> {
        let file = dir.join("state.redb");
        let lost = || {
            format!("the state of model {model:?} cannot be used; juju-local destroy-model {model} removes the model")
        };
        let store = store::Store::open(&file).with_context(lost)?;
        let state = store.load().with_context(lost)?.unwrap_or_else(|| State::new(model));
        let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("debug.log"))?;
        let clock_ahead = AtomicU64::new(state.clock_ahead);
        let world =
            World { state, execs: BTreeMap::new(), stopping: false, beside: BTreeSet::new(), agents: BTreeSet::new() };
        Ok(Arc::new(Self {
            dir: dir.to_owned(),
            machines,
            world: Mutex::new(world),
            changed: Condvar::new(),
            contexts: Mutex::new(BTreeMap::new()),
            running: Mutex::new(BTreeMap::new()),
            machine_locks: Mutex::new(BTreeMap::new()),
            waiting: Mutex::new(BTreeMap::new()),
            disks: Mutex::new(()),
            keeping: Mutex::new(()),
            making: Mutex::new(BTreeSet::new()),
            memory: crate::watchful::Memory::default(),
            store,
            log: Mutex::new(log),
            clock_ahead,
            stopped: stop_note(dir).exists(),
        }))
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What each running process of a charm sees and has said, by its `JUJU_CONTEXT_ID`.
    pub fn contexts(&self) -> MutexGuard<'_, BTreeMap<String, Context>> {
        self.contexts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process of each context.
    pub fn running(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wait<'a>(&self, world: MutexGuard<'a, World>, limit: Duration) -> MutexGuard<'a, World> {
        self.changed.wait_timeout(world, limit).unwrap_or_else(PoisonError::into_inner).0
    }

    pub fn wake(&self) {
        self.changed.notify_all();
    }

    /// Unix seconds, by the model's clock.
    pub fn now(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        now + self.clock_ahead.load(Ordering::Relaxed)
    }

    /// Moves the model's clock forward. It cannot go back: statuses would be of tomorrow.
    ///
    /// # Errors
    /// When it would go where times cannot be written any more.
    pub fn advance_clock(&self, seconds: u64) -> anyhow::Result<()> {
        const YEAR_9000: u64 = 221_845_392_000;
        if self.now().saturating_add(seconds) > YEAR_9000 {
            anyhow::bail!("cannot move the clock past the year 9000");
        }
        let ahead = self.change(|state| {
            state.clock_ahead += seconds;
            state.clock_ahead
        });
        self.clock_ahead.store(ahead, Ordering::Relaxed);
        self.wake();
        Ok(())
    }

    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock().state)
    }

    /// Changes the state at once, outside any hook's transaction.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut world = self.lock();
        let result = change(&mut world.state);
        drop(world);
        self.wake();
        result
    }

    /// Puts the state on disk.
    pub fn save(&self, world: &World) {
        if let Err(why) = self.try_save(world) {
            self.log("controller", "ERROR", "juju.controller", &format!("cannot save the model: {why:#}"));
        }
    }

    /// The same for those who can still take back what they did.
    ///
    /// # Errors
    /// When the disk is full or broken.
    pub fn try_save(&self, world: &World) -> anyhow::Result<()> {
        self.store.save(&world.state)
    }

    /// One line of the debug log.
    pub fn log(&self, entity: &str, level: &str, module: &str, message: &str) {
        let at = jiff::Timestamp::now().strftime("%H:%M:%S");
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(log, "{entity}: {at} {level} {module} {message}");
    }

    /// Does something while no other unit does anything on this machine; with a group, while nobody else of that group
    /// does. It is not done when the unit has gone, or is to go by force, or its machine is off, before its turn comes.
    pub fn holding_machine(&self, unit: &UnitName, machine: u32, group: &str, act: impl FnOnce()) {
        let lock = {
            let mut locks = self.machine_locks.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(locks.entry((machine, group.to_owned())).or_default())
        };
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(unit.clone(), machine);
        let _held = lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(unit);
        let on = |world: &World| {
            let there = world.state.units.get(unit).is_some_and(|u| u.machine == machine && !u.force);
            there && !world.stopping && world.state.machines.get(&machine).is_some_and(|m| m.powered)
        };
        if on(&self.lock()) {
            act();
        }
    }

    /// Units that wait until another has done with this machine.
    pub fn waiting_for(&self, machine: u32) -> Vec<UnitName> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.iter().filter(|(_, on)| **on == machine).map(|(unit, _)| unit.clone()).collect()
    }

    pub fn unit_lives(&self, unit: &UnitName) -> bool {
        let world = self.lock();
        !world.stopping && world.state.units.contains_key(unit)
    }

    pub fn enqueue_exec(&self, unit: &UnitName, request: ExecRequest) {
        self.lock().execs.entry(unit.clone()).or_default().push_back(request);
        self.wake();
    }

    pub fn hook_has_failed(&self, unit: &UnitName) {
        let mut world = self.lock();
        world.state.faults.hook_has_failed(unit);
        self.save(&world);
    }

    /// Kills what runs for a unit, each with everything in its process group.
    pub fn kill_running(&self, unit: &UnitName) {
        self.kill(|_, running| running.unit == *unit);
    }

    /// Kills what runs in a context.
    pub fn kill_context(&self, id: &str) {
        self.kill(|context, _| context == id);
    }

    /// Kills a running action.
    pub fn kill_task(&self, id: u32) {
        self.kill(|_, running| running.task == Some(id));
    }

    fn kill(&self, which: impl Fn(&str, &Running) -> bool) {
        for (_, running) in self.running().iter().filter(|(context, running)| which(context, running)) {
            if let Some(pid) = i32::try_from(running.pid).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            }
        }
    }

    /// Boots a machine, as a charm has asked for.
    pub fn reboot(&self, machine: u32) {
        if let Err(why) = faults::reboot(self, machine, None) {
            self.log("controller", "ERROR", "juju.machine", &format!("cannot reboot machine {machine}: {why:#}"));
        }
    }

    /// Renews and hands out leadership.
    pub fn leases(&self, world: &mut World) {
        let machines = world.state.machines.clone();
        world.state.leases(self.now(), |_, unit| machines.get(&unit.machine).is_some_and(|m| m.powered && m.created));
    }

    /// Takes up machines and units after a restart: what runs goes on, what should run is started.
    fn adopt(self: &Arc<Self>) {
        left::end_all(&self.dir);
        let machines: Vec<(u32, bool)> =
            self.read(|s| s.machines.iter().map(|(id, m)| (*id, m.powered && m.created)).collect());
        for (id, powered) in machines {
            if powered && !self.machines.is_up(id) {
                let started = self.machines.power_on(id);
                self.change(|state| {
                    if let Some(machine) = state.machines.get_mut(&id) {
                        machine.powered = started.is_ok();
                        machine.boot += 1;
                    }
                });
                faults::after_boot(self, id);
            }
        }
        // The host may have booted, and has no table of ours then.
        let cuts = self.read(State::blocked_paths);
        if !cuts.is_empty() {
            if let Err(why) = self.machines.block(&cuts) {
                self.log("controller", "ERROR", "juju.machine", &format!("{why:#}"));
            }
        }
        self.change(|state| state.end_lost_tasks(self.now()));
        if self.stopped {
            return;
        }
        self.change(State::agents_restarted);
        kept::sweep(self);
        watch::make_missing(self);
        let made = |state: &State, machine: u32| state.machines.get(&machine).is_some_and(|m| m.created);
        let units: Vec<UnitName> =
            self.read(|s| s.units.iter().filter(|(_, u)| made(s, u.machine)).map(|(name, _)| name.clone()).collect());
        for unit in units {
            self.start_agent(&unit);
        }
    }

    /// Starts a unit's agent and its socket; idempotent.
    pub fn start_agent(self: &Arc<Self>, unit: &UnitName) {
        let machine = {
            let mut world = self.lock();
            let Some(machine) = world.state.units.get(unit).map(|u| u.machine) else {
                return;
            };
            if !world.agents.insert(unit.clone()) {
                return;
            }
            machine
        };
        let socket = self.machines.run_dir(machine).join(format!("{}.socket", unit.tag()));
        if let Err(why) = crate::jujuc::server::listen(self, unit, &socket) {
            self.log(
                &unit.tag(),
                "ERROR",
                "juju.worker.uniter",
                &format!("cannot listen on {}: {why}", socket.display()),
            );
        }
        let (controller, unit) = (Arc::clone(self), unit.clone());
        std::thread::spawn(move || agent::run(&controller, &unit));
    }

    pub fn unit_gone(&self, unit: &UnitName) {
        self.lock().agents.remove(unit);
    }

    /// Makes the machine of a unit, where it is not made, and starts the unit's agent.
    ///
    /// # Errors
    /// When the machine cannot be made.
    pub fn provision(self: &Arc<Self>, unit: &UnitName, progress: &dyn Fn(&str)) -> anyhow::Result<()> {
        let (id, made) = self.read(|state| {
            let id = state.unit(unit)?.machine;
            Ok::<_, crate::model::ModelError>((id, state.machines.get(&id).is_some_and(|m| m.created)))
        })?;
        if !made {
            let mounts: Vec<Mount> = self.read(|state| {
                state
                    .storage
                    .iter()
                    .filter(|(_, s)| s.unit.as_ref() == Some(unit) && s.machine == Some(id))
                    .map(|(id, s)| Mount { id: id.clone(), location: s.location.clone(), size: s.size.clone() })
                    .collect()
            });
            self.make_machine(id, &mounts, progress)?;
        }
        disks::settle(self);
        self.agent_may_start(unit);
        Ok(())
    }

    /// Starts the agent of a unit whose machine is there.
    fn agent_may_start(self: &Arc<Self>, unit: &UnitName) {
        self.change(|state| {
            if let Some(unit) = state.units.get_mut(unit).filter(|u| u.workload.message == "waiting for machine") {
                "agent initialising".clone_into(&mut unit.workload.message);
            }
        });
        self.save(&self.lock());
        self.start_agent(unit);
    }

    /// Puts the hook tools of this agent version on a machine: links to one copy of this program.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn install_tools(&self, machine: u32, unit: &UnitName) -> anyhow::Result<()> {
        let major = self.read(State::major);
        let root = self.machines.root(machine);
        let shared = root.join("var/lib/juju/tools/machine");
        fs::create_dir_all(&shared)?;
        let program = shared.join("juju-local");
        // Units on one machine may do this at the same time: each under a name of its own, until it is whole.
        let new = shared.join(format!(".{}.new", unit.tag()));
        // The small program stands beside this one; this one can do the same, only slower.
        let this = std::env::current_exe().context("cannot find this program")?;
        let small = this.with_file_name("juju-local-tool");
        let source = if small.exists() { small } else { PathBuf::from("/proc/self/exe") };
        fs::copy(source, &new).context("cannot copy the hook tools' program")?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
        fs::rename(&new, &program)?;
        let dir = tools_dir(&root, unit);
        fs::create_dir_all(&dir)?;
        // One by one: a hook of the unit may be running.
        let tools = crate::jujuc::tools_of(major);
        for entry in fs::read_dir(&dir)?.filter_map(Result::ok) {
            if !tools.iter().any(|tool| entry.file_name() == *tool) {
                fs::remove_file(entry.path())?;
            }
        }
        for tool in tools {
            match std::os::unix::fs::symlink("../machine/juju-local", dir.join(tool)) {
                Err(why) if why.kind() != std::io::ErrorKind::AlreadyExists => return Err(why.into()),
                Ok(()) | Err(_) => {}
            }
        }
        let outside = if major < 3 { "juju-run" } else { "juju-exec" };
        let _ = fs::remove_file(&new);
        std::os::unix::fs::symlink("/var/lib/juju/tools/machine/juju-local", &new)?;
        fs::rename(&new, root.join("usr/bin").join(outside))?;
        Ok(())
    }
}
