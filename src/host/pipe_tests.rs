//! Programs in a row: what goes through them, who is blamed, who is ended.

use super::*;

fn shell(script: &str) -> Command {
    Command::new("sh").args(["-c", script])
}

fn read(row: Row) -> Result<String, String> {
    let mut outflow = row.reading().map_err(|why| why.to_string())?;
    let mut text = String::new();
    outflow.read_to_string(&mut text).unwrap();
    outflow.finish().map(|()| text).map_err(|why| why.to_string())
}

#[test]
fn what_one_writes_the_next_reads() {
    assert_eq!(read(Row::of(shell("echo one two")).then(shell("tr a-z A-Z"))).unwrap(), "ONE TWO\n");
    let mut inflow = Row::of(shell("cat")).then(shell("read x; test \"$x\" = hello")).writing().unwrap();
    inflow.write_all(b"hello\n").unwrap();
    inflow.finish().unwrap();
    Row::of(shell("exit 0")).alone().unwrap().finish().unwrap();
    let (mut feed, mut outflow) = Row::of(shell("tr a-z A-Z")).then(Command::new("cat")).through().unwrap();
    feed.write_all(b"there and back").unwrap();
    drop(feed);
    let mut text = String::new();
    outflow.read_to_string(&mut text).unwrap();
    outflow.finish().unwrap();
    assert_eq!(text, "THERE AND BACK");
}

#[test]
fn the_first_that_failed_is_the_cause() {
    let upstream = Row::of(shell("echo half; echo no disk >&2; exit 3")).then(shell("cat; echo too short >&2; exit 1"));
    let why = read(upstream).unwrap_err();
    assert!(why.ends_with("it ended with exit code 3: no disk"), "{why}");
    let downstream = Row::of(Command::new("yes")).then(shell("head -c 100000 >/dev/null; echo no key >&2; exit 4"));
    let why = read(downstream.then(Command::new("cat"))).unwrap_err();
    assert!(why.ends_with("it ended with exit code 4: no key"), "{why}");
    let why = read(Row::of(Command::new("yes")).then(Command::new("no-such-program"))).unwrap_err();
    assert!(why.contains("cannot run no-such-program"), "{why}");
}

#[test]
fn who_writes_to_a_program_that_has_gone_hears_why() {
    let mut inflow = Row::of(shell("echo wrong key >&2; exit 1")).then(Command::new("cat")).writing().unwrap();
    let much = vec![0; 4 << 20];
    assert_eq!(inflow.write_all(&much).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert!(inflow.finish().unwrap_err().to_string().ends_with("wrong key"));
}

#[test]
fn a_tap_reads_some_and_hands_on_the_rest() {
    let (told, heard) = std::sync::mpsc::channel();
    let row = Row::of(shell("printf headbody; head -c 3000000 /dev/zero")).tapped(move |tap| {
        let mut head = [0; 4];
        tap.read_exact(&mut head)?;
        tap.write_all(&head.map(|letter| letter.to_ascii_uppercase()))?;
        let rest = tap.pass(u64::MAX)?;
        told.send(rest).map_err(io::Error::other)
    });
    assert_eq!(read(row.then(shell("head -c 8; cat | wc -c"))).unwrap().trim(), "HEADbody3000000");
    assert_eq!(heard.recv().unwrap(), 3_000_004);
    let row = Row::of(Command::new("yes")).tapped(|_| Err(io::Error::other("unheard of")));
    let mut why = None;
    if let Err(CommandError::Talk { source, .. }) = row.then(Command::new("cat")).reading().unwrap().finish() {
        why = Some(source.to_string());
    }
    assert_eq!(why.as_deref(), Some("unheard of"));
}

#[test]
fn complaints_are_heard_and_do_not_pile_up() {
    let (told, heard) = std::sync::mpsc::channel();
    let row = Row::of(shell("seq 200000 >&2; exit 1")).told(move |line| told.send(line.len()).unwrap_or_default());
    let why = read(row).unwrap_err();
    assert!(why.ends_with("200000") && why.len() < 3 * COMPLAINT_BYTES, "{}", why.len());
    assert_eq!(heard.iter().count(), 200_000);
}

#[test]
fn dropped_unfinished_they_end() {
    let before = clock::Moment::now();
    let outflow = Row::of(Command::new("yes")).then(shell("sleep 60; cat")).reading().unwrap();
    let end = outflow.end();
    drop(outflow);
    end.now();
    let mut running = Row::of(shell("sleep 60")).alone().unwrap();
    assert!(!running.is_over());
    running.end().now();
    assert!(running.finish().is_err());
    assert!(before.elapsed() < Duration::from_secs(10));
}
