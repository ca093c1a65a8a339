//! A tile of checks: random points on regions to which a rule was applied, against what the rule's points say of them.
//!
//! The rule's own points are computed again, which costs little beside a block of random points and keeps a wave free of
//! everything that a worker can find out by itself.
#![expect(
    clippy::indexing_slicing,
    reason = "a rule has fewer points than a block, and a check has at most a block"
)]

use super::Prepared;
use super::block::{Buffers, Notes};
use super::model::Model;
use super::regions::lay_out;
use super::rules::Rule;
use crate::BLOCK;
use crate::partial::CheckSum;
use crate::random::{Key, Purpose, Stream};
use crate::wave::{Check, Region, TILE_REGIONS};

impl Prepared {
    pub(super) fn checks(
        &self,
        rule: &Rule,
        tile: u64,
        checks: &[Check],
        (buffers, notes): (&mut Buffers, &mut Notes),
    ) -> Vec<CheckSum> {
        let plan = &self.wave.plan;
        let key = Key::new(plan.seed, Purpose::Check, self.wave.iteration, tile);
        let mut stream = Stream::new(key);
        let first = usize::try_from(tile)
            .unwrap_or(usize::MAX)
            .saturating_mul(TILE_REGIONS);
        // In the unit cube: the points of the buffers end in the domain.
        let mut points = vec![0.0; buffers.points.len()];
        let mut sums = Vec::with_capacity(TILE_REGIONS);
        for check in checks.iter().skip(first).take(TILE_REGIONS) {
            let models = self.models(rule, &check.region, (buffers, notes));
            stream.fill(&mut points);
            spread(&check.part, &mut points);
            buffers.points.copy_from_slice(&points);
            let used = usize::from(check.points).min(BLOCK);
            self.evaluate(buffers, used, false, notes);
            sums.push(compared(
                &models,
                &check.region,
                (&points, &buffers.out),
                used,
            ));
        }
        sums
    }

    /// What the rule's points say of every output on `region`.
    fn models(
        &self,
        rule: &Rule,
        region: &Region,
        (buffers, notes): (&mut Buffers, &mut Notes),
    ) -> Vec<Model> {
        let size = rule.points.len();
        lay_out(rule, region, 0, &mut buffers.points);
        buffers.pad(size);
        self.evaluate(buffers, size, false, notes);
        buffers
            .out
            .chunks_exact(BLOCK)
            .map(|out| Model::new(rule, &out[..size]))
            .collect()
    }
}

/// Moves points of the unit cube into `part`.
fn spread(part: &Region, points: &mut [f64]) {
    let sides = part.lower.iter().zip(&part.upper);
    for (points, (lower, upper)) in points.chunks_exact_mut(BLOCK).zip(sides) {
        for point in points {
            *point = (upper - lower).mul_add(*point, *lower);
        }
    }
}

/// What the models of `region` do not explain of the outputs at `points`.
fn compared(
    models: &[Model],
    region: &Region,
    (points, out): (&[f64], &[f64]),
    used: usize,
) -> CheckSum {
    let mut sum = CheckSum {
        unexplained: 0,
        off: vec![0.0; models.len()],
        worst: None,
        height: vec![0.0; models.len()],
    };
    let mut here = sum.height.clone();
    let mut most = 0.0;
    let mut place = vec![0.0; region.lower.len()];
    for point in 0..used {
        let sides = region.lower.iter().zip(&region.upper);
        let axes = place.iter_mut().zip(points.chunks_exact(BLOCK));
        for ((place, axis), (lower, upper)) in axes.zip(sides) {
            *place = 2.0 * ((axis[point] - lower) / (upper - lower)) - 1.0;
        }
        let mut all = 0.0;
        for ((model, out), here) in models.iter().zip(out.chunks_exact(BLOCK)).zip(&mut here) {
            *here = model.unexplained(&place, out[point]);
            all += *here;
        }
        let off = sum.off.iter_mut().zip(&here);
        off.for_each(|(off, here)| *off += here);
        if all > 0.0 {
            sum.unexplained += 1;
        }
        if all > most {
            most = all;
            sum.height.copy_from_slice(&here);
            sum.worst = Some(points.iter().skip(point).step_by(BLOCK).copied().collect());
        }
    }
    sum
}
