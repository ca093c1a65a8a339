//! What was measured, and what it is held against: one readable table, and a line a target.
//!
//! A row has a column for each peer, which holds the median over the rounds; a target is a ratio of two, or a bound on one.

/// All measures and targets of a run, in the order in which they came.
#[derive(Default)]
pub(crate) struct Table {
    cells: Vec<Cell>,
    targets: Vec<Target>,
}

struct Cell {
    row: String,
    peer: &'static str,
    unit: &'static str,
    values: Vec<f64>,
}

struct Target {
    row: String,
    peer: &'static str,
    by: Option<&'static str>,
    bound: Bound,
}

/// On which side the value must lie.
pub(crate) enum Bound {
    /// At least this.
    AtLeast(f64),
}

impl Table {
    /// Adds one value.
    pub(crate) fn add(
        &mut self,
        row: impl Into<String>,
        peer: &'static str,
        unit: &'static str,
        value: f64,
    ) {
        let row = row.into();
        match self
            .cells
            .iter_mut()
            .find(|cell| cell.row == row && cell.peer == peer)
        {
            Some(cell) => cell.values.push(value),
            None => self.cells.push(Cell {
                row,
                peer,
                unit,
                values: vec![value],
            }),
        }
    }

    /// Adds a target for `peer`, divided by another when one is named.
    pub(crate) fn target(
        &mut self,
        row: impl Into<String>,
        peer: &'static str,
        by: Option<&'static str>,
        bound: Bound,
    ) {
        self.targets.push(Target {
            row: row.into(),
            peer,
            by,
            bound,
        });
    }

    fn value(&self, row: &str, peer: &str) -> Option<f64> {
        let cell = self
            .cells
            .iter()
            .find(|cell| cell.row == row && cell.peer == peer)?;
        Some(median(&cell.values))
    }

    /// The table, then what was met and what was missed.
    pub(crate) fn print(&self) {
        let mut rows: Vec<(&str, &str)> = Vec::new();
        let mut peers: Vec<&str> = Vec::new();
        for cell in &self.cells {
            if !rows.iter().any(|(row, _)| *row == cell.row) {
                rows.push((&cell.row, cell.unit));
            }
            if !peers.contains(&cell.peer) {
                peers.push(cell.peer);
            }
        }
        let width = rows.iter().map(|(row, _)| row.len()).max().unwrap_or(0);
        let head: String = peers.iter().map(|peer| format!(" {peer:>11}")).collect();
        println!("\n{:<width$} {:<12}{head}", "montecarlo", "unit");
        for (row, unit) in rows {
            let cells: String = peers
                .iter()
                .map(|peer| format!(" {:>11}", self.value(row, peer).map_or("-".into(), number)))
                .collect();
            println!("{row:<width$} {unit:<12}{cells}");
        }
        println!();
        for target in &self.targets {
            self.print_target(target);
        }
    }

    fn print_target(&self, target: &Target) {
        let own = self.value(&target.row, target.peer).unwrap_or(f64::NAN);
        let value = target.by.map_or(own, |by| {
            own / self.value(&target.row, by).unwrap_or(f64::NAN)
        });
        let Bound::AtLeast(least) = target.bound;
        let met = if value >= least { "met   " } else { "MISSED" };
        let by = target.by.map_or(String::new(), |by| format!(" / {by}"));
        println!(
            "{met} {}: {}{by} = {}, target at least {least}",
            target.row,
            target.peer,
            number(value)
        );
    }
}

/// The middle value; of an even number, the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.get(sorted.len() / 2), sorted.len() % 2) {
        (Some(upper), 0) => f64::midpoint(
            *upper,
            sorted.get(sorted.len() / 2 - 1).copied().unwrap_or(*upper),
        ),
        (Some(middle), _) => *middle,
        (None, _) => f64::NAN,
    }
}

/// Three significant digits or so.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 || (size < 1e-2 && size > 0.0) => format!("{value:.1e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
