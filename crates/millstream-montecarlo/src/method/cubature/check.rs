//! The test of what a cubature claims: random points, spread evenly, against what the rule's points say of their regions.
//!
//! What the rule does not explain has to fit into its bound. Where it does not, what was found becomes the error of its
//! region, with the point, so that halving follows the point until a rule sees the feature itself. On an infinite axis the
//! unit cube leaves next to nothing to places far out, so these are looked at by order of magnitude as well.

use super::leaf::Seen;
use super::{Cubature, Test, at, set};
use crate::partial::{CheckSum, Partial, Sums};
use crate::tile::rule_points;
use crate::wave::{Check, Region, Work};
use crate::{BLOCK, Error};

/// Orders of magnitude, each half as far from the infinite end as the one before: 2^20 is a million.
const SHELLS: u32 = 20;
/// Shells share this part of the points that the whole cube gets.
const SHELLS_SHARE: f64 = 0.5;

/// What random points in one part of a region say together.
struct Group {
    part: Region,
    points: u64,
    off: Vec<f64>,
    /// The point with the most, and how much.
    worst: Option<Vec<f64>>,
}

impl Cubature {
    /// A test of the present value with about `points` random points; none when that is more than `left` samples.
    pub(crate) fn check(&self, points: u64, left: u64) -> Option<Work> {
        let mut checks = Vec::new();
        for leaf in &self.leaves {
            let share = (points as f64 * volume(&leaf.region)).ceil() as u64;
            add(&mut checks, (&leaf.region, &leaf.region), share.max(1));
            for (axis, ends) in self.infinite.iter().enumerate() {
                for shell in shells(&leaf.region, axis, *ends) {
                    // Every shell counts alike, however small a part of the unit cube it is.
                    let across = volume(&shell) / (at(&shell.upper, axis) - at(&shell.lower, axis));
                    let share = points as f64 * SHELLS_SHARE / f64::from(SHELLS) * across;
                    add(&mut checks, (&leaf.region, &shell), share as u64);
                }
            }
        }
        let rule = checks.len() as u64 * rule_points(self.infinite.len());
        let all: u64 = checks.iter().map(|check| u64::from(check.points)).sum();
        (!checks.is_empty() && rule + all <= left).then_some(Work::Checks { checks })
    }

    /// Takes a test in.
    pub(super) fn judge(&mut self, checks: &[Check], whole: &Partial) -> Result<(), Error> {
        let groups = match &whole.sums {
            Sums::Checks(sums) if sums.len() == checks.len() => groups(checks, sums),
            _ => return Err(Error::Mismatch),
        };
        let estimate = self.estimate();
        let mut groups = groups.into_iter().peekable();
        let mut found = Vec::new();
        let mut missed = vec![0.0; estimate.values.len()];
        for (number, leaf) in self.leaves.iter().enumerate() {
            let mut seen = Seen::nothing(missed.len());
            while let Some(group) = groups.next_if(|group| leaf.holds(&group.part)) {
                let weight = volume(&group.part) / group.points as f64;
                seen.take(group.worst, &group.off, weight);
            }
            if !seen.point.is_empty() {
                missed
                    .iter_mut()
                    .zip(&seen.off)
                    .for_each(|(all, one)| *all += one);
                found.push((number, seen));
            }
        }
        let fits = |(o, missed): (usize, &f64)| *missed <= estimate.half_width(o);
        if missed.iter().enumerate().all(fits) {
            self.test = Test::Passed;
            self.missed = None;
            return Ok(());
        }
        self.test = Test::Failed;
        let Sums::Checks(sums) = &whole.sums else {
            return Err(Error::Mismatch);
        };
        let count = sums.iter().map(|sum| u64::from(sum.unexplained)).sum();
        self.missed = found.first().map(|(_, seen)| (count, seen.point.clone()));
        for (number, seen) in found {
            if let Some(leaf) = self.leaves.get_mut(number) {
                leaf.note(seen);
            }
        }
        self.choose();
        Ok(())
    }

    /// Whether random points have confirmed the present value.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.test == Test::Passed
    }

    /// Whether the present value waits for its test.
    pub(crate) fn is_untested(&self) -> bool {
        self.test == Test::Open
    }

    /// Of the last test, when it failed: how many points the rule does not explain, and one of them, in the unit cube.
    pub(crate) const fn missed(&self) -> Option<&(u64, Vec<f64>)> {
        self.missed.as_ref()
    }
}

/// `points` in `part` of `region`, in as many checks as that takes.
fn add(checks: &mut Vec<Check>, (region, part): (&Region, &Region), points: u64) {
    let mut open = points;
    while open > 0 {
        let some = open.min(BLOCK as u64);
        checks.push(Check {
            region: region.clone(),
            part: part.clone(),
            points: some as u16,
        });
        open -= some;
    }
}

/// Neighbouring checks of one part as one.
fn groups(checks: &[Check], sums: &[CheckSum]) -> Vec<Group> {
    let mut groups: Vec<(Group, f64)> = Vec::new();
    for (check, sum) in checks.iter().zip(sums) {
        let here: f64 = sum.off.iter().sum();
        match groups.last_mut() {
            Some((group, most)) if group.part == check.part => {
                group.points += u64::from(check.points);
                group
                    .off
                    .iter_mut()
                    .zip(&sum.off)
                    .for_each(|(all, one)| *all += one);
                if here > *most {
                    *most = here;
                    group.worst.clone_from(&sum.worst);
                }
            }
            _ => {
                let group = Group {
                    part: check.part.clone(),
                    points: u64::from(check.points),
                    off: sum.off.clone(),
                    worst: sum.worst.clone(),
                };
                groups.push((group, here));
            }
        }
    }
    groups.into_iter().map(|(group, _)| group).collect()
}

/// The parts of `region` towards the infinite ends of `axis`, one for each order of magnitude that it has a part of.
fn shells(region: &Region, axis: usize, ends: [bool; 2]) -> Vec<Region> {
    let (low, high) = (at(&region.lower, axis), at(&region.upper, axis));
    let mut shells = Vec::new();
    let mut add = |from: f64, to: f64| {
        let (from, to) = (from.max(low), to.min(high));
        if from < to {
            let mut shell = region.clone();
            set(&mut shell.lower, axis, from);
            set(&mut shell.upper, axis, to);
            shells.push(shell);
        }
    };
    for shell in 0..SHELLS {
        let (near, far) = (0.5 * half_to(shell), 0.5 * half_to(shell + 1));
        if ends[0] {
            add(far, near);
        }
        if ends[1] {
            add(1.0 - near, 1.0 - far);
        }
    }
    shells
}

/// One half to the power of `exponent`.
fn half_to(exponent: u32) -> f64 {
    1.0 / f64::from(1_u32 << exponent)
}

fn volume(region: &Region) -> f64 {
    let sides = region.lower.iter().zip(&region.upper);
    sides.map(|(lower, upper)| upper - lower).product()
}
