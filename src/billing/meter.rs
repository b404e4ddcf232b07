use hashbrown::HashTable;

use crate::model::{Dimensions, Line, Name};

/// Lines, and the units on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls of `meter()` that were settled.
    pub lines: u64,
    /// What they add up to.
    pub units: u128,
}

impl Tally {
    /// Adds another tally.
    pub(super) fn add(&mut self, other: Self) {
        self.lines = self.lines.saturating_add(other.lines);
        self.units = self.units.saturating_add(other.units);
    }

    /// One line.
    pub(super) fn of(line: &Line) -> Self {
        Self { lines: 1, units: u128::from(line.quantity) }
    }
}

/// All lines of one account, meter, dimensions and minute that are written together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) account: Name,
    pub(super) meter: Name,
    pub(super) dimensions: Dimensions,
    /// Since 1970.
    pub(super) minute: u64,
    /// Unix milliseconds of the latest settlement.
    pub(super) at_ms: u64,
    pub(super) tally: Tally,
}

/// Rows that wait to be written.
#[derive(Default)]
pub(super) struct Fold {
    rows: HashTable<(u64, Row)>,
    hashing: ahash::RandomState,
}

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Folded {
    /// Added to a row that was waiting already.
    Joined,
    /// A row of its own.
    Opened,
    /// Would need a row of its own, and there is no room for one.
    Unplaced(Line),
}

impl Fold {
    /// Adds a line; `room` says whether it may open a row.
    pub(super) fn add(&mut self, account: &Name, at_ms: u64, line: Line, room: bool) -> Folded {
        let minute = at_ms / 60_000;
        let hash = self.hashing.hash_one((&**account, &*line.meter, &line.dimensions, minute));
        let is_same = |(_, row): &(u64, Row)| {
            row.minute == minute && row.account == *account && row.meter == line.meter && row.dimensions == line.dimensions
        };
        let tally = Tally::of(&line);
        if let Some((_, row)) = self.rows.find_mut(hash, is_same) {
            row.tally.add(tally);
            row.at_ms = row.at_ms.max(at_ms);
            return Folded::Joined;
        }
        if !room {
            return Folded::Unplaced(line);
        }
        let row = Row { account: account.clone(), meter: line.meter, dimensions: line.dimensions, minute, at_ms, tally };
        self.rows.insert_unique(hash, (hash, row), |(hash, _)| *hash);
        Folded::Opened
    }

    /// Moves all rows out. The table keeps its size for the next ones, unless it has grown for a rush that is over.
    pub(super) fn drain_into(&mut self, rows: &mut Vec<Row>) {
        let (count, capacity) = (self.rows.len(), self.rows.capacity());
        rows.extend(self.rows.drain().map(|(_, row)| row));
        if capacity > 1024 && count < capacity / 8 {
            self.rows = HashTable::with_capacity(count * 2);
        }
    }

    /// What waits.
    pub(super) fn tally(&self) -> Tally {
        self.rows.iter().fold(Tally::default(), |mut sum, (_, row)| {
            sum.add(row.tally);
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn line(meter: &str, quantity: u64, plan: &str) -> Line {
        let dimensions = Dimensions::new(if plan.is_empty() { vec![] } else { vec![("plan".into(), plan.into())] });
        Line { meter: meter.into(), quantity, dimensions }
    }

    fn rows(fold: &mut Fold) -> Vec<Row> {
        let mut rows = Vec::new();
        fold.drain_into(&mut rows);
        rows
    }

    proptest! {
        #[test]
        fn folding_loses_no_unit_and_no_line(lines in prop::collection::vec(
            ("[ab]", "[xy]", "(free|pro)?", 0..180_000_u64, any::<u64>(), any::<bool>()), 0..200,
        )) {
            let mut fold = Fold::default();
            let mut expected: BTreeMap<_, Tally> = BTreeMap::new();
            let mut found: BTreeMap<_, Tally> = BTreeMap::new();
            for (account, meter, plan, at_ms, quantity, drain) in lines {
                let line = line(&meter, quantity, &plan);
                expected.entry((account.clone(), meter, plan, at_ms / 60_000)).or_default().add(Tally::of(&line));
                fold.add(&account.into(), at_ms, line, true);
                if drain {
                    for row in rows(&mut fold) {
                        let plan = row.dimensions.get("plan").unwrap_or_default().to_owned();
                        let key = (row.account.to_string(), row.meter.to_string(), plan, row.minute);
                        prop_assert_eq!(row.minute, row.at_ms / 60_000);
                        found.entry(key).or_default().add(row.tally);
                    }
                }
            }
            for row in rows(&mut fold) {
                let plan = row.dimensions.get("plan").unwrap_or_default().to_owned();
                found.entry((row.account.to_string(), row.meter.to_string(), plan, row.minute)).or_default().add(row.tally);
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn without_room_only_known_rows_grow() {
        let mut fold = Fold::default();
        let account: Name = "initech".into();
        assert_eq!(fold.add(&account, 0, line("calls", 1, ""), true), Folded::Opened);
        assert_eq!(fold.add(&account, 59_999, line("calls", 2, ""), false), Folded::Joined);
        assert_eq!(fold.add(&account, 60_000, line("calls", 4, ""), false), Folded::Unplaced(line("calls", 4, "")));
        assert_eq!(fold.tally(), Tally { lines: 2, units: 3 });
        assert_eq!(rows(&mut fold).len(), 1);
        assert_eq!(fold.tally(), Tally::default());
    }

    #[test]
    fn a_sum_beyond_64_bits_is_kept() {
        let mut fold = Fold::default();
        let account: Name = "initech".into();
        for _ in 0..3 {
            fold.add(&account, 0, line("bytes", u64::MAX, ""), true);
        }
        assert_eq!(fold.tally(), Tally { lines: 3, units: 3 * u128::from(u64::MAX) });
    }
}
