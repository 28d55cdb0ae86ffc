//! `grastate.dat` and `gvwstate.dat`: what Galera has written down about its data. Read strictly: Galera overwrites the
//! first in place, so a power cut can leave a torn one, and anything odd is "unknown", never position 0.

/// The nil UUID: no history, or data that cannot be used.
pub const NIL: &str = "00000000-0000-0000-0000-000000000000";

/// What a state file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grastate {
    /// The history; `None` for the nil UUID (crash within DDL, cut-off state transfer, inconsistency).
    pub uuid: Option<String>,
    /// The position; `None` for -1: the server runs, or has crashed.
    pub seqno: Option<u64>,
    /// The last view had this node alone. Never proof by itself: a tool may have set it, and an aborted transfer keeps it.
    pub safe_to_bootstrap: bool,
}

/// Reads `grastate.dat`.
///
/// # Errors
/// Says what is odd about it.
pub fn parse(text: &str) -> Result<Grastate, String> {
    if text.trim_matches(['\0', '\n', ' ']).is_empty() {
        return Err("grastate.dat is empty".to_owned());
    }
    if !text.starts_with("# GALERA saved state") {
        return Err("grastate.dat does not begin as one".to_owned());
    }
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
            .ok_or_else(|| format!("grastate.dat has no {name}"))
    };
    let uuid = field("uuid")?;
    if !is_uuid(uuid) {
        return Err(format!("grastate.dat: {uuid:?} is no UUID"));
    }
    let seqno = match field("seqno")? {
        // Unsigned -1, as some versions print it.
        "-1" | "18446744073709551615" => None,
        text => Some(text.parse().map_err(|_| format!("grastate.dat: {text:?} is no sequence number"))?),
    };
    let safe_to_bootstrap = match field("safe_to_bootstrap")? {
        "1" => true,
        "0" => false,
        other => return Err(format!("grastate.dat: safe_to_bootstrap {other:?} is neither 0 nor 1")),
    };
    Ok(Grastate { uuid: (uuid != NIL).then(|| uuid.to_ascii_lowercase()), seqno, safe_to_bootstrap })
}

/// The text of a state file; without a position for a copy that was not stopped cleanly.
pub fn render(uuid: &str, seqno: Option<u64>, safe_to_bootstrap: bool) -> String {
    let seqno = seqno.map_or_else(|| "-1".to_owned(), |seqno| seqno.to_string());
    let safe = u8::from(safe_to_bootstrap);
    format!("# GALERA saved state\nversion: 2.1\nuuid:    {uuid}\nseqno:   {seqno}\nsafe_to_bootstrap: {safe}\n")
}

/// Whether a saved view can be used; an empty or cut-off one stops the server's start altogether.
pub fn is_saved_view(text: &str) -> bool {
    text.contains("my_uuid:") && text.contains("#vwbeg") && text.contains("#vwend")
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(i, b)| if [8, 13, 18, 23].contains(&i) { b == b'-' } else { b.is_ascii_hexdigit() })
}

/// The position in the server's log of a recovery run: `WSREP: Recovered position: UUID:SEQNO[,GTID...]`. A run can end
/// well without one (wsrep off), so its exit code proves nothing.
pub fn recovered_position(log: &str) -> Option<(String, Option<u64>)> {
    let line = log.lines().rev().find(|line| line.contains("WSREP: Recovered position:"))?;
    let value = line.split("WSREP: Recovered position:").nth(1)?.trim();
    let value = value.split([',', ' ']).next()?;
    let (uuid, seqno) = value.rsplit_once(':')?;
    if !is_uuid(uuid) {
        return None;
    }
    Some((uuid.to_ascii_lowercase(), seqno.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uuid: &str, seqno: &str, safe: &str) -> String {
        let text = format!(
            "# GALERA saved state\nversion: 2.1\nuuid:    {uuid}\nseqno:   {seqno}\nsafe_to_bootstrap: {safe}\n"
        );
        match parse(&text) {
            Ok(state) => format!("{:?} {:?} {}", state.uuid.is_some(), state.seqno, state.safe_to_bootstrap),
            Err(why) => why,
        }
    }

    const UUID: &str = "6a1f0d52-8f2e-11ee-b9d1-0242ac120002";

    #[test]
    fn each_situation_reads_as_what_it_proves() {
        assert_eq!(check(UUID, "17", "1"), "true Some(17) true");
        assert_eq!(check(UUID, "-1", "0"), "true None false");
        assert_eq!(check(UUID, "18446744073709551615", "0"), "true None false");
        assert_eq!(check(NIL, "-1", "1"), "false None true");
        assert_eq!(check("6a1f", "1", "0"), "grastate.dat: \"6a1f\" is no UUID");
        assert_eq!(check(UUID, "x", "0"), "grastate.dat: \"x\" is no sequence number");
        assert_eq!(parse("").unwrap_err(), "grastate.dat is empty");
        assert_eq!(parse("\0\0\0").unwrap_err(), "grastate.dat is empty");
        assert_eq!(
            parse("# GALERA saved state\nversion: 2.1\nuuid:    6a").unwrap_err(),
            "grastate.dat: \"6a\" is no UUID"
        );
    }

    #[test]
    fn what_we_write_we_can_read() {
        let state = parse(&render(UUID, None, true)).unwrap();
        assert_eq!(state, Grastate { uuid: Some(UUID.to_owned()), seqno: None, safe_to_bootstrap: true });
    }

    #[test]
    fn recovered_positions() {
        let log = format!("2026-01-01 1:02:03 0 [Note] WSREP: Recovered position: {UUID}:1234,1-1-77\n");
        assert_eq!(recovered_position(&log), Some((UUID.to_owned(), Some(1234))));
        assert_eq!(recovered_position(&format!("WSREP: Recovered position: {NIL}:-1")), Some((NIL.to_owned(), None)));
        assert_eq!(recovered_position("WSREP: disabled, skipping position recovery"), None);
    }
}
