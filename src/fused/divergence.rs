//! The divergence of normal distributions from the standard one.

use super::{
    data::{CHUNK, Computed, Numbers, TILE, ranges, tiles},
    node::scalar,
    parallel,
    real::sum,
    simd::{self, Kernel, Madd},
};
use crate::{
    Result,
    autograd::{self, Context, Function},
};
use std::{marker::PhantomData, ops::Range};
use tch::{Kind, Tensor};

/// `factor Σ μ² + σ² - 1 - log σ²`, or `None` where it has to be composed. Both tensors are of one shape and kind.
pub(crate) fn from_standard_normal(
    mu: &Tensor,
    logvar: &Tensor,
    factor: f64,
) -> Result<Option<Tensor>> {
    if !super::applies(mu, []) || mu.f_kind()? == Kind::Half {
        return Ok(None);
    }
    let (Some(mus), Some(logvars)) = (Numbers::of(mu), Numbers::of(logvar)) else {
        return Ok(None);
    };
    let value = match mu.f_kind()? {
        Kind::Double => scalar::<f64>(factor * total::<f64>(mus, logvars))?,
        _ => scalar::<f32>(factor * total::<f32>(mus, logvars))?,
    };
    super::count_one();
    let node = Divergence { value: Some(value), factor };
    Ok(Some(autograd::f_apply(node, &[mu, logvar])?.remove(0)))
}

struct Divergence {
    value: Option<Tensor>,
    factor: f64,
}

impl Function for Divergence {
    fn forward(&mut self, context: &mut Context, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        context.save_for_backward(&[&inputs[0], &inputs[1]])?;
        Ok(self.value.take().into_iter().collect())
    }

    /// Of libtorch's operations: a graph of it is as good as another.
    fn backward(
        &mut self,
        context: &Context,
        gradients: &[Option<Tensor>],
    ) -> Result<Vec<Option<Tensor>>> {
        let Some(outer) = &gradients[0] else { return Ok(vec![None, None]) };
        let saved = context.saved()?;
        let outer = outer.f_mul_scalar(self.factor)?;
        let of_mu = match context.needs_gradient(0) {
            true => Some(saved[0].f_mul(&outer.f_mul_scalar(2.0)?)?),
            false => None,
        };
        let of_logvar = match context.needs_gradient(1) {
            true if context.creates_graph() => Some(saved[1].f_expm1()?.f_mul(&outer)?),
            true => Some(saved[1].f_expm1()?.f_mul_(&outer)?),
            false => None,
        };
        Ok(vec![of_mu, of_logvar])
    }
}

fn total<T: Computed>(mu: Numbers<'_>, logvar: Numbers<'_>) -> f64 {
    let elements = mu.len();
    let sums = parallel::map(ranges(elements, CHUNK), elements, |range| {
        simd::run(Chunk::<T> { mu, logvar, range, real: PhantomData })
    });
    sums.iter().sum()
}

struct Chunk<'a, T> {
    mu: Numbers<'a>,
    logvar: Numbers<'a>,
    range: Range<usize>,
    real: PhantomData<T>,
}

impl<T: Computed> Kernel for Chunk<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<M: Madd>(self) -> f64 {
        let zero = [T::ZERO; TILE];
        let (mut mus, mut logvars, mut terms) = (zero, zero, zero);
        let mut total = 0.0;
        for tile in tiles(self.range, TILE) {
            let length = tile.len();
            let mu = &self.mu.read(tile.clone(), &mut mus)[..length];
            let logvar = &self.logvar.read(tile, &mut logvars)[..length];
            let terms = &mut terms[..length];
            for i in 0..length {
                // Of a variance near 1, expm1 keeps what the difference to 1 would lose.
                terms[i] = mu[i].madd::<M>(mu[i], logvar[i].exp_m1::<M>() - logvar[i]);
            }
            total += sum(terms);
        }
        total
    }
}
