//! How the branches of a history hang together. Each restart by force begins one behind some position of an earlier one; a
//! copy that follows it and has received nothing of it yet is still a copy of the earlier one.

use std::collections::BTreeMap;

use super::identity::Epoch;

/// Where branches begin: behind which position of which other branch.
pub type Begins = BTreeMap<Epoch, (Epoch, u64)>;

/// Whether who is part of a primary component on this branch stands in the way of a restart by one whose copy is on `own`:
/// not if a person's decision has left it behind already. Its group has another name, and `own` holds what went on. One that
/// cannot say what it serves does.
pub fn stands_in_the_way(serves: Option<Epoch>, own: Epoch) -> bool {
    serves.is_none_or(|branch| branch >= own)
}

/// A copy's place: the branch that it has really something of, and its sequence number there. Orders copies by what a
/// restart by force may count on: the newest branch first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The branch.
    pub branch: Epoch,
    /// The sequence number of the last write.
    pub seqno: u64,
}

impl Place {
    /// The place of a copy that stands at this number and goes by this branch.
    pub(super) fn of(begins: &Begins, branch: Epoch, seqno: u64) -> Self {
        let mut on = branch;
        while let Some((from, behind)) = begins.get(&on) {
            if seqno > *behind || *from >= on {
                break;
            }
            on = *from;
        }
        Self { branch: on, seqno }
    }

    /// Whether a copy that stands there has everything that one has which stands here.
    pub(super) fn is_part_of(self, begins: &Begins, mut there: Self) -> bool {
        while there.branch != self.branch {
            match begins.get(&there.branch) {
                Some((from, behind)) if *from < there.branch => there = Self { branch: *from, seqno: *behind },
                Some(_) | None => return false,
            }
        }
        self.seqno <= there.seqno
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2 begins behind 20 of the first branch, 4 behind 30 of 2, 6 behind 40 of the first.
    fn begins() -> Begins {
        [(2, (0, 20)), (4, (2, 30)), (6, (0, 40))]
            .map(|(branch, (from, behind))| (Epoch(branch), (Epoch(from), behind)))
            .into()
    }

    fn place(branch: u32, seqno: u64) -> Place {
        Place::of(&begins(), Epoch(branch), seqno)
    }

    #[test]
    fn a_copy_that_has_received_nothing_of_its_branch_is_one_of_an_earlier() {
        assert_eq!(place(4, 31), Place { branch: Epoch(4), seqno: 31 });
        assert_eq!(place(4, 30), Place { branch: Epoch(2), seqno: 30 });
        assert_eq!(place(4, 20), Place { branch: Epoch(0), seqno: 20 });
        assert_eq!(place(6, 39), Place { branch: Epoch(0), seqno: 39 });
        assert!(place(0, 40) > place(6, 39) && place(2, 21) > place(0, 40));
    }

    #[test]
    fn only_who_was_left_behind_is_not_in_the_way() {
        let in_the_way = |serves: Option<u32>, own| stands_in_the_way(serves.map(Epoch), Epoch(own));
        assert!(in_the_way(Some(0), 0) && in_the_way(Some(4), 2) && in_the_way(None, 4));
        assert!(!in_the_way(Some(0), 2));
    }

    #[test]
    fn a_copy_is_part_of_another_where_the_other_came_by() {
        let part = |a: Place, b: Place| a.is_part_of(&begins(), b);
        assert!(
            part(place(0, 20), place(4, 31)) && part(place(2, 30), place(4, 31)) && part(place(0, 40), place(6, 41))
        );
        assert!(!part(place(0, 21), place(4, 31)), "4 comes by 2, and 2 left the first branch behind 20");
        assert!(!part(place(2, 25), place(6, 50)) && !part(place(4, 31), place(2, 99)));
        let unknown = Place { branch: Epoch(9), seqno: 1 };
        assert!(!part(unknown, place(6, 50)) && !part(place(0, 1), unknown) && part(unknown, unknown));
    }
}
