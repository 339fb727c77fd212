//! The numbers that kernels compute in, with the functions that losses need, written so that loops over them vectorise.

use super::simd::Madd;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};
use tch::Kind;

/// `f32` or `f64`.
pub(crate) trait Real:
    Copy
    + Send
    + Sync
    + Default
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + MulAssign
    + 'static
{
    const KIND: Kind;
    const ZERO: Self;
    const ONE: Self;
    /// The smallest normal number.
    const TINY: Self;

    fn of(value: f64) -> Self;
    fn to_f64(self) -> f64;
    fn abs(self) -> Self;
    fn sqrt(self) -> Self;
    /// The larger; `other` where `self` is NaN.
    fn max(self, other: Self) -> Self;
    /// The smaller; `other` where `self` is NaN.
    fn min(self, other: Self) -> Self;
    /// `self b + c`
    fn madd<M: Madd>(self, b: Self, c: Self) -> Self;
    /// `e^self`; 0 and infinity beyond the range, NaN of NaN.
    fn exp<M: Madd>(self) -> Self;
    /// `e^self - 1`, to the last bits however small.
    fn exp_m1<M: Madd>(self) -> Self;
    /// The natural logarithm of a normal positive number.
    fn ln<M: Madd>(self) -> Self;
    /// `ln(1 + self)` for `self` in [0, 1], to the last bits however small.
    fn ln_1p<M: Madd>(self) -> Self;
    /// The arc tangent.
    fn atan<M: Madd>(self) -> Self;
}

/// `artanh(s) / s` as a polynomial in `s²` up to 1/9, relative error 4e-9.
#[inline(always)]
fn artanh_ratio<M: Madd>(square: f32) -> f32 {
    const P: [f32; 4] = [0.333_331_6, 0.200_122_98, 0.139_825_79, 0.140_788_9];
    let mut sum = P[3];
    sum = M::f32(sum, square, P[2]);
    sum = M::f32(sum, square, P[1]);
    sum = M::f32(sum, square, P[0]);
    M::f32(sum, square, 1.0)
}

/// `(e^r - 1) / r` as a polynomial for `|r| <= ln 2 / 2`.
#[inline(always)]
fn exp_ratio<M: Madd>(r: f32) -> f32 {
    const P: [f32; 6] = [1.0, 0.5, 0.166_664_15, 0.041_666_35, 0.008_375_126, 0.001_394_111];
    let mut sum = P[5];
    sum = M::f32(sum, r, P[4]);
    sum = M::f32(sum, r, P[3]);
    sum = M::f32(sum, r, P[2]);
    sum = M::f32(sum, r, P[1]);
    M::f32(sum, r, P[0])
}

/// `ln 2` with its last bits zero, and what is left.
const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);

impl Real for f32 {
    const KIND: Kind = Kind::Float;
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    const TINY: f32 = f32::MIN_POSITIVE;

    #[inline(always)]
    fn of(value: f64) -> f32 {
        value as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.into()
    }
    #[inline(always)]
    fn abs(self) -> f32 {
        self.abs()
    }
    #[inline(always)]
    fn sqrt(self) -> f32 {
        self.sqrt()
    }
    #[inline(always)]
    fn max(self, other: f32) -> f32 {
        if self > other { self } else { other }
    }
    #[inline(always)]
    fn min(self, other: f32) -> f32 {
        if self < other { self } else { other }
    }
    #[inline(always)]
    fn madd<M: Madd>(self, b: f32, c: f32) -> f32 {
        M::f32(self, b, c)
    }

    /// `2^k e^r` with `|r| <= ln 2 / 2` and a polynomial of relative error 3e-9.
    #[inline(always)]
    fn exp<M: Madd>(self) -> f32 {
        // Added and taken off again it rounds to a whole number, which its last bits then hold.
        const ROUND: f32 = 12_582_912.0;
        // The order keeps NaN.
        let x = if self < -104.0 { -104.0 } else { self };
        let x = if x > 89.0 { 89.0 } else { x };
        let shifted = M::f32(x, std::f32::consts::LOG2_E, ROUND);
        let k = shifted - ROUND;
        let r = M::f32(k, -LN_2.1, M::f32(k, -LN_2.0, x));
        let sum = M::f32(exp_ratio::<M>(r), r, 1.0);
        // 2^k in two factors, as it may be below or above what one exponent says.
        let k = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
        let half = k >> 1;
        let power = |k: i32| f32::from_bits((k.wrapping_add(127) as u32) << 23);
        sum * power(half) * power(k.wrapping_sub(half))
    }

    #[inline(always)]
    fn exp_m1<M: Madd>(self) -> f32 {
        // Farther from 0 the difference loses little.
        const NEAR: f32 = 0.34;
        let near = self.abs() < NEAR;
        let small = if near { self } else { 0.0 };
        let small = small * exp_ratio::<M>(small);
        if near { small } else { Real::exp::<M>(self) - 1.0 }
    }

    #[inline(always)]
    fn ln<M: Madd>(self) -> f32 {
        // The exponent that leaves a mantissa in [√½, √2).
        const SQRT_HALF: u32 = 0x3f35_04f3;
        let bits = self.to_bits();
        let k = (bits.wrapping_sub(SQRT_HALF) as i32) >> 23;
        let m = f32::from_bits(bits.wrapping_sub((k as u32) << 23));
        let k = k as f32;
        let s = (m - 1.0) / (m + 1.0);
        let log = 2.0 * s * artanh_ratio::<M>(s * s);
        M::f32(k, LN_2.0, M::f32(k, LN_2.1, log))
    }

    #[inline(always)]
    fn ln_1p<M: Madd>(self) -> f32 {
        let s = self / (self + 2.0);
        2.0 * s * artanh_ratio::<M>(s * s)
    }

    /// `π/2 - atan(1/x)` above 1, and a polynomial of relative error 3e-8 below.
    #[inline(always)]
    fn atan<M: Madd>(self) -> f32 {
        const P: [f32; 9] = [
            -0.333_333_3,
            0.199_997_4,
            -0.142_785_68,
            0.110_337_645,
            -0.086_568_8,
            0.062_501_69,
            -0.035_871_54,
            0.013_507_771,
            -0.002_386_997_2,
        ];
        let x = self.abs();
        let steep = x > 1.0;
        let x = if steep { 1.0 / x } else { x };
        let square = x * x;
        let mut sum = P[8];
        sum = M::f32(sum, square, P[7]);
        sum = M::f32(sum, square, P[6]);
        sum = M::f32(sum, square, P[5]);
        sum = M::f32(sum, square, P[4]);
        sum = M::f32(sum, square, P[3]);
        sum = M::f32(sum, square, P[2]);
        sum = M::f32(sum, square, P[1]);
        sum = M::f32(sum, square, P[0]);
        let angle = M::f32(sum * square, x, x);
        let angle = if steep { std::f32::consts::FRAC_PI_2 - angle } else { angle };
        angle.copysign(self)
    }
}

impl Real for f64 {
    const KIND: Kind = Kind::Double;
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    const TINY: f64 = f64::MIN_POSITIVE;

    #[inline(always)]
    fn of(value: f64) -> f64 {
        value
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn abs(self) -> f64 {
        self.abs()
    }
    #[inline(always)]
    fn sqrt(self) -> f64 {
        self.sqrt()
    }
    #[inline(always)]
    fn max(self, other: f64) -> f64 {
        if self > other { self } else { other }
    }
    #[inline(always)]
    fn min(self, other: f64) -> f64 {
        if self < other { self } else { other }
    }
    #[inline(always)]
    fn madd<M: Madd>(self, b: f64, c: f64) -> f64 {
        M::f64(self, b, c)
    }
    #[inline(always)]
    fn exp<M: Madd>(self) -> f64 {
        self.exp()
    }
    #[inline(always)]
    fn exp_m1<M: Madd>(self) -> f64 {
        self.exp_m1()
    }
    #[inline(always)]
    fn ln<M: Madd>(self) -> f64 {
        self.ln()
    }
    #[inline(always)]
    fn ln_1p<M: Madd>(self) -> f64 {
        self.ln_1p()
    }
    #[inline(always)]
    fn atan<M: Madd>(self) -> f64 {
        self.atan()
    }
}

/// -1, 0 or 1
#[inline(always)]
pub(super) fn sign<T: Real>(x: T) -> T {
    let up = if x > T::ZERO { T::ONE } else { T::ZERO };
    if x < T::ZERO { -T::ONE } else { up }
}

/// The sum of a slice, in an order that does not depend on the instructions used.
#[inline(always)]
pub(super) fn sum<T: Real>(values: &[T]) -> f64 {
    const LANES: usize = 16;
    let mut lanes = [T::ZERO; LANES];
    let mut blocks = values.chunks_exact(LANES);
    for block in &mut blocks {
        for (lane, &value) in lanes.iter_mut().zip(block) {
            *lane += value;
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(blocks.remainder()) {
        *lane += value;
    }
    lanes.iter().map(|lane| lane.to_f64()).sum()
}

/// The sum of products, in the order of [`sum`].
#[inline(always)]
pub(super) fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    const LANES: usize = 16;
    let mut lanes = [T::ZERO; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().map(|lane| lane.to_f64()).sum()
}

/// The largest of a slice that is not empty.
#[inline(always)]
pub(super) fn largest<T: Real>(values: &[T]) -> T {
    const LANES: usize = 16;
    let mut lanes = [values[0]; LANES];
    let mut blocks = values.chunks_exact(LANES);
    for block in &mut blocks {
        for (lane, &value) in lanes.iter_mut().zip(block) {
            *lane = value.max(*lane);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(blocks.remainder()) {
        *lane = value.max(*lane);
    }
    lanes[1..].iter().fold(lanes[0], |a, &b| a.max(b))
}

#[cfg(test)]
mod tests {
    use super::Real;
    use crate::fused::simd::{Fused, Plain};

    fn worst(
        range: impl Iterator<Item = f32>,
        got: impl Fn(f32) -> f32,
        exact: impl Fn(f64) -> f64,
    ) -> f64 {
        range.fold(0.0, |worst: f64, x| {
            let exact = exact(x.into());
            worst.max((f64::from(got(x)) / exact - 1.0).abs())
        })
    }

    #[test]
    fn functions_are_exact_to_the_last_bits() {
        const ULP: f64 = f32::EPSILON as f64;
        let wide = || (-87_000..88_000).map(|i| i as f32 * 1e-3);
        assert!(worst(wide(), <f32 as Real>::exp::<Fused>, f64::exp) < 1.5 * ULP);
        assert!(worst(wide(), <f32 as Real>::exp::<Plain>, f64::exp) < 2.5 * ULP);
        let both = || (-50_000..50_000).map(|i| (i as f32 * 2e-4 + 1e-4).sinh() * 1e-3);
        assert!(worst(both(), <f32 as Real>::exp_m1::<Fused>, f64::exp_m1) < 4.0 * ULP);
        assert!(worst(both(), <f32 as Real>::exp_m1::<Plain>, f64::exp_m1) < 5.0 * ULP);
        let unit = || (0..100_000).map(|i| (-(i as f32) * 8e-4).exp());
        assert!(worst(unit(), <f32 as Real>::ln_1p::<Fused>, f64::ln_1p) < 2.0 * ULP);
        assert!(worst(unit(), <f32 as Real>::ln_1p::<Plain>, f64::ln_1p) < 3.0 * ULP);
        let normal = || (1..170_000).map(|i| (i as f32 * 1e-3 - 85.0005).exp());
        assert!(worst(normal(), <f32 as Real>::ln::<Fused>, f64::ln) < 4.0 * ULP);
        assert!(worst(normal(), <f32 as Real>::ln::<Plain>, f64::ln) < 4.0 * ULP);
        let slopes = || (-200_000..200_000).map(|i| (i as f32 * 2e-4 + 1e-5).sinh());
        assert!(worst(slopes(), <f32 as Real>::atan::<Fused>, f64::atan) < 1.5 * ULP);
        assert!(worst(slopes(), <f32 as Real>::atan::<Plain>, f64::atan) < 1.5 * ULP);
    }

    #[test]
    fn the_ends_of_the_arc_tangent() {
        const RIGHT: f32 = std::f32::consts::FRAC_PI_2;
        assert_eq!(<f32 as Real>::atan::<Fused>(0.0), 0.0);
        assert_eq!(<f32 as Real>::atan::<Fused>(f32::INFINITY), RIGHT);
        assert_eq!(<f32 as Real>::atan::<Fused>(f32::NEG_INFINITY), -RIGHT);
        assert!(<f32 as Real>::atan::<Fused>(f32::NAN).is_nan());
    }

    #[test]
    fn the_ends_of_the_exponential() {
        assert_eq!(<f32 as Real>::exp::<Fused>(0.0), 1.0);
        assert_eq!(<f32 as Real>::exp::<Fused>(f32::NEG_INFINITY), 0.0);
        assert_eq!(<f32 as Real>::exp::<Fused>(-1e4), 0.0);
        assert_eq!(<f32 as Real>::exp::<Fused>(f32::INFINITY), f32::INFINITY);
        assert!(<f32 as Real>::exp::<Fused>(f32::NAN).is_nan());
        let subnormal = <f32 as Real>::exp::<Fused>(-100.0);
        assert!((f64::from(subnormal) / (-100f64).exp() - 1.0).abs() < 0.05);
    }
}
