//! The test of what a cubature claims: random points, spread evenly, against what the rule's points say of their regions.
//!
//! What the rule does not explain has to fit into its bound. Where it does not, what was found becomes the error of its
//! region, with the point, so that halving follows the point until a rule sees the feature itself. A rule that saw it may lose
//! it again as regions shrink, so every point found is remembered: before a later claim is tested with new points, the
//! remembered ones must be explained. On an infinite axis the unit cube leaves next to nothing to places far out, so these are
//! looked at by order of magnitude as well.

use serde::{Deserialize, Serialize};

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

/// The share of a side between the outermost points of a rule and the face: (1 - 0.949) / 2 in two dimensions and more, and less in one.
const BEYOND_THE_RULE: f64 = 0.0256;
/// Points next to a face are drawn from this part of that.
const RIM: f64 = 0.0625;
/// Points next to each face.
const ON_A_RIM: u64 = 2;
/// While no test has failed, points next to faces may cost so many times what the evenly spread ones cost.
const RIMS_COST: u64 = 2;
/// Points remembered at most: those that stand for most.
const MEMORY: usize = 256;

/// From so many evenly spread points on, a feature is no longer rare: the samples of every method see it.
const RARE: u64 = 64;
/// So many of them tell the size of a feature to a quarter (one standard error); a value that moved by half of it, two standard
/// errors less, holds it.
const ENOUGH: u64 = 16;
const MOST_OF_IT: f64 = 0.5;

/// What random points in one part of a region say together.
pub(super) struct Group {
    region: Region,
    part: Region,
    points: u64,
    share: f64,
    pub(super) unexplained: u64,
    pub(super) off: Vec<f64>,
    /// The point with the most, and how much that is.
    pub(super) worst: Option<Vec<f64>>,
    pub(super) height: Vec<f64>,
}

/// What tests found that no rule had seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Missed {
    /// Random points that the rule does not explain.
    pub(crate) points: u64,
    /// Those of them that were spread evenly over the unit cube, out of how many.
    pub(crate) even: (u64, u64),
    /// What the rule alone gave then.
    pub(crate) values: Vec<f64>,
    /// What they stand for, of each output's integral.
    pub(crate) mass: Vec<f64>,
    /// Where they lie, in the unit cube: those that stand for most first.
    pub(crate) places: Vec<Vec<f64>>,
}

impl Missed {
    /// Whether samples of another method may miss it as well.
    pub(crate) const fn is_rare(&self) -> bool {
        self.even.0 < RARE
    }

    /// Whether `values`, another method's, hold what was found: enough points tell how much that is.
    pub(crate) fn is_in(&self, values: &[f64]) -> bool {
        let mut all = values.iter().zip(&self.values).zip(&self.mass);
        self.even.0 >= ENOUGH
            && all.all(|((now, then), mass)| (now - then).abs() >= MOST_OF_IT * mass)
    }
}

/// A point that a rule did not explain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// In the unit cube.
    point: Vec<f64>,
    /// The share of the cube that it stood for.
    share: f64,
    /// What it stood for, all outputs together.
    mass: f64,
}

impl Cubature {
    /// A test of the present value with about `points` random points, or first with the remembered ones; none when that is
    /// more than `left` samples.
    pub(crate) fn check(&self, points: u64, left: u64) -> Option<Work> {
        let checks = if self.test == Test::Open && !self.remembered.is_empty() {
            self.recalled()
        } else {
            self.random(points)
        };
        let rule = checks.len() as u64 * rule_points(self.infinite.len());
        let all: u64 = checks.iter().map(|check| u64::from(check.points)).sum();
        (!checks.is_empty() && rule + all <= left).then_some(Work::Checks { checks })
    }

    /// Every remembered point, on the region in which it lies now.
    fn recalled(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        for leaf in &self.leaves {
            let here = self.remembered.iter().filter(|one| leaf.covers(&one.point));
            for one in here {
                let point = Region {
                    lower: one.point.clone(),
                    upper: one.point.clone(),
                };
                add(&mut checks, (&leaf.region, &point), 1, 0.0);
            }
        }
        checks
    }

    /// About `points` random points, spread evenly, and half as many by order of magnitude.
    fn random(&self, points: u64) -> Vec<Check> {
        let mut checks = Vec::new();
        let faces = 2 * (self.leaves.len() * self.infinite.len()) as u64;
        let block = BLOCK as u64 + rule_points(self.infinite.len());
        let rims = self.unresolved.is_some() || faces * block <= RIMS_COST * points;
        for leaf in &self.leaves {
            let share = (points as f64 * volume(&leaf.region)).ceil() as u64;
            let all = volume(&leaf.region);
            add(&mut checks, (&leaf.region, &leaf.region), share.max(1), all);
            if rims {
                self.add_rims(&mut checks, &leaf.region);
            }
            for (axis, ends) in self.infinite.iter().enumerate() {
                for shell in shells(&leaf.region, axis, *ends) {
                    // Every shell counts alike, however small a part of the unit cube it is.
                    let across = volume(&shell) / (at(&shell.upper, axis) - at(&shell.lower, axis));
                    let share = points as f64 * SHELLS_SHARE / f64::from(SHELLS) * across;
                    let all = volume(&shell);
                    add(&mut checks, (&leaf.region, &shell), share as u64, all);
                }
            }
        }
        checks
    }

    fn add_rims(&self, checks: &mut Vec<Check>, region: &Region) {
        let beyond = volume(region) * BEYOND_THE_RULE;
        for axis in 0..self.infinite.len() {
            for rim in rims(region, axis) {
                add(checks, (region, &rim), ON_A_RIM, beyond);
            }
        }
    }

    /// Takes a test in.
    pub(super) fn judge(&mut self, checks: &[Check], whole: &Partial) -> Result<(), Error> {
        let Sums::Checks(sums) = &whole.sums else {
            return Err(Error::Mismatch);
        };
        if sums.len() != checks.len() {
            return Err(Error::Mismatch);
        }
        let recalled = checks.iter().all(is_recalled);
        let found = self.found(groups(checks, sums));
        let mut mass = vec![0.0; self.sums().0.len()];
        for (_, seen) in &found {
            let all = mass.iter_mut().zip(&seen.off);
            all.for_each(|(all, one)| *all += one);
        }
        let estimate = self.estimate();
        let mut fits = (0..).zip(&mass);
        if fits.all(|(o, mass)| *mass <= estimate.half_width(o)) {
            self.test = if recalled {
                Test::Recalled
            } else {
                Test::Passed
            };
            self.open = None;
            return Ok(());
        }
        self.test = Test::Failed;
        let missed = missed(checks, sums, (estimate.values, mass));
        if self.unresolved.is_none() {
            self.unresolved = Some(missed.values.clone());
        }
        self.open = Some(match self.open.take() {
            Some(before) if recalled => before,
            _ => missed,
        });
        for (number, seen) in found {
            if let Some(leaf) = self.leaves.get_mut(number) {
                leaf.note(seen);
            }
        }
        self.choose();
        Ok(())
    }

    /// What random points found in each leaf that its rule does not explain; notes the points.
    fn found(&mut self, groups: Vec<Group>) -> Vec<(usize, Seen)> {
        let mut groups = groups.into_iter().peekable();
        let mut found = Vec::new();
        let outputs = self.sums().0.len();
        for (number, leaf) in self.leaves.iter().enumerate() {
            let mut seen = Seen::nothing(outputs);
            let size = volume(&leaf.region);
            while let Some(group) = groups.next_if(|group| group.region == leaf.region) {
                let known = self.remembered.iter_mut();
                let mut known = known.filter(|one| one.point == group.part.lower);
                let weight = match known.next() {
                    Some(one) => one.share.min(size),
                    None => group.share / group.points as f64,
                };
                seen.take(group, weight);
            }
            if !seen.point.is_empty() {
                found.push((number, seen));
            }
        }
        for (_, seen) in &found {
            self.remember(seen);
        }
        found
    }

    fn remember(&mut self, seen: &Seen) {
        let mass = seen.off.iter().sum();
        match self
            .remembered
            .iter_mut()
            .find(|one| one.point == seen.point)
        {
            Some(known) => known.mass = mass,
            None => self.remembered.push(Remembered {
                point: seen.point.clone(),
                share: seen.share,
                mass,
            }),
        }
        self.remembered.sort_by(|a, b| b.mass.total_cmp(&a.mass));
        self.remembered.truncate(MEMORY);
    }

    /// Whether random points have confirmed the present value.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.test == Test::Passed
    }

    /// Whether the present value waits for its test, or for the second part of it.
    pub(crate) fn is_untested(&self) -> bool {
        matches!(self.test, Test::Open | Test::Recalled)
    }

    /// What the last test found, if it failed and none has passed since.
    pub(crate) fn missed(&self) -> Option<Missed> {
        let places = self.remembered.iter().map(|one| one.point.clone());
        self.open.clone().map(|missed| Missed {
            places: places.collect(),
            ..missed
        })
    }

    /// How far each value has moved since a test failed for the first time: by so much it may differ from that of samples
    /// which did not look where random points did. Empty when none has failed.
    pub(crate) fn resolved(&self) -> Vec<f64> {
        let before = self.unresolved.iter().flatten();
        let both = self.sums().0.into_iter().zip(before);
        both.map(|(now, before)| (now - before).abs()).collect()
    }
}

/// Whether a check is one remembered point.
fn is_recalled(check: &Check) -> bool {
    check.part.lower == check.part.upper
}

/// Counts what a failed test found.
fn missed(checks: &[Check], sums: &[CheckSum], (values, mass): (Vec<f64>, Vec<f64>)) -> Missed {
    let mut missed = Missed {
        points: 0,
        even: (0, 0),
        values,
        mass,
        places: Vec::new(),
    };
    for (check, sum) in checks.iter().zip(sums) {
        missed.points += u64::from(sum.unexplained);
        if check.part == check.region {
            missed.even.0 += u64::from(sum.unexplained);
            missed.even.1 += u64::from(check.points);
        }
    }
    missed
}

/// Next to both faces of `region` across `axis`: an edge that lies there, between the rule's last points and the face, is
/// seen by no rule, however far the region is halved; random points of the whole region hardly ever see it.
fn rims(region: &Region, axis: usize) -> [Region; 2] {
    let (low, high) = (at(&region.lower, axis), at(&region.upper, axis));
    let width = (high - low) * BEYOND_THE_RULE * RIM;
    let (mut lower, mut upper) = (region.clone(), region.clone());
    set(&mut lower.upper, axis, low + width);
    set(&mut upper.lower, axis, high - width);
    [lower, upper]
}

/// `points` in `part` of `region`, in as many checks as that takes; together they stand for `share` of the unit cube.
fn add(checks: &mut Vec<Check>, (region, part): (&Region, &Region), points: u64, share: f64) {
    let mut open = points;
    while open > 0 {
        let some = open.min(BLOCK as u64);
        checks.push(Check {
            region: region.clone(),
            part: part.clone(),
            points: some as u16,
            share: share * some as f64 / points as f64,
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
                group.share += check.share;
                group.unexplained += u64::from(sum.unexplained);
                group
                    .off
                    .iter_mut()
                    .zip(&sum.off)
                    .for_each(|(all, one)| *all += one);
                if here > *most {
                    *most = here;
                    group.worst.clone_from(&sum.worst);
                    group.height.clone_from(&sum.height);
                }
            }
            _ => {
                let group = Group {
                    region: check.region.clone(),
                    part: check.part.clone(),
                    points: u64::from(check.points),
                    share: check.share,
                    unexplained: u64::from(sum.unexplained),
                    off: sum.off.clone(),
                    worst: sum.worst.clone(),
                    height: sum.height.clone(),
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

pub(super) fn volume(region: &Region) -> f64 {
    let sides = region.lower.iter().zip(&region.upper);
    sides.map(|(lower, upper)| upper - lower).product()
}
