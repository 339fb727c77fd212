//! Reduced losses of the error of each element.

use super::{
    data::{CHUNK, Computed, Numbers, Part, Spread, TILE, pieces, tiles, total},
    node::{Composed, Denominator, Pass, fused_or_composed},
    parallel,
    real::{Real, sign, sum},
    simd::{self, Kernel, Madd},
};
use crate::{MeanOver, Reduction, Result};
use std::{marker::PhantomData, ops::Range};
use tch::Tensor;

/// A loss of an error `d = x - t`.
pub(crate) trait ErrorLoss: Copy + Send + Sync {
    /// The loss and its slope.
    fn of<T: Real, M: Madd>(self, d: T) -> (T, T);
}

macro_rules! error_loss {
    (
        $(#[$doc:meta])* $name:ident { $($option:ident),* },
        <$t:ident, $m:ident> |$d:ident $(, $size:ident)?| $of:expr
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $name {
            $(pub(crate) $option: f64,)*
        }
        impl ErrorLoss for $name {
            #[inline(always)]
            fn of<$t: Real, $m: Madd>(self, $d: $t) -> ($t, $t) {
                $(let $option = $t::of(self.$option);)*
                $(let $size = $d.abs();)?
                $of
            }
        }
    };
}

error_loss!(
    /// `|d|`
    Absolute {}, <T, M> |d| (d.abs(), sign(d))
);
error_loss!(
    /// `d²`
    Squared {}, <T, M> |d| (d * d, d + d)
);
error_loss!(
    /// `√(d² + eps²) - offset`, without a square that could be lost to rounding or overflow
    Charbonnier { eps, offset },
    <T, M> |d, size| {
        let larger = size.max(eps);
        let ratio = size.min(eps) / larger;
        let root = larger * ratio.madd::<M>(ratio, T::ONE).sqrt();
        (root - offset, d / root)
    }
);
error_loss!(
    /// `½ d²` below `delta`, a line from there on
    Huber { delta },
    <T, M> |d, size| {
        let half = T::of(0.5);
        if size < delta {
            (half * d * d, d)
        } else {
            (delta * (size - half * delta), delta * sign(d))
        }
    }
);
error_loss!(
    /// `½ d² / beta` below `beta`, a line of slope 1 from there on
    SmoothL1 { beta },
    <T, M> |d, size| {
        let half = T::of(0.5);
        let slope = d / beta;
        if size < beta { (half * d * slope, slope) } else { (size - half * beta, sign(d)) }
    }
);
error_loss!(
    /// `log cosh d`
    LogCosh {},
    <T, M> |d, size| {
        let e = (T::of(-2.0) * size).exp::<M>();
        let loss = size + e.ln_1p::<M>() - T::of(std::f64::consts::LN_2);
        (loss, sign(d) * (T::ONE - e) / (T::ONE + e))
    }
);
error_loss!(
    /// A curve up to `beta`, from there on a line of slope `gamma`; `b = exp(gamma / alpha) - 1`
    BalancedL1 { alpha, beta, gamma, b },
    <T, M> |d, size| {
        let inner = size.min(beta);
        let excess = size - inner;
        let argument = inner.madd::<M>(b / beta, T::ONE);
        let log = argument.ln::<M>();
        let curve = alpha * beta / b * (argument * log) - alpha * inner;
        let slope = if excess > T::ZERO { gamma } else { alpha * log };
        (excess.madd::<M>(gamma, curve), slope * sign(d))
    }
);
error_loss!(
    /// `½ |d| + slant d`
    Quantile { slant },
    <T, M> |d, size| {
        let half = T::of(0.5);
        (half * size + slant * d, half * sign(d) + slant)
    }
);

/// `loss`, which is `each` of the error `input - target`, reduced: in one pass where that can be.
pub(crate) fn of_error(
    each: impl ErrorLoss,
    loss: &impl Composed,
    [input, target]: [&Tensor; 2],
    weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    fused_or_composed(loss, [input, target], weight, &[], || {
        let denominator = Denominator::of(reduction, MeanOver::Weights)?;
        let shape = input.size();
        if target.size() != shape {
            return None;
        }
        let weight = Spread::optional(weight, &shape)?;
        let (input, target) = (Numbers::of(input)?, Numbers::of(target)?);
        Some(Data { each, input, target, weight, denominator })
    })
}

#[derive(Clone, Copy)]
struct Data<'a, L> {
    each: L,
    input: Numbers<'a>,
    target: Numbers<'a>,
    weight: Option<Spread<'a>>,
    denominator: Denominator,
}

impl<L: ErrorLoss> Pass for Data<'_, L> {
    fn run<T: Computed>(self, gradient: Option<&mut Tensor>) -> f64 {
        let elements = self.input.len();
        let scale = self.denominator.scale(elements, || total(self.weight, elements));
        let chunks = pieces(elements, CHUNK, gradient);
        let sums = parallel::map(chunks, elements, |(range, part)| {
            simd::run(Chunk::<T, L> { data: self, range, part, scale, real: PhantomData })
        });
        sums.iter().sum::<f64>() * scale
    }
}

struct Chunk<'a, T, L> {
    data: Data<'a, L>,
    range: Range<usize>,
    part: Option<Part<'a>>,
    scale: f64,
    real: PhantomData<T>,
}

impl<T: Computed, L: ErrorLoss> Kernel for Chunk<'_, T, L> {
    type Output = f64;

    #[inline(always)]
    fn run<M: Madd>(mut self) -> f64 {
        let Data { each, input, target, weight, .. } = self.data;
        let scale = T::of(self.scale);
        let zero = [T::ZERO; TILE];
        let (mut inputs, mut targets, mut weights, mut to) = (zero, zero, zero, zero);
        let mut losses = zero;
        let mut total = 0.0;
        let start = self.range.start;
        for tile in tiles(self.range, TILE) {
            let length = tile.len();
            let x = &input.read(tile.clone(), &mut inputs)[..length];
            let t = &target.read(tile.clone(), &mut targets)[..length];
            let within = tile.start - start..tile.end - start;
            let losses = &mut losses[..length];
            let slopes = match &mut self.part {
                Some(part) => &mut part.tile(within.clone(), &mut to)[..length],
                None => &mut to[..length],
            };
            for i in 0..length {
                let (value, slope) = each.of::<T, M>(x[i] - t[i]);
                losses[i] = value;
                slopes[i] = slope * scale;
            }
            if let Some(weight) = &weight {
                let weight = &weight.read(tile.clone(), &mut weights)[..length];
                for i in 0..length {
                    losses[i] *= weight[i];
                    slopes[i] *= weight[i];
                }
            }
            total += sum(losses);
            if let Some(part) = &mut self.part {
                part.wrote(within, &to);
            }
        }
        total
    }
}
