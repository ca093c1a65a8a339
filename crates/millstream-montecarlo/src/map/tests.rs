//! The map: a partition of the axis, whatever it has seen.

use super::*;

/// Piece by piece, how often points are drawn from it per unit of length, relative to even.
fn density(map: &Map) -> Vec<f64> {
    widths(&map.edges()[0])
        .map(|width| 1.0 / (width * INCREMENTS as f64))
        .collect()
}

fn is_partition(map: &Map) {
    for axis in map.edges() {
        assert_eq!((axis.len(), axis[0]), (INCREMENTS, 0.0));
        assert!(axis.is_sorted_by(|left, right| left < right) && axis[INCREMENTS - 1] < 1.0);
    }
}

#[test]
fn the_uniform_map_changes_nothing() {
    let mut points: Vec<f64> = (0..BLOCK)
        .map(|i| (i as f64 + 0.5) / BLOCK as f64)
        .collect();
    let before = points.clone();
    let (mut weights, mut pieces) = ([1.0; BLOCK], vec![0; BLOCK]);
    Map::uniform(1)
        .table()
        .apply(&mut points, &mut weights, Some(&mut pieces));
    assert_eq!((points, weights), (before, [1.0; BLOCK]));
    assert_eq!(pieces, (0..256).collect::<Vec<u16>>());
}

#[test]
fn an_even_histogram_or_none_changes_nothing() {
    let map = Map::uniform(2);
    assert_eq!(map.refined(&[0.0; 2 * INCREMENTS]), map);
    for (new, old) in map.refined(&[3.0; 2 * INCREMENTS]).edges()[1]
        .iter()
        .zip(&map.edges()[1])
    {
        assert!((new - old).abs() < 1e-14);
    }
}

#[test]
fn a_peak_draws_pieces_and_no_region_starves() {
    let mut map = Map::uniform(1);
    // All that is ever seen lies between 0.5 and 0.501.
    for _ in 0..30 {
        let seen: Vec<f64> = map.edges()[0]
            .iter()
            .zip(widths(&map.edges()[0]))
            .map(|(left, width)| {
                if *left < 0.501 && left + width > 0.5 {
                    width
                } else {
                    0.0
                }
            })
            .collect();
        map = map.refined(&seen);
        is_partition(&map);
    }
    let density = density(&map);
    let (least, most) = density
        .iter()
        .fold((f64::MAX, 0.0_f64), |(least, most), one| {
            (least.min(*one), most.max(*one))
        });
    assert!(most > 300.0, "{most}");
    // One hundredth of the weight is spread evenly.
    assert!(least > 0.005, "{least}");
}

#[test]
fn weights_integrate_to_one_over_any_map() {
    let map = Map::uniform(1).around(&[vec![0.3]], 8.0);
    is_partition(&map);
    let near = map.edges()[0]
        .iter()
        .filter(|edge| (*edge - 0.3).abs() < 1.0 / 32.0)
        .count();
    // A sixteenth of the axis at nine times the weight: 9 of 24 parts.
    assert!(near.abs_diff(96) < 3, "{near}");
    let mut points: Vec<f64> = (0..BLOCK)
        .map(|i| (i as f64 + 0.5) / BLOCK as f64)
        .collect();
    let mut weights = [1.0; BLOCK];
    map.table().apply(&mut points, &mut weights, None);
    assert!((weights.iter().sum::<f64>() / BLOCK as f64 - 1.0).abs() < 1e-12);
}

#[test]
fn a_spike_of_one_double_leaves_edges_apart() {
    let mut map = Map::uniform(1);
    for _ in 0..200 {
        let mut seen = [0.0; INCREMENTS];
        seen[INCREMENTS - 1] = 1.0;
        map = map.refined(&seen);
        is_partition(&map);
    }
}

#[test]
fn broken_edges_are_refused() {
    for edges in [vec![0.0; INCREMENTS], vec![0.0, 0.5]] {
        let error =
            serde_json::from_value::<Map>(serde_json::json!({ "edges": [edges] })).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a map has 256 rising edges from 0 to below 1 per axis"
        );
    }
    let text = serde_json::to_string(&Map::uniform(3)).unwrap();
    assert_eq!(serde_json::from_str::<Map>(&text).unwrap(), Map::uniform(3));
}
