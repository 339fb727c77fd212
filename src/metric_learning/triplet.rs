//! Triplet loss of a batch, with the triplets found in it.

use super::{
    pairs::{AverageOver, Batch, NOTHING, PairDistance, PerAnchor, count, masked_sum, moved_away},
    triplet_margin::cost,
    triplets::{Triplets, block, blocks},
};
use crate::{
    LossError, Reduction, Result, check,
    error::unwrap,
    loss::{named_loss, option_enum, weighted_loss},
    regression::root,
};
use tch::{Device, Kind, Tensor};

const NAME: &str = "TripletLoss";

/// Which triplets of a batch [`TripletLoss`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mining {
    /// Every anchor with every positive and every negative. Averaged over the active ones it is
    /// batch-all of Hermans et al.
    #[default]
    All,
    /// Every anchor with its farthest positive and its nearest negative.
    BatchHard,
    /// Every anchor with every positive and the nearest negative that is farther than the positive, or
    /// where all are nearer the farthest.
    SemiHard,
    /// Every anchor with every positive and every negative that is farther than the positive and within
    /// the margin.
    SemiHardAll,
    /// Every anchor with every positive and a negative drawn so that all distances come alike.
    DistanceWeighted,
}

option_enum!(Mining {
    Mining::All => "all",
    Mining::All => "batch_all",
    Mining::BatchHard => "batch_hard",
    Mining::SemiHard => "semi_hard",
    Mining::SemiHardAll => "semi_hard_all",
    Mining::DistanceWeighted => "distance_weighted",
});

/// Triplet loss of a batch of embeddings with labels.
///
/// ```text
/// l = max(0, d(a, p) - d(a, n) + margin)              for the triplets that `mining` takes
/// l = log(1 + exp(d(a, p) - d(a, n) + margin))        `soft`
/// ```
///
/// Anchors without a positive or without a negative are skipped; [`TripletLoss::statistics`] counts
/// them. Nothing is read back to the host.
///
/// | option | default | `facenet()` | `batch_hard()` | meaning |
/// |---|---|---|---|---|
/// | `margin` | 0.05 | 0.2 | 0 | at least 0 |
/// | `mining` | `All` | `SemiHard` | `BatchHard` | which triplets; see [`Mining`] |
/// | `soft` | false | false | true | a soft margin, which never is 0 |
/// | `distance` | `Euclidean` | `SquaredEuclidean` | `Euclidean` | of two embeddings |
/// | `normalize` | true | true | false | embeddings of length 1; a cosine has them in any case |
/// | `average` | `Active` | `All` | `All` | what a mean divides by: the triplets that cost something, or all that were taken |
/// | `cutoff` | 0.5 | | | `DistanceWeighted`: the distance from which probabilities grow no more, in (0, 2) |
/// | `nonzero_loss_cutoff` | 1.4 | | | `DistanceWeighted`: negatives that far are not drawn, in (0, 2) |
/// | `reduction` | `Mean` | `Mean` | `Mean` | |
///
/// # Shapes
///
/// - input: embeddings (N, D)
/// - target: integer labels (N), of any values
/// - weight: of anchors, broadcastable to (N)
/// - loss: a scalar, or (N) without reduction; `Half` and `BFloat16` are computed and returned in
///   `Float`
///
/// The triplets of `All` and `SemiHardAll` are summed by ranks, not one by one: all minings take memory
/// by N², in `Float` with the gradient from 24 bytes times it (`BatchHard`) to 90 (`SemiHardAll`), which is
/// 0.4 to 1.5 GB for 4000 embeddings. With `soft` those two go over the triplets themselves, some at a
/// time: then the memory is the same, the time grows with their number (with N³ on another device than
/// the CPU), and the loss can be differentiated once only.
///
/// # Reduction
///
/// `Mean` divides by the number of triplets, by `average` those above 0 or all that were taken, each as
/// often as its anchor's weight says; without any it is 0. Without reduction it is each anchor's own
/// mean, 0 for one that is skipped.
///
/// # Errors
///
/// Shape, kind or device of the input, the target or a weight; an option out of its range;
/// `DistanceWeighted` without `normalize`, as its probabilities are those of a sphere.
///
/// # Examples
///
/// ```
/// use tch::Tensor;
/// use tch_losses::{Loss, TripletLoss, metric_learning::Mining};
///
/// let embeddings = Tensor::from_slice(&[0.0f64, 0.5, 0.75]).view([3, 1]);
/// let labels = Tensor::from_slice(&[4i64, 4, 1]);
/// let loss = TripletLoss::default().normalize(false).margin(0.5);
/// // 0.5 - 0.75 + 0.5 of the first, 0.5 - 0.25 + 0.5 of the second; the third has no positive.
/// assert_eq!(loss.forward(&embeddings, &labels).double_value(&[]), (0.25 + 0.75) / 2.0);
/// let found = loss.clone().mining(Mining::BatchHard).statistics(&embeddings, &labels);
/// assert_eq!((found.anchors, found.skipped, found.triplets, found.active), (3, 1, 2, 2));
/// ```
///
/// # Differences
///
/// FaceNet's margin and distances are those of `facenet()`, pytorch-metric-learning's the default.
/// FaceNet says nothing of positives with every negative nearer; `SemiHard` does with them what
/// TensorFlow Addons does. `DistanceWeighted` draws a negative for each positive pair, as the paper;
/// pytorch-metric-learning draws the positives too.
///
/// # Reference
///
/// Schroff et al. 2015, "FaceNet"; Hermans et al. 2017, "In Defense of the Triplet Loss"; Wu et al. 2017,
/// "Sampling Matters in Deep Embedding Learning". Follows pytorch-metric-learning 2.9
/// `TripletMarginLoss`, with its `TripletMarginMiner` (`SemiHardAll`), `BatchHardMiner` and
/// `DistanceWeightedMiner`, and TensorFlow Addons' `triplet_semihard_loss` (`SemiHard`). See also
/// [`TripletMarginLoss`](super::TripletMarginLoss), for triplets that are given.
#[derive(Debug, Clone)]
pub struct TripletLoss {
    margin: f64,
    mining: Mining,
    soft: bool,
    distance: PairDistance,
    normalize: bool,
    average: AverageOver,
    cutoff: f64,
    nonzero_loss_cutoff: f64,
    reduction: Reduction,
}

impl Default for TripletLoss {
    fn default() -> Self {
        TripletLoss {
            margin: 0.05,
            mining: Mining::All,
            soft: false,
            distance: PairDistance::Euclidean,
            normalize: true,
            average: AverageOver::Active,
            cutoff: 0.5,
            nonzero_loss_cutoff: 1.4,
            reduction: Reduction::Mean,
        }
    }
}

/// What [`TripletLoss::statistics`] finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TripletStatistics {
    /// Samples of the batch.
    pub anchors: usize,
    /// Those without a positive or without a negative.
    pub skipped: usize,
    /// Triplets that were taken.
    pub triplets: usize,
    /// Those that cost something.
    pub active: usize,
}

/// The triplets of a mining that takes one for each positive pair, or one for each anchor.
struct Taken {
    /// (N, K), index of each positive
    positive: Tensor,
    /// (N, K), index of its negative
    negative: Tensor,
    /// (N, K)
    valid: Tensor,
}

impl TripletLoss {
    /// Schroff et al.: squared distances, margin 0.2, semi-hard negatives.
    pub fn facenet() -> Self {
        TripletLoss::default()
            .margin(0.2)
            .mining(Mining::SemiHard)
            .distance(PairDistance::SquaredEuclidean)
            .average(AverageOver::All)
    }

    /// Hermans et al.: the hardest of each anchor, with a soft margin.
    ///
    /// From scratch it may collapse all embeddings to one point; mined otherwise first, it does not.
    pub fn batch_hard() -> Self {
        TripletLoss::default()
            .margin(0.0)
            .mining(Mining::BatchHard)
            .soft(true)
            .normalize(false)
            .average(AverageOver::All)
    }

    /// At least 0; 0.05 by default.
    pub fn margin(mut self, margin: f64) -> Self {
        self.margin = margin;
        self
    }

    /// Which triplets of the batch; `All` by default.
    pub fn mining(mut self, mining: Mining) -> Self {
        self.mining = mining;
        self
    }

    /// Whether the margin is soft.
    pub fn soft(mut self, soft: bool) -> Self {
        self.soft = soft;
        self
    }

    /// How far two embeddings are; `Euclidean` by default.
    pub fn distance(mut self, distance: PairDistance) -> Self {
        self.distance = distance;
        self
    }

    /// Whether embeddings are made of length 1; true by default.
    pub fn normalize(mut self, normalize: bool) -> Self {
        self.normalize = normalize;
        self
    }

    /// Which triplets a mean divides by; `Active` by default.
    pub fn average(mut self, average: AverageOver) -> Self {
        self.average = average;
        self
    }

    /// The distance from which probabilities grow no more, in (0, 2); 0.5 by default.
    pub fn cutoff(mut self, cutoff: f64) -> Self {
        self.cutoff = cutoff;
        self
    }

    /// The distance from which negatives are not drawn, in (0, 2); 1.4 by default.
    pub fn nonzero_loss_cutoff(mut self, nonzero_loss_cutoff: f64) -> Self {
        self.nonzero_loss_cutoff = nonzero_loss_cutoff;
        self
    }

    /// `Mean` by default.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// The loss with given random numbers (N, N) in [0, 1), which choose the negative of each pair in
    /// `DistanceWeighted`; the other minings do not look at them.
    pub fn f_forward_with_noise(
        &self,
        input: &Tensor,
        target: &Tensor,
        noise: &Tensor,
    ) -> Result<Tensor> {
        self.per_anchor(input, target, Some(noise))?.reduce(NAME, None, self.reduction)
    }

    /// [`TripletLoss::f_forward_with_noise`], or a panic with its error.
    #[track_caller]
    pub fn forward_with_noise(&self, input: &Tensor, target: &Tensor, noise: &Tensor) -> Tensor {
        unwrap(self.f_forward_with_noise(input, target, noise))
    }

    /// The triplets that the loss takes, for [`TripletMarginLoss`](super::TripletMarginLoss) to train on
    /// offline.
    ///
    /// There may be as many as N³ for `All` and `SemiHardAll`; how many there are is read by the host.
    ///
    /// # Errors
    ///
    /// As the loss.
    ///
    /// # Examples
    ///
    /// ```
    /// use tch::Tensor;
    /// use tch_losses::{Loss, TripletLoss, TripletMarginLoss, metric_learning::Mining};
    ///
    /// let embeddings = Tensor::from_slice(&[0.0f64, 0.5, 0.75, 2.0]).view([4, 1]);
    /// let labels = Tensor::from_slice(&[4i64, 4, 1, 1]);
    /// let online = TripletLoss::batch_hard();
    /// let triplets = online.mine(&embeddings, &labels);
    /// assert_eq!(triplets.len(), 4);
    /// let offline = TripletMarginLoss::default().margin(0.0).eps(0.0).soft(true);
    /// let [on, off] = [
    ///     online.forward(&embeddings, &labels),
    ///     offline.forward_triplets(&embeddings, &triplets),
    /// ];
    /// assert!((on - off).double_value(&[]).abs() < 1e-12);
    /// ```
    pub fn f_mine(&self, input: &Tensor, target: &Tensor) -> Result<Triplets> {
        self.check()?;
        let batch = Batch::new(NAME, &input.f_detach()?, target)?;
        let distance = batch.distances(self.distance, self.normalize)?;
        let Some(taken) = self.taken(&batch, &distance, None)? else {
            let all = self.mining == Mining::All;
            return Triplets::of_blocks(&batch.positive, &batch.negative, |first, rows| {
                if all { Ok(None) } else { self.within(&block(&distance, first, rows)?).map(Some) }
            });
        };
        let found = taken.valid.f_nonzero()?;
        let anchor = found.f_select(1, 0)?;
        let flat = anchor.f_mul_scalar(taken.valid.size()[1])?.f_add(&found.f_select(1, 1)?)?;
        let of = |index: &Tensor| index.f_contiguous()?.f_view([-1])?.f_index_select(0, &flat);
        let rows = [anchor, of(&taken.positive)?, of(&taken.negative)?];
        Triplets::of_rows(&Tensor::f_stack(&rows, 1)?)
    }

    /// [`TripletLoss::f_mine`], or a panic with its error.
    #[track_caller]
    pub fn mine(&self, input: &Tensor, target: &Tensor) -> Triplets {
        unwrap(self.f_mine(input, target))
    }

    /// How many anchors are skipped, and how many triplets are taken and active.
    ///
    /// It reads the numbers back to the host, which the loss does not. `DistanceWeighted` draws anew.
    ///
    /// # Errors
    ///
    /// As the loss.
    pub fn f_statistics(&self, input: &Tensor, target: &Tensor) -> Result<TripletStatistics> {
        let input = input.f_detach()?;
        let noise = Tensor::f_rand([input.size()[0]; 2], (Kind::Float, input.device()))?;
        let number = |count: &Tensor| -> Result<usize> {
            Ok(count.f_sum(Kind::Double)?.f_double_value(&[])? as usize)
        };
        let counted = |average| -> Result<usize> {
            let per_anchor =
                self.clone().average(average).per_anchor(&input, target, Some(&noise))?;
            number(&per_anchor.count)
        };
        let (triplets, active) = (counted(AverageOver::All)?, counted(AverageOver::Active)?);
        let batch = Batch::new(NAME, &input, target)?;
        let used = batch.has_positive()?.f_logical_and(&batch.has_negative()?)?;
        let anchors = used.numel();
        Ok(TripletStatistics { anchors, skipped: anchors - number(&used)?, triplets, active })
    }

    /// [`TripletLoss::f_statistics`], or a panic with its error.
    #[track_caller]
    pub fn statistics(&self, input: &Tensor, target: &Tensor) -> TripletStatistics {
        unwrap(self.f_statistics(input, target))
    }

    fn check(&self) -> Result<()> {
        check::reduction(NAME, self.reduction)?;
        check::at_least_zero(NAME, "margin", self.margin)?;
        let of_sphere = |distance: f64| distance > 0.0 && distance < 2.0;
        check::param(NAME, "cutoff", self.cutoff, of_sphere(self.cutoff), "in (0, 2)")?;
        let nonzero = self.nonzero_loss_cutoff;
        check::param(NAME, "nonzero_loss_cutoff", nonzero, of_sphere(nonzero), "in (0, 2)")?;
        if self.mining == Mining::DistanceWeighted && !self.normalize {
            let message = "distance-weighted mining is for normalized embeddings";
            return Err(LossError::Unsupported { loss: NAME, message });
        }
        Ok(())
    }

    fn compute(&self, input: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
        self.per_anchor(input, target, None)?.reduce(NAME, weight, self.reduction)
    }

    fn per_anchor(
        &self,
        input: &Tensor,
        target: &Tensor,
        noise: Option<&Tensor>,
    ) -> Result<PerAnchor> {
        self.check()?;
        let batch = Batch::new(NAME, input, target)?;
        let distance = batch.distances(self.distance, self.normalize)?;
        let Some(Taken { positive, negative, valid }) = self.taken(&batch, &distance, noise)?
        else {
            return match self.soft {
                true => self.one_by_one(&batch, &distance),
                false => self.by_rank(&batch, &distance),
            };
        };
        let near = distance.f_gather(1, &positive, false)?;
        let far = distance.f_gather(1, &negative, false)?;
        let each = cost(&near.f_sub(&far)?.f_add_scalar(self.margin)?, self.soft)?;
        PerAnchor::of_pairs(&each, &valid, self.average)
    }

    /// The triplets of a mining that takes some; nothing for one that takes all, or all within the
    /// margin.
    fn taken(
        &self,
        batch: &Batch,
        distance: &Tensor,
        noise: Option<&Tensor>,
    ) -> Result<Option<Taken>> {
        let distance = distance.f_detach()?;
        let samples = distance.size()[0];
        if samples == 0 {
            // No row has a maximum.
            let none = Tensor::f_zeros([0, 0], (Kind::Int64, distance.device()))?;
            let valid = batch.positive.shallow_clone();
            return Ok(match self.mining {
                Mining::All | Mining::SemiHardAll => None,
                _ => Some(Taken { positive: none.shallow_clone(), negative: none, valid }),
            });
        }
        let each = || Tensor::f_arange(samples, (Kind::Int64, distance.device()));
        let every_positive = || each()?.f_unsqueeze(0)?.f_expand([samples, samples], false);
        Ok(Some(match self.mining {
            Mining::All | Mining::SemiHardAll => return Ok(None),
            Mining::BatchHard => {
                let (farthest, positive) =
                    moved_away(&distance, &batch.positive, NOTHING)?.f_max_dim(1, true)?;
                let (nearest, negative) =
                    moved_away(&distance, &batch.negative, -NOTHING)?.f_min_dim(1, true)?;
                let valid = farthest.f_gt(NOTHING / 2.0)?;
                let valid = valid.f_logical_and(&nearest.f_lt(-NOTHING / 2.0)?)?;
                Taken { positive, negative, valid }
            }
            Mining::SemiHard => {
                let ranked = Ranked::new(&distance, &batch.negative)?;
                let beyond = ranked.up_to(&distance, true)?;
                let farthest = count(&batch.negative, Kind::Int64)?.f_unsqueeze(1)?;
                let place = beyond.f_minimum(&farthest.f_sub_scalar(1)?)?.f_clamp_min(0)?;
                let negative = ranked.order.f_gather(1, &place, false)?;
                let has_negative = batch.has_negative()?.f_unsqueeze(1)?;
                let valid = batch.positive.f_logical_and(&has_negative)?;
                Taken { positive: every_positive()?, negative, valid }
            }
            Mining::DistanceWeighted => {
                let dims = batch.embeddings.size()[1];
                let likely = self.likelihood(&distance, dims, &batch.negative)?;
                let noise = match noise {
                    Some(noise) => {
                        check::shape(NAME, "noise", noise, &[samples, samples])?;
                        check::device(NAME, "noise", noise, &distance)?;
                        check::in_kind(NAME, "noise", noise, distance.f_kind()?)?
                    }
                    None => distance.f_rand_like()?,
                };
                let sums = likely.f_cumsum(1, None::<Kind>)?;
                let total = sums.f_narrow(1, samples - 1, 1)?;
                let drawn = noise
                    .f_mul(&total)?
                    .f_searchsorted(&sums, false, true, "right", None::<Tensor>)?
                    .f_clamp_max(samples - 1)?;
                let possible = likely.f_gather(1, &drawn, false)?.f_gt(0.0)?;
                let valid = batch.positive.f_logical_and(&possible)?;
                Taken { positive: every_positive()?, negative: drawn, valid }
            }
        }))
    }

    /// How likely each negative is drawn, up to a factor of its row: the inverse of how likely its
    /// distance is on the sphere.
    fn likelihood(&self, distance: &Tensor, dims: i64, negative: &Tensor) -> Result<Tensor> {
        let distance = match self.distance {
            PairDistance::Euclidean => distance.shallow_clone(),
            PairDistance::SquaredEuclidean => root(distance)?,
            PairDistance::Cosine => root(&distance.f_mul_scalar(2.0)?.f_clamp_min(0.0)?)?,
        };
        let possible = negative.f_logical_and(&distance.f_lt(self.nonzero_loss_cutoff)?)?;
        let distance = distance.f_clamp(self.cutoff, self.nonzero_loss_cutoff)?;
        let dims = dims as f64;
        let cap = distance.f_square()?.f_mul_scalar(-0.25)?.f_log1p()?;
        let log = distance
            .f_log()?
            .f_mul_scalar(2.0 - dims)?
            .f_sub(&cap.f_mul_scalar((dims - 3.0) / 2.0)?)?
            .f_masked_fill(&possible.f_logical_not()?, f64::NEG_INFINITY)?;
        let most = log.f_amax([1i64].as_slice(), true)?;
        // A row without any is -∞, and -∞ - -∞ no number.
        let most = most.f_masked_fill(&most.f_eq(f64::NEG_INFINITY)?, 0.0)?;
        Ok(log.f_sub(&most)?.f_exp()?)
    }

    /// The sums of max(0, d(a, p) - d(a, n) + margin) over all negatives, from the ranks of the negatives:
    /// those that count are the nearest so many, and the sum of the nearest so many is known.
    fn by_rank(&self, batch: &Batch, distance: &Tensor) -> Result<PerAnchor> {
        let kind = distance.f_kind()?;
        let reach = distance.f_add_scalar(self.margin)?;
        let ranked = Ranked::new(distance, &batch.negative)?;
        let upper = ranked.up_to(&reach, false)?;
        let sums = ranked.sums()?;
        let (active, sum) = match self.mining {
            Mining::SemiHardAll => {
                let lower = ranked.up_to(distance, true)?;
                let upper = upper.f_maximum(&lower)?;
                let between =
                    sums.f_gather(1, &upper, false)?.f_sub(&sums.f_gather(1, &lower, false)?)?;
                (upper.f_sub(&lower)?, between)
            }
            _ => (upper.shallow_clone(), sums.f_gather(1, &upper, false)?),
        };
        let active = active.f_to_kind(kind)?;
        let total = masked_sum(&active.f_mul(&reach)?.f_sub(&sum)?, &batch.positive)?;
        let counts = match (self.average, self.mining) {
            (AverageOver::All, Mining::All) => triplets_of(batch, kind)?,
            // Within the margin all are active.
            _ => masked_sum(&active, &batch.positive)?,
        };
        Ok(PerAnchor { total, count: counts })
    }

    /// The sums over triplets one by one, some positive pairs at a time. Nothing of the blocks is kept:
    /// the slope of each sum in the distances is enough for the gradient.
    fn one_by_one(&self, batch: &Batch, distance: &Tensor) -> Result<PerAnchor> {
        let constant = distance.f_detach()?;
        let (kind, device) = (constant.f_kind()?, constant.device());
        let samples = constant.size()[0];
        // Pairs (i, j) as i N + j. Which are positive only the CPU tells without waiting; elsewhere the
        // others are looked at too, and cost 0.
        let pairs = match device {
            Device::Cpu => batch.positive.f_flatten(0, 1)?.f_nonzero()?.f_squeeze_dim(1)?,
            _ => Tensor::f_arange(samples * samples, (Kind::Int64, device))?,
        };
        let anchors = pairs.f_floor_divide_scalar(samples.max(1))?;
        let of_pairs = |of: &Tensor| of.f_flatten(0, 1)?.f_index_select(0, &pairs);
        // What is no triplet is -∞, and costs 0.
        let near = of_pairs(&constant)?;
        let reach = near
            .f_add_scalar(self.margin)?
            .f_masked_fill(&of_pairs(&batch.positive)?.f_logical_not()?, f64::NEG_INFINITY)?;
        let far = constant.f_masked_fill(&batch.negative.f_logical_not()?, f64::INFINITY)?;
        let zeros = |size: &[i64]| Tensor::f_zeros(size, (kind, device));
        let (mut total, mut counts) = (zeros(&[samples])?, zeros(&[samples])?);
        let mut slopes = zeros(&[samples * samples])?;
        let mut of_far = slopes.f_view([samples, samples])?;
        for (first, rows) in blocks(pairs.size()[0], samples) {
            let anchors = block(&anchors, first, rows)?;
            let of_block =
                |of: &Tensor| -> Result<Tensor> { Ok(block(of, first, rows)?.f_unsqueeze(1)?) };
            let far = far.f_index_select(0, &anchors)?;
            let mut violation = of_block(&reach)?.f_sub(&far)?;
            let sum = |of: &Tensor| of.f_sum_dim_intlist([1i64].as_slice(), false, kind);
            if self.mining == Mining::SemiHardAll {
                let beyond = far.f_gt_tensor(&of_block(&near)?)?;
                let within = beyond.f_logical_and(&far.f_lt_tensor(&of_block(&reach)?)?)?;
                let _ = violation.f_masked_fill_(&within.f_logical_not()?, f64::NEG_INFINITY)?;
                let _ = counts.f_index_add_(0, &anchors, &sum(&within)?)?;
            }
            let _ = total.f_index_add_(0, &anchors, &sum(&cost(&violation, true)?)?)?;
            let mut slope = violation.f_sigmoid_()?;
            let _ = slopes.f_index_add_(0, &block(&pairs, first, rows)?, &sum(&slope)?)?;
            let _ = of_far.f_index_add_(0, &anchors, &slope.f_neg_()?)?;
        }
        if self.mining == Mining::All {
            counts = triplets_of(batch, kind)?;
        }
        let moved = of_far.f_mul(&distance.f_sub(&constant)?)?;
        let moved = moved.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?;
        Ok(PerAnchor { total: total.f_add(&moved)?, count: counts })
    }

    /// Of distances (rows, N) whether the negative is farther than the positive and within the margin,
    /// (rows, N, N).
    fn within(&self, row: &Tensor) -> Result<Tensor> {
        let (near, far) = (row.f_unsqueeze(2)?, row.f_unsqueeze(1)?);
        let beyond = far.f_gt_tensor(&near)?;
        Ok(beyond.f_logical_and(&far.f_lt_tensor(&near.f_add_scalar(self.margin)?)?)?)
    }
}

/// How many triplets there are of each anchor.
fn triplets_of(batch: &Batch, kind: Kind) -> Result<Tensor> {
    Ok(count(&batch.positive, kind)?.f_mul(&count(&batch.negative, kind)?)?)
}

/// The distances to the negatives of each anchor, the nearest first.
struct Ranked {
    /// (N, N), ∞ behind the last negative
    distance: Tensor,
    order: Tensor,
}

impl Ranked {
    fn new(distance: &Tensor, negative: &Tensor) -> Result<Self> {
        let others = negative.f_logical_not()?;
        let (distance, order) = distance.f_masked_fill(&others, f64::INFINITY)?.f_sort(1, false)?;
        Ok(Ranked { distance, order })
    }

    /// How many are nearer than each reach (N, N), or as near with `equal`.
    fn up_to(&self, reach: &Tensor, equal: bool) -> Result<Tensor> {
        let side = if equal { "right" } else { "left" };
        let reach = reach.f_detach()?.f_contiguous()?;
        let sorted = self.distance.f_detach()?.f_contiguous()?;
        Ok(reach.f_searchsorted(&sorted, false, equal, side, None::<Tensor>)?)
    }

    /// (N, N + 1): the sum of the nearest 0, 1, 2, ..
    fn sums(&self) -> Result<Tensor> {
        let beyond = self.distance.f_eq(f64::INFINITY)?;
        let sums = self.distance.f_masked_fill(&beyond, 0.0)?.f_cumsum(1, None::<Kind>)?;
        let none = Tensor::f_zeros([sums.size()[0], 1], (sums.f_kind()?, sums.device()))?;
        Ok(Tensor::f_cat(&[none, sums], 1)?)
    }
}

weighted_loss!(TripletLoss);

named_loss! {
    TripletLoss: "triplet", Embeddings => Index, "pytorch-metric-learning `TripletMarginLoss`",
    [
        margin, mining, soft, distance, normalize, average, cutoff, nonzero_loss_cutoff, reduction,
    ],
    presets {
        "triplet_facenet" => Self::facenet(), "Schroff et al. 2015, TensorFlow Addons";
        "triplet_batch_hard" => Self::batch_hard(), "Hermans et al. 2017";
    },
}
