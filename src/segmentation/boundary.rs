//! The boundary loss.

use super::{
    distance::{of_classes, pixel_size, signed},
    maps::Maps,
    region::{Aggregate, EmptyClass, Region, setters},
    statistics::{IgnoreIndex, Nonlinearity},
};
use crate::{
    Reduction, Result, check,
    error::unwrap,
    loss::{named_loss, weighted_loss},
};
use tch::{Kind, Tensor};

/// Boundary loss of a segmentation: the probability of a class times the distance from its boundary.
///
/// ```text
/// l = Σ m p φ / Σ m                            for each image and class, over the pixels
/// φ(x) =  distance to the class                outside of it
///        -distance to what is not + h          inside, h the least spacing
/// ```
///
/// p are the probabilities, m the weight of a pixel. φ is 0 at the pixels just inside of the
/// boundary, and everywhere for a class that is absent or fills the image; `empty_class` is about
/// both. The best value is below 0. Probabilities far away pull hardest, so that it is added to an
/// overlap loss, with a factor that rises from 0.01 by 0.01 an epoch in the paper.
///
/// | option | default | meaning |
/// |---|---|---|
#[doc = include_str!("doc/boundary.md")]
#[doc = include_str!("doc/shapes.md")]
#[doc = include_str!("doc/reduction.md")]
#[doc = include_str!("doc/errors.md")]
///
/// Images have one to three dimensions; a spacing that is not one number above 0 for each.
///
/// # Maps
///
/// φ depends on the target alone. A data loader can make it with
/// [`distance_map`](Self::distance_map), which needs no network, and the loss then takes it by
/// [`forward_with_map`](Self::forward_with_map). Otherwise the loss makes it on every call, on the
/// host for long lines (see [`distance_transform_edt`](super::f_distance_transform_edt)).
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{BoundaryLoss, Loss, segmentation::Nonlinearity};
///
/// let boundary = BoundaryLoss::default().apply_nonlin(Nonlinearity::Sigmoid);
/// let target = Tensor::from_slice(&[0f32, 0., 1., 1., 1., 1., 0.]).view([1, 1, 7]);
/// let map = boundary.distance_map(&target, 1);
/// let values = Vec::<f32>::try_from(map.view(-1)).unwrap();
/// assert_eq!(values, [2., 1., 0., -1., -1., 0., 1.]);
///
/// let logits = target.zeros_like(); // p = 1/2
/// let loss = boundary.forward(&logits, &target).double_value(&[]);
/// assert!((loss - 0.5 * 2.0 / 7.0).abs() < 1e-6);
/// assert_eq!(boundary.forward_with_map(&logits, &map, None).double_value(&[]), loss);
/// ```
///
/// # Differences
///
/// MONAI makes the maps on every call, without spacing. The authors' code adds 1 inside whatever
/// the spacing, so that pixels smaller than 1 are positive inside; here the map scales with it.
///
/// # Reference
///
/// Kervadec et al. 2019, "Boundary loss for highly unbalanced segmentation". Follows MONAI 1.6
/// `BoundaryLoss`. See also [`HausdorffDtLoss`](crate::HausdorffDtLoss).
#[derive(Debug, Clone, Default)]
#[doc(alias = "SurfaceLoss")]
#[doc(alias = "BDLoss")]
pub struct BoundaryLoss {
    region: Region,
    spacing: Option<Vec<f64>>,
}

const NAME: &str = "BoundaryLoss";

impl BoundaryLoss {
    /// The size of a pixel along d1, ..; 1 by default.
    pub fn spacing(mut self, spacing: impl Into<Vec<f64>>) -> Self {
        self.spacing = Some(spacing.into());
        self
    }

    setters!(region);

    /// φ of a target, (N, `classes`, d1, ..), for [`forward_with_map`](Self::forward_with_map).
    ///
    /// The target is class indices (N, d1, ..), integer, where other values are of no class; or
    /// one-hot or soft (N, `classes`, d1, ..), floating-point or bool, where above 1/2 is one. The
    /// map is `Double` for a `Double` target, `Float` for any other.
    pub fn f_distance_map(&self, target: &Tensor, classes: i64) -> Result<Tensor> {
        let kind = if target.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float };
        let inside = of_classes(NAME, target, classes)?;
        let spacing = pixel_size(NAME, self.spacing.as_deref(), inside.dim() - 2)?;
        map(&inside, &spacing, kind)
    }

    /// [`BoundaryLoss::f_distance_map`], or a panic with its error.
    #[track_caller]
    pub fn distance_map(&self, target: &Tensor, classes: i64) -> Tensor {
        unwrap(self.f_distance_map(target, classes))
    }

    /// The loss of an input against a map of its shape, made before; `weight` is that of
    /// [`forward_weighted`](crate::Loss::forward_weighted).
    pub fn f_forward_with_map(
        &self,
        input: &Tensor,
        map: &Tensor,
        weight: Option<&Tensor>,
    ) -> Result<Tensor> {
        check::shape(NAME, "map", map, &input.size())?;
        let region = Region { ignore_index: IgnoreIndex::default(), ..self.region.clone() };
        let maps = region.maps(NAME, input, map, weight, 1..=3)?;
        self.of_maps(input, &maps, &maps.target)
    }

    /// [`BoundaryLoss::f_forward_with_map`], or a panic with its error.
    #[track_caller]
    pub fn forward_with_map(
        &self,
        input: &Tensor,
        map: &Tensor,
        weight: Option<&Tensor>,
    ) -> Tensor {
        unwrap(self.f_forward_with_map(input, map, weight))
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        let mut maps = self.region.maps(NAME, input, target, weight, 1..=3)?;
        let spacing = maps.pixel_size(NAME, &self.spacing)?;
        let kind = maps.probabilities.f_kind()?;
        let inside = maps.inside(&maps.target)?;
        // Frees the target, which is no longer wanted.
        maps.target = inside.f_view_as(&maps.target)?;
        let map = map(&inside, &spacing, kind)?;
        self.of_maps(input, &maps, &map.f_view_as(&maps.target)?)
    }

    fn of_maps(&self, input: &Tensor, maps: &Maps, map: &Tensor) -> Result<Tensor> {
        let cost = maps.probabilities.f_mul(map)?;
        let there = || Ok(map.f_abs()?.f_sum_dim_intlist(2, false, None::<Kind>)?);
        self.region.mean_cost(NAME, input, maps, cost, there)
    }
}

fn map(inside: &Tensor, spacing: &[f64], kind: Kind) -> Result<Tensor> {
    let least = spacing.iter().copied().fold(f64::INFINITY, f64::min);
    let mut distance = signed(inside, spacing, kind)?;
    let within = distance.f_lt(0.0)?.f_to_kind(kind)?.f_mul_scalar_(least)?;
    Ok(distance.f_add_(&within)?)
}

weighted_loss!(BoundaryLoss);

named_loss! {
    BoundaryLoss: "boundary", Logits => IndexOrDense, "MONAI `BoundaryLoss`",
    [..region, spacing], aliases ["surface"],
}
