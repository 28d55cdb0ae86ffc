//! The program under a tool's name: hands its arguments to the agent's socket and prints the answer.
//! No command-line parser, no YAML: a hook makes dozens of these calls.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use super::{Answer, Call, LEADER_TOOLS, LEGACY_TOOLS, NEW_TOOLS, TOOLS};

/// Whether this is a name that we answer to as a tool.
pub fn is_tool(name: &str) -> bool {
    matches!(name, "juju-exec" | "juju-run")
        || [TOOLS, LEADER_TOOLS, LEGACY_TOOLS, NEW_TOOLS].iter().any(|tools| tools.contains(&name))
}

/// Runs as the tool of this name.
pub fn run(name: &str) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = if matches!(name, "juju-exec" | "juju-run") { exec(name, args) } else { tool(name, args) };
    match result {
        Ok(answer) => {
            let _ = std::io::stdout().write_all(answer.stdout.as_bytes());
            let _ = std::io::stderr().write_all(answer.stderr.as_bytes());
            ExitCode::from(u8::try_from(answer.code).unwrap_or(1))
        }
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "ERROR {why}");
            ExitCode::FAILURE
        }
    }
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).ok().filter(|v| !v.is_empty()).ok_or_else(|| format!("{name} not set"))
}

fn tool(name: &str, args: Vec<String>) -> Result<Answer, String> {
    let mut call = Call {
        context: variable("JUJU_CONTEXT_ID")?,
        tool: name.to_owned(),
        args,
        cwd: std::env::current_dir().map(|d| d.display().to_string()).unwrap_or_default(),
        stdin: None,
        unit: None,
    };
    let socket = variable("JUJU_AGENT_SOCKET_ADDRESS")?;
    let answer = ask(&socket, &call)?;
    if !answer.need_stdin {
        return Ok(answer);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|why| format!("cannot read standard input: {why}"))?;
    call.stdin = Some(text);
    ask(&socket, &call)
}

/// What stands behind `juju-exec`.
#[derive(Debug, PartialEq, Eq)]
enum Words {
    Help,
    Wrong(String),
    Run(Option<String>, Vec<String>),
}

/// Options stand before the command; what follows is the command's own.
fn words(args: Vec<String>) -> Result<Words, String> {
    let mut unit = None;
    let mut args = args.into_iter().peekable();
    while let Some(option) = args.next_if(|arg| arg.starts_with('-')) {
        match option.as_str() {
            "-h" | "--help" => return Ok(Words::Help),
            "--" => break,
            "-u" | "--unit" => match args.next() {
                Some(name) => unit = Some(name),
                None => return Ok(Words::Wrong(format!("option needs an argument: {option}"))),
            },
            "-r" | "--relation" | "--remote-unit" | "--no-context" | "--force-remote-unit" | "--operator" => {
                return Err(format!("{option} is not supported by juju-local"));
            }
            _ => return Ok(Words::Wrong(format!("option provided but not defined: {option}"))),
        }
    }
    Ok(Words::Run(unit, args.collect()))
}

/// `mysql/0`, or `unit-mysql-0` as agents call it.
fn is_unit(word: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let name = |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase()) && !text.contains([' ', '/', '.']);
    let of = |parts: Option<(&str, &str)>| parts.is_some_and(|(app, last)| name(app) && number(last));
    of(word.split_once('/')) || of(word.strip_prefix("unit-").and_then(|rest| rest.rsplit_once('-')))
}

/// `juju-exec [-u UNIT | UNIT] COMMANDS`, from outside a hook.
fn exec(name: &str, args: Vec<String>) -> Result<Answer, String> {
    if variable("JUJU_CONTEXT_ID").is_ok() {
        return Err(format!(
            "{name} cannot be called from within a hook, have context {:?}",
            variable("JUJU_CONTEXT_ID")?
        ));
    }
    let (mut unit, rest) = match words(args)? {
        Words::Help => {
            let stdout =
                format!("Usage: {name} [-u UNIT | UNIT] COMMANDS\n\nRuns commands in the context of a unit.\n");
            return Ok(Answer { stdout, ..Answer::default() });
        }
        Words::Wrong(why) => return Ok(Answer { code: 2, stderr: format!("ERROR {why}\n"), ..Answer::default() }),
        Words::Run(unit, rest) => (unit, rest),
    };
    let mut rest = rest.as_slice();
    if let ([first, more @ ..], None) = (rest, &unit) {
        if !more.is_empty() && is_unit(first) {
            (unit, rest) = (Some(first.clone()), more);
        }
    }
    // Without a name, the machine's only unit is meant.
    let sockets: Vec<String> = std::fs::read_dir("/var/lib/juju/run")
        .map_err(|why| format!("cannot find an agent on this machine: {why}"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|file| file.ends_with(".socket"))
        .collect();
    let socket = match (&unit, sockets.as_slice()) {
        (Some(unit), _) => format!("unit-{}.socket", unit.trim_start_matches("unit-").replace('/', "-")),
        (None, [one]) => one.clone(),
        (None, _) => return Err("unit not specified and more than one on this machine; use -u UNIT".to_owned()),
    };
    if rest.is_empty() {
        return Err("missing commands".to_owned());
    }
    let call = Call {
        context: String::new(),
        tool: name.to_owned(),
        args: vec![rest.join(" ")],
        cwd: String::new(),
        stdin: None,
        unit,
    };
    ask(&format!("/var/lib/juju/run/{socket}"), &call)
}

fn ask(socket: &str, call: &Call) -> Result<Answer, String> {
    let mut stream = UnixStream::connect(socket).map_err(|why| format!("dial unix {socket}: {why}"))?;
    let mut line = serde_json::to_string(call).map_err(|why| why.to_string())?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(|why| why.to_string())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(|why| why.to_string())?;
    serde_json::from_str(&answer).map_err(|_| "the agent closed the connection".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[test]
    fn words_of_juju_exec() {
        let check = |line: &str, expected: Expect| {
            expected.assert_eq(&format!("{:?}", words(line.split(' ').map(ToOwned::to_owned).collect())));
        };
        check("-u db/0 ls -l", expect![[r#"Ok(Run(Some("db/0"), ["ls", "-l"]))"#]]);
        check("ls -u x", expect![[r#"Ok(Run(None, ["ls", "-u", "x"]))"#]]);
        check("-- -x", expect![[r#"Ok(Run(None, ["-x"]))"#]]);
        check("-u", expect![[r#"Ok(Wrong("option needs an argument: -u"))"#]]);
        check("--nosuch ls", expect![[r#"Ok(Wrong("option provided but not defined: --nosuch"))"#]]);
        check("-r 0 ls", expect![[r#"Err("-r is not supported by juju-local")"#]]);
        check("--help", expect!["Ok(Help)"]);
        assert!(is_unit("db/0") && is_unit("unit-my-db-0"));
        assert!(!is_unit("/bin/0") && !is_unit("bin/ls") && !is_unit("db") && !is_unit("./x/0"));
    }
}
