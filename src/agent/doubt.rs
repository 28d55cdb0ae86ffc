//! A server that stood still (SIGSTOP, a paused machine) goes on where it stopped: for some seconds it says that it is
//! Synced in a view that has long gone on without it. Galera finds out after its own timeouts; until then it is not to be
//! believed.

use std::time::Duration;

use crate::cluster::Server;

/// `evs.suspect_timeout`: whoever was away for a shorter time was not given up.
const AWAY: Duration = Duration::from_secs(5);
/// Measured with Galera 26.4.23: 5.3 s from going on to noticing.
const DOUBTED: Duration = Duration::from_secs(8);

/// What is remembered from look to look. Times are since any fixed moment.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// The last answer, as long as the server's process has not ended since.
    answered: Option<Duration>,
    until: Option<Duration>,
}

impl Doubt {
    /// Whether what the server says now is to be doubted.
    pub(super) fn look(&mut self, now: Duration, server: &Server) -> bool {
        match server {
            Server::Answers(_) => {
                if self.answered.is_some_and(|before| now.saturating_sub(before) > AWAY) {
                    self.until = Some(now + DOUBTED);
                }
                self.answered = Some(now);
            }
            Server::Silent(_) => {}
            Server::Starting | Server::Stopped => *self = Self::default(),
        }
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Galera, LocalState};

    #[test]
    fn one_that_was_away_is_doubted_and_one_that_has_started_is_not() {
        let answers = Server::Answers(Galera {
            primary: true,
            connected: true,
            ready: true,
            state: LocalState::Synced,
            uuid: None,
            seqno: None,
            conf_id: None,
            size: 3,
            view: std::collections::BTreeSet::new(),
        });
        let silent = Server::Silent("it stands still".to_owned());
        let tell = |looks: &[(u64, &Server)]| -> Vec<bool> {
            let mut doubt = Doubt::default();
            looks.iter().map(|(second, server)| doubt.look(Duration::from_secs(*second), server)).collect()
        };
        assert_eq!(tell(&[(1, &answers), (2, &silent), (5, &answers)]), [false; 3], "a short one");
        assert_eq!(
            tell(&[(1, &answers), (4, &silent), (30, &answers), (34, &answers), (37, &answers), (38, &answers)]),
            [false, false, true, true, true, false]
        );
        assert_eq!(tell(&[(1, &answers), (30, &answers)]), [false, true], "the whole machine stood still");
        assert_eq!(tell(&[(1, &answers), (3, &silent), (9, &Server::Starting), (30, &answers)]), [false; 4]);
    }
}
