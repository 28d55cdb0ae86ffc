//! What `file` promises, tried on a real filesystem.

use super::*;

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn absent_is_not_an_error_and_a_directory_is() {
    let directory = directory();
    assert_eq!(read_to_string_opt(directory.path().join("none")).unwrap(), None);
    assert_eq!(list_opt(directory.path().join("none")).unwrap(), None);
    assert!(!remove_opt(directory.path().join("none")).unwrap());
    let error = read_to_string_opt(directory.path()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read {}", directory.path().display()));
}

#[test]
fn writing_the_same_again_touches_nothing() {
    let directory = directory();
    let path = directory.path().join("a.cnf");
    let write = |text: &str, mode| write_atomic(&path, text.as_bytes(), &Mode::new(mode)).unwrap();
    assert!(write("one", 0o640));
    let inode = fs::metadata(&path).unwrap().ino();
    assert!(!write("one", 0o640));
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    assert!(write("one", 0o600), "another mode is a change");
    assert_eq!(mode_of(&path), 0o600);
    assert!(write("two", 0o600));
    assert_eq!(list_opt(directory.path()).unwrap().unwrap(), ["a.cnf"]);
}

#[test]
fn owners_are_set_by_name() {
    let directory = directory();
    let path = directory.path().join("owned");
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if user != 0 {
        eprintln!("skipped: giving files away needs root");
        return;
    }
    assert!(write_atomic(&path, b"x", &Mode::owned(0o640, "daemon", "adm")).unwrap());
    assert!(!write_atomic(&path, b"x", &Mode::owned(0o640, "daemon", "adm")).unwrap());
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.uid(), found.gid()), (user_id("daemon").unwrap(), group_id("adm").unwrap()));
    assert!(write_atomic(&path, b"x", &Mode::new(0o640)).unwrap());
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.uid(), found.gid()), (user, group));
    let error = write_atomic(&path, b"y", &Mode::owned(0o640, "nobody-of-that-name", "adm")).unwrap_err();
    assert_eq!(error.to_string(), "cannot find the user nobody-of-that-name on this machine");
    assert_eq!(read_to_string(&path).unwrap(), "x");
}

#[test]
fn readers_never_see_half_a_file() {
    let directory = directory();
    let path = directory.path().join("big");
    let versions = [vec![b'a'; 300_000], vec![b'b'; 200_000]];
    write_atomic(&path, &versions[0], &Mode::new(0o644)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for round in 0..40 {
                    write_atomic(&path, &versions[round % 2], &Mode::new(0o644)).unwrap();
                }
            });
        }
        for _ in 0..200 {
            let seen = fs::read(&path).unwrap();
            assert!(versions.contains(&seen), "{} bytes", seen.len());
        }
    });
}

#[test]
fn what_a_killed_writer_left_is_removed_and_what_a_living_one_holds_is_not() {
    let directory = directory();
    let dead = {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    };
    // Process 1 always lives.
    for name in [format!(".a.{dead}-0.new"), ".a.1-0.new".to_owned(), ".ab.1.new".to_owned()] {
        fs::write(directory.path().join(name), "half").unwrap();
    }
    write_atomic(directory.path().join("a"), b"whole", &Mode::new(0o600)).unwrap();
    assert_eq!(list_opt(directory.path()).unwrap().unwrap(), [".a.1-0.new", ".ab.1.new", "a"]);
}

#[test]
fn a_failed_write_leaves_the_old_file_and_no_litter() {
    let directory = directory();
    let path = directory.path().join("a");
    fs::write(&path, "old").unwrap();
    let (uid, gid) = Mode::new(0o600).ids().unwrap();
    let error = replace(&path, 0o600, uid, gid, |_| Err(io::ErrorKind::StorageFull.into())).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot write {}", path.display()));
    assert_eq!(read_to_string(&path).unwrap(), "old");
    assert_eq!(list_opt(directory.path()).unwrap().unwrap(), ["a"]);
}

#[test]
fn a_link_is_replaced_and_not_written_through() {
    let directory = directory();
    let (path, target) = (directory.path().join("a"), directory.path().join("target"));
    fs::write(&target, "x").unwrap();
    assert!(symlink_atomic(&target, &path).unwrap());
    assert!(!symlink_atomic(&target, &path).unwrap());
    assert_eq!(read_link_opt(&path).unwrap(), Some(target.clone()));
    assert_eq!(read_link_opt(&target).unwrap(), None);
    assert!(write_atomic(&path, b"new", &Mode::new(0o644)).unwrap());
    assert_eq!(read_to_string(&target).unwrap(), "x");
    assert!(symlink_atomic("elsewhere", &path).unwrap());
    assert!(exists(&path).unwrap(), "a link that leads nowhere is still there");
}

#[test]
fn a_running_program_can_be_replaced() {
    let directory = directory();
    let program = directory.path().join("program");
    assert!(copy_atomic("/bin/sleep", &program, &Mode::new(0o755)).unwrap());
    let mut running = std::process::Command::new(&program).arg("5").spawn().unwrap();
    assert!(copy_atomic("/bin/true", &program, &Mode::new(0o755)).unwrap());
    assert!(!copy_atomic("/bin/true", &program, &Mode::new(0o755)).unwrap());
    assert!(std::process::Command::new(&program).status().unwrap().success());
    running.kill().unwrap();
    running.wait().unwrap();
}

#[test]
fn directories_are_made_once_and_mended() {
    let directory = directory();
    let path = directory.path().join("a/b");
    assert!(create_dir_all_with(&path, &Mode::new(0o700)).unwrap());
    assert!(!create_dir_all_with(&path, &Mode::new(0o700)).unwrap());
    assert!(create_dir_all_with(&path, &Mode::new(0o750)).unwrap());
    assert_eq!((mode_of(&path), mode_of(path.parent().unwrap())), (0o750, 0o755));
    fs::write(path.join("file"), "").unwrap();
    assert!(create_dir_all_with(path.join("file"), &Mode::new(0o700)).is_err());
}

#[test]
fn one_holder_at_a_time() {
    let directory = directory();
    let path = directory.path().join("lock");
    let held = lock(&path, Duration::ZERO).unwrap();
    assert!(try_lock(&path).unwrap().is_none());
    let error = lock(&path, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, FileError::Locked { .. }), "{error}");
    drop(held);
    assert!(try_lock(&path).unwrap().is_some());
}

#[test]
fn numbers_are_found_by_the_whole_name() {
    let text = "root:x:0:0:root:/root:/bin/sh\nmysqlx:x:7:8::/:\nmysql:x:106:112:MySQL:/nonexistent:/bin/false\n";
    assert_eq!((id_in(text, "mysql"), id_in(text, "sql"), id_in(text, "root")), (Some(106), None, Some(0)));
}
