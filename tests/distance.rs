//! Distance transforms and what is made of them: gradient checks, laws, edges and errors.

mod common;

use common::*;
use tch::{Kind, Tensor};
use tch_losses::segmentation::{distance_transform_edt, signed_distance_transform_edt};

/// By comparing every pixel with every other.
fn brute_force(mask: &Tensor, spacing: &[f64]) -> Tensor {
    let axes: Vec<_> = mask
        .size()
        .iter()
        .zip(spacing)
        .map(|(&length, &s)| Tensor::arange(length, (Kind::Double, device())) * s)
        .collect();
    let grid = Tensor::meshgrid_indexing(&axes, "ij");
    let places = Tensor::stack(&grid, -1).view([-1, spacing.len() as i64]);
    let apart = (places.unsqueeze(1) - &places).square().sum_dim_intlist(2, false, None::<Kind>);
    let zero = mask.view(-1).eq(0);
    let (nearest, _) = apart.masked_fill(&zero.logical_not(), f64::INFINITY).min_dim(1, false);
    nearest.sqrt().view_as(mask)
}

fn exactly(what: &str, got: &Tensor, expected: &Tensor) {
    assert_eq!(got.size(), expected.size(), "{what}");
    let same = got.eq_tensor(expected).logical_or(&(got - expected).abs().le(1e-12));
    assert_eq!(same.all().int64_value(&[]), 1, "{what}: got {got:?}");
}

#[test]
fn distances_are_those_to_the_nearest_zero_pixel() {
    let shapes: [(&[i64], &[f64]); 7] = [
        (&[1, 1], &[1.0, 1.0]),
        (&[37], &[1.0]),
        (&[17, 23], &[1.0, 1.0]),
        (&[3, 200], &[2.0, 2.0]),
        (&[200, 3], &[0.3, 1.7]),
        (&[7, 9, 11], &[1.0, 1.0, 1.0]),
        (&[9, 5, 40], &[3.0, 0.1, 0.7]),
    ];
    for (seed, (shape, spacing)) in shapes.into_iter().enumerate() {
        // From a pixel here and there to nearly all.
        for share in [0.03, 0.5, 0.9, 0.995] {
            let mask = rand(seed as i64, shape, Kind::Double).lt(share).to_kind(Kind::Double);
            let what = format!("{shape:?} {spacing:?} {share}");
            let inside = brute_force(&mask, spacing);
            exactly(&what, &distance_transform_edt(&mask, spacing), &inside);
            let outside = brute_force(&(1.0f64 - &mask), spacing);
            let signed = outside.f_where_self(&mask.eq(0), &-inside).unwrap();
            exactly(&what, &signed_distance_transform_edt(&mask, spacing), &signed);
        }
    }
}
