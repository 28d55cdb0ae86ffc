//! `docs/cluster-states.md` against the code: a row for each state, with the very text that its status shows and with what
//! a person may do. `UPDATE_EXPECT=1 cargo test --test cluster_states` writes the texts anew, to be read as a diff.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "reads and writes a document of the source tree")]

use std::collections::BTreeMap;

use mariadb_galera::cluster::{BadSetting, ClusterUuid, Epoch, State, Unit};

const DOCUMENT: &str = "docs/cluster-states.md";
const HEAD: &str = "| state | by which facts | what the unit does | what its status says | what a person may do |";

fn unit(number: u32) -> Unit {
    format!("db/{number}").parse().unwrap()
}

fn history(digit: char) -> ClusterUuid {
    let eight = |n| std::iter::repeat_n(digit, n).collect::<String>();
    format!("{}-{}-{}-{}-{}", eight(8), eight(4), eight(4), eight(4), eight(12)).parse().unwrap()
}

/// One of each, as an operator may see it.
fn samples() -> Vec<State> {
    vec![
        State::NoVolume("nothing is mounted at /var/lib/mysql".to_owned()),
        State::Installing("packages".to_owned()),
        State::ForeignVolume("it holds data and no journal".to_owned()),
        State::Misconfigured(vec![BadSetting {
            option: "min-cluster-size".to_owned(),
            problem: "\"many\" is not auto or a whole number from 1".to_owned(),
        }]),
        State::NoPeerRelation,
        State::Electing { present: 2, needed: 3, missing: vec![unit(2)] },
        State::WaitingForLeader { present: 3 },
        State::DataBeforeFormation { unit: unit(1), what: format!("history {}", history('1')) },
        State::NoCredentials("the leader has not made them yet".to_owned()),
        State::FormationRefused("db/0 is named as the founder, and db/1 has the lower address".to_owned()),
        State::Founding,
        State::FoundingInterrupted(Epoch(1)),
        State::WaitingForFounder(unit(0)),
        State::NoMemberLeft(history('1')),
        State::Joining,
        State::CatchingUp,
        State::Synced {
            size: 2,
            planned: 3,
            missing: vec![unit(2)],
            aside: vec!["/var/lib/mysql/data.aside-4".to_owned()],
        },
        State::Donor { size: 3 },
        State::NonPrimary { size: 1, missing: vec![unit(1), unit(2)], stalled: true },
        State::Disconnected,
        State::Starting { missing: vec![unit(1)] },
        State::AnsweringCall { missing: vec![unit(1)], forced: false },
        State::Restoring { by: unit(0), missing: vec![unit(1)], chosen: false },
        State::Recovering,
        State::WaitingForRecovery(Some(unit(0))),
        State::MembersGone { missing: vec!["db/1".to_owned()], seqno: 682 },
        State::NoUsableCopy,
        State::TwoHistories { unit: unit(1), here: history('2'), expected: history('1') },
        State::LeftBehind { branch: Epoch(4), restored: false, serves: true, others: vec![unit(0)] },
        State::WrongHistory { here: history('2').to_string(), expected: history('1') },
        State::Silent("no answer within 3 s".to_owned()),
        State::Leaving,
    ]
}

#[test]
fn each_state_has_a_row_with_the_words_of_its_status() {
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let samples: BTreeMap<&str, String> =
        samples().iter().map(|state| (state.word(), state.status().to_string())).collect();
    let (before, table) = document.split_once(HEAD).unwrap();
    let (table, after) = table.split_once("\n\n").unwrap();
    let mut rows: Vec<Vec<&str>> =
        table.lines().skip(2).map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect();

    let words: Vec<String> = rows.iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    let in_document: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut sorted = in_document.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, samples.keys().copied().collect::<Vec<_>>(), "{DOCUMENT} and src/cluster/state.rs");
    // The compiler sees to it that `word` names every state, and these lines that each of them is a sample.
    let code = std::fs::read_to_string("src/cluster/state.rs").unwrap();
    let names = code.split_once("fn word(").unwrap().1.split("\n    }\n").next().unwrap();
    let in_code: Vec<&str> = names.lines().filter_map(|line| line.split('"').nth(1)).collect();
    assert_eq!(in_code, in_document, "the order of src/cluster/state.rs");

    for (row, word) in rows.iter_mut().zip(&words) {
        assert_eq!(row.len(), 5, "{word}");
        assert!(row.iter().all(|cell| !cell.is_empty()), "{word} leaves a cell empty");
        row[3] = samples[word.as_str()].as_str();
    }
    let rows: String = rows.iter().map(|row| format!("\n| {} |", row.join(" | "))).collect();
    let wanted = format!("{before}{HEAD}\n|---|---|---|---|---|{rows}\n\n{after}");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(DOCUMENT, &wanted).unwrap();
    } else {
        assert!(wanted == document, "{DOCUMENT} quotes another status: UPDATE_EXPECT=1 writes it anew");
    }
}
