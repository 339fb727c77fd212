//! Lists of triplets.

use super::pairs::masks;
use crate::{Result, check, error::unwrap};
use tch::{Device, Kind, Tensor};

/// Triplets of rows of a batch or data set, as indices.
///
/// For offline mining: find triplets among the embeddings of an earlier state of the network, by
/// [`Triplets::all`] or [`TripletLoss::mine`](super::TripletLoss::mine), then train on them with
/// [`TripletMarginLoss::forward_triplets`](super::TripletMarginLoss::forward_triplets).
#[derive(Debug)]
pub struct Triplets {
    /// (T), Int64
    pub anchor: Tensor,
    /// (T), Int64
    pub positive: Tensor,
    /// (T), Int64
    pub negative: Tensor,
}

impl Triplets {
    const NAME: &'static str = "Triplets";

    /// Triplets that the caller has: three integer tensors (T).
    ///
    /// # Errors
    ///
    /// Shapes, kinds or devices that are not alike.
    pub fn f_new(anchor: &Tensor, positive: &Tensor, negative: &Tensor) -> Result<Self> {
        check::shape_is(Self::NAME, "anchor", anchor, anchor.dim() == 1, "[T]")?;
        for (what, other) in [("positive", positive), ("negative", negative)] {
            check::shape(Self::NAME, what, other, &anchor.size())?;
            check::device(Self::NAME, what, other, anchor)?;
        }
        Ok(Triplets {
            anchor: check::index(Self::NAME, "anchor", anchor)?,
            positive: check::index(Self::NAME, "positive", positive)?,
            negative: check::index(Self::NAME, "negative", negative)?,
        })
    }

    /// [`Triplets::f_new`], or a panic with its error.
    #[track_caller]
    pub fn new(anchor: &Tensor, positive: &Tensor, negative: &Tensor) -> Self {
        unwrap(Self::f_new(anchor, positive, negative))
    }

    /// Every triplet of labels (N), ordered by anchor, positive and negative.
    ///
    /// There may be as many as N³; how many there are is read by the host.
    ///
    /// # Errors
    ///
    /// Labels that are not an integer tensor (N).
    ///
    /// # Examples
    ///
    /// ```
    /// use tch::Tensor;
    /// use tch_losses::metric_learning::Triplets;
    ///
    /// let triplets = Triplets::all(&Tensor::from_slice(&[5i64, 8, 5]));
    /// let list = |index: &Tensor| Vec::<i64>::try_from(index).unwrap();
    /// assert_eq!(list(&triplets.anchor), [0, 2]);
    /// assert_eq!(list(&triplets.positive), [2, 0]);
    /// assert_eq!(list(&triplets.negative), [1, 1]);
    /// ```
    pub fn f_all(labels: &Tensor) -> Result<Self> {
        check::shape_is(Self::NAME, "labels", labels, labels.dim() == 1, "[N]")?;
        let (positive, negative) = masks(&check::index(Self::NAME, "labels", labels)?)?;
        Self::of_blocks(&positive, &negative, |_, _| Ok(None))
    }

    /// [`Triplets::f_all`], or a panic with its error.
    #[track_caller]
    pub fn all(labels: &Tensor) -> Self {
        unwrap(Self::f_all(labels))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.anchor.numel()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The triplets of masks (N, N), some anchors at a time; `among`, of the first anchor and their
    /// number, says which of (anchors, N, N) to take.
    pub(super) fn of_blocks(
        positive: &Tensor,
        negative: &Tensor,
        among: impl Fn(i64, i64) -> Result<Option<Tensor>>,
    ) -> Result<Self> {
        let mut found = vec![Tensor::f_zeros([0, 3], (Kind::Int64, positive.device()))?];
        let samples = positive.size()[0];
        for (first, rows) in blocks(samples, samples * samples) {
            let mut mask = block(positive, first, rows)?
                .f_unsqueeze(2)?
                .f_logical_and(&block(negative, first, rows)?.f_unsqueeze(1)?)?;
            if let Some(among) = among(first, rows)? {
                mask = mask.f_logical_and(&among)?;
            }
            let start = Tensor::f_from_slice(&[first, 0, 0])?.f_to_device(positive.device())?;
            found.push(mask.f_nonzero()?.f_add(&start)?);
        }
        Self::of_rows(&Tensor::f_cat(&found, 0)?)
    }

    /// Of (T, 3).
    pub(super) fn of_rows(rows: &Tensor) -> Result<Self> {
        let column = |n| rows.f_select(1, n)?.f_contiguous();
        Ok(Triplets { anchor: column(0)?, positive: column(1)?, negative: column(2)? })
    }

    /// The same on another device.
    pub fn to_device(&self, device: Device) -> Self {
        let moved = |index: &Tensor| index.to_device(device);
        Triplets {
            anchor: moved(&self.anchor),
            positive: moved(&self.positive),
            negative: moved(&self.negative),
        }
    }
}

/// The elements of a block of triplets: 4 MB in `Float`.
const BLOCK: i64 = 1 << 20;

/// First row and number of rows of the blocks that `rows`, each of so many triplets, are looked at in.
pub(super) fn blocks(rows: i64, triplets: i64) -> impl Iterator<Item = (i64, i64)> {
    let step = (BLOCK / triplets.max(1)).max(1);
    (0..rows).step_by(step as usize).map(move |first| (first, step.min(rows - first)))
}

/// Some rows.
pub(super) fn block(matrix: &Tensor, first: i64, rows: i64) -> Result<Tensor> {
    Ok(matrix.f_narrow(0, first, rows)?)
}
