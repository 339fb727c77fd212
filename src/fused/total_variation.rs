//! Total variation of images.

use super::{
    data::{CHUNK, Computed, Numbers, Part, pieces},
    node::{Pass, record},
    parallel,
    real::{Real, sign, sum},
    simd::{self, Kernel, Madd},
};
use crate::Result;
use std::{marker::PhantomData, ops::Range};
use tch::Tensor;

/// The differences of each pixel to its right and lower neighbour, summed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Variation {
    /// `right Σ |r| + below Σ |b|`
    Anisotropic { right: f64, below: f64 },
    /// `scale Σ (r² + b² + eps²)^(beta/2) - eps^beta`
    Isotropic { beta: f64, eps: f64, scale: f64 },
}

impl Variation {
    /// The sum over images (N, C, H, W), or `None` where it has to be composed.
    pub(crate) fn loss<C: Fn(&Tensor) -> Result<Tensor> + Send + 'static>(
        self,
        input: &Tensor,
        composed: impl FnOnce() -> C,
    ) -> Result<Option<Tensor>> {
        if !super::applies(input, []) {
            return Ok(None);
        }
        let Some(numbers) = Numbers::of(input) else { return Ok(None) };
        let size = input.size();
        let images = Images { numbers, height: size[2] as usize, width: size[3] as usize };
        record(input, [], Varied { images, variation: self }, composed).map(Some)
    }
}

struct Varied<'a> {
    images: Images<'a>,
    variation: Variation,
}

impl Pass for Varied<'_> {
    fn run<T: Computed>(self, gradient: Option<&mut Tensor>) -> f64 {
        macro_rules! run {
            ($form:expr, $factors:expr) => {
                self.images.run::<T, _>($form, $factors, gradient)
            };
        }
        match self.variation {
            Variation::Anisotropic { right, below } => {
                run!(Anisotropic { right, below }, [right, below])
            }
            Variation::Isotropic { beta, eps, scale } if beta == 1.0 => {
                run!(Isotropic::<Root> { beta, eps, scale, power: PhantomData }, [scale, 0.0])
            }
            Variation::Isotropic { beta, eps, scale } if beta == 2.0 => {
                run!(Isotropic::<Square> { beta, eps, scale, power: PhantomData }, [scale, 0.0])
            }
            Variation::Isotropic { beta, eps, scale } => {
                run!(Isotropic::<Any> { beta, eps, scale, power: PhantomData }, [scale, 0.0])
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Images<'a> {
    numbers: Numbers<'a>,
    height: usize,
    width: usize,
}

impl Images<'_> {
    /// The gradient of a row needs the differences to the row above: the first row of a piece of work computes them again.
    fn run<T: Computed, F: Form>(
        self,
        form: F,
        factors: [f64; 2],
        gradient: Option<&mut Tensor>,
    ) -> f64 {
        const ROWS: usize = 16;
        let elements = self.numbers.len();
        let rows = (CHUNK / self.width).max(ROWS);
        let stretches = pieces(elements, rows * self.width, gradient);
        let sums = parallel::map_with(
            stretches,
            elements,
            || Rows::<T>::new(self.width),
            |scratch, (range, part)| {
                simd::run(Stretch { images: self, form, range, part, rows: scratch })
            },
        );
        (0..2).map(|i| factors[i] * sums.iter().map(|s| s[i]).sum::<f64>()).sum()
    }
}

/// What a thread works in.
struct Rows<T> {
    row: Vec<T>,
    next: Vec<T>,
    losses: Vec<T>,
    /// Slopes of the loss in the differences of a row: `right[j + 1]` in that of pixels j and j + 1, 0 at both ends.
    right: Vec<T>,
    below: Vec<T>,
    above: Vec<T>,
    to: Vec<T>,
}

impl<T: Real> Rows<T> {
    fn new(width: usize) -> Self {
        let zeros = |length: usize| vec![T::ZERO; length];
        Rows {
            row: zeros(width),
            next: zeros(width),
            losses: zeros(width),
            right: zeros(width + 1),
            below: zeros(width),
            above: zeros(width),
            to: zeros(width),
        }
    }
}

/// How the differences of a row count.
trait Form: Copy + Send + Sync {
    /// Writes the slopes in the differences of a row, 0 where there is none, and returns the sums of its losses.
    fn row<T: Real, M: Madd>(
        self,
        row: &[T],
        next: Option<&[T]>,
        losses: &mut [T],
        right: &mut [T],
        below: &mut [T],
    ) -> [f64; 2];
}

#[derive(Clone, Copy)]
struct Anisotropic {
    right: f64,
    below: f64,
}

impl Form for Anisotropic {
    #[inline(always)]
    fn row<T: Real, M: Madd>(
        self,
        row: &[T],
        next: Option<&[T]>,
        losses: &mut [T],
        right: &mut [T],
        below: &mut [T],
    ) -> [f64; 2] {
        let differences = |from: &[T], to: &[T], factor, losses: &mut [T], slopes: &mut [T]| {
            let length = losses.len();
            let (from, to, slopes) = (&from[..length], &to[..length], &mut slopes[..length]);
            for j in 0..length {
                let difference = to[j] - from[j];
                losses[j] = difference.abs();
                slopes[j] = factor * sign(difference);
            }
            sum(losses)
        };
        let across = row.len() - 1;
        let first =
            differences(row, &row[1..], T::of(self.right), &mut losses[..across], &mut right[1..]);
        let second = match next {
            Some(next) => differences(row, next, T::of(self.below), losses, below),
            None => {
                below.fill(T::ZERO);
                0.0
            }
        };
        [first, second]
    }
}

/// `s^(beta/2)`, and `beta` times `s^(beta/2 - 1)`
trait Power: Send + Sync {
    fn of<T: Real, M: Madd>(s: T, beta: T) -> (T, T);
}

macro_rules! power {
    ($name:ident, <$t:ident, $m:ident> |$s:ident, $beta:ident| $of:expr) => {
        #[derive(Clone, Copy)]
        struct $name;
        impl Power for $name {
            #[inline(always)]
            fn of<$t: Real, $m: Madd>($s: $t, $beta: $t) -> ($t, $t) {
                $of
            }
        }
    };
}
power!(Root, <T, M> |s, _beta| {
    let root = s.sqrt();
    (root, T::ONE / root)
});
power!(Square, <T, M> |s, _beta| (s, T::of(2.0)));
power!(Any, <T, M> |s, beta| {
    let s = s.max(T::TINY);
    let power = (T::of(0.5) * beta * s.ln::<M>()).exp::<M>();
    (power, beta * power / s)
});

struct Isotropic<P> {
    beta: f64,
    eps: f64,
    scale: f64,
    power: PhantomData<P>,
}

impl<P> Clone for Isotropic<P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P> Copy for Isotropic<P> {}

impl<P: Power> Form for Isotropic<P> {
    #[inline(always)]
    fn row<T: Real, M: Madd>(
        self,
        row: &[T],
        next: Option<&[T]>,
        losses: &mut [T],
        right: &mut [T],
        below: &mut [T],
    ) -> [f64; 2] {
        let Some(next) = next else {
            right.fill(T::ZERO);
            below.fill(T::ZERO);
            return [0.0; 2];
        };
        let cells = row.len() - 1;
        let (beta, scale) = (T::of(self.beta), T::of(self.scale));
        let eps = T::of(self.eps.powi(2));
        // By the same function, so that a flat image costs nothing at all.
        let (least, _) = P::of::<T, M>(eps, beta);
        let (from, to_right, to_below) = (&row[..cells], &row[1..][..cells], &next[..cells]);
        let losses = &mut losses[..cells];
        let (right, below) = (&mut right[1..][..cells], &mut below[..cells]);
        for j in 0..cells {
            let (r, b) = (to_right[j] - from[j], to_below[j] - from[j]);
            let (power, slope) = P::of::<T, M>(r.madd::<M>(r, b.madd::<M>(b, eps)), beta);
            losses[j] = power - least;
            right[j] = slope * scale * r;
            below[j] = slope * scale * b;
        }
        [sum(losses), 0.0]
    }
}

/// Rows one after the other, given by the range of their elements.
struct Stretch<'a, 's, T, F> {
    images: Images<'a>,
    form: F,
    range: Range<usize>,
    part: Option<Part<'a>>,
    rows: &'s mut Rows<T>,
}

impl<T: Computed, F: Form> Kernel for Stretch<'_, '_, T, F> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run<M: Madd>(mut self) -> [f64; 2] {
        let Images { numbers, height, width } = self.images;
        let Rows { row, next, losses, right, below, above, to } = self.rows;
        let mut totals = [0.0; 2];
        let first = self.range.start / width;
        let begins_above = !first.is_multiple_of(height) && self.part.is_some();
        above.fill(T::ZERO);
        for at in first - usize::from(begins_above)..self.range.end / width {
            let here = at * width;
            let x = numbers.read(here..here + width, row);
            let last = (at + 1).is_multiple_of(height);
            let lower =
                if last { None } else { Some(numbers.read(here + width..here + 2 * width, next)) };
            let sums = self.form.row::<T, M>(x, lower, losses, right, below);
            if at >= first {
                totals[0] += sums[0];
                totals[1] += sums[1];
                if let Some(part) = &mut self.part {
                    let within = here - self.range.start..here + width - self.range.start;
                    let gradient = &mut part.tile(within.clone(), to)[..width];
                    let (before, after) = (&right[..width], &right[1..][..width]);
                    let (above, below) = (&above[..width], &below[..width]);
                    for j in 0..width {
                        gradient[j] = before[j] - after[j] + (above[j] - below[j]);
                    }
                    part.wrote(within, to);
                }
            }
            std::mem::swap(above, below);
        }
        totals
    }
}
